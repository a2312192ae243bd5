//! The route table: host and name to the one rule that serves them.
//!
//! Flat and immutable. All texts lie in one arena, rules stand sorted by domain, and one hash table
//! leads from (domain, star, prefix) to a rule; so a lookup is one probe for the exact name and at
//! most two for each `/` in it, without allocation and without parsing.
//!
//! What many rules share (registry, delivery, credentials) is kept once, and a rule has its number.
//!
//! With names of 29 and locations of 48 bytes on one domain it takes some 110 bytes per package, of which
//! the texts are 77. `docs/performance.md` says how long a lookup takes.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::pattern::{Pattern, Star};
use super::rule::{Host, HostBase, Rule, Terms, Text};
use crate::pure::config::values::{Credentials, Domain, Package};
use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::{Backend, Scheme, authority_of};
use crate::pure::oci::name::Name;

pub use super::rule::{Facts, Match, Other, Ports, TOKEN, host_name};

/// All rules, compiled.
pub struct Table {
    texts: String,
    rules: Vec<Rule>,
    terms: Vec<Terms>,
    /// The other registries of those rules that have any, by the rules' indices.
    others: HashMap<u32, Box<[Other]>>,
    /// The URLs of all registries that rules lead to, each once: `https://ghcr.io/v2/`.
    registries: Vec<Text>,
    /// Rules by domain, star and prefix.
    by_name: HashTable<Place>,
    hosts: Vec<Host>,
    /// Indices of `hosts`, by host name.
    by_host: HashTable<u32>,
    /// The index of `*` in `hosts`.
    any: Option<u32>,
    hasher: FixedState,
}

/// Where a rule is. Its text is named beside it, so that both come from memory at once, and not one after the
/// other: among very many rules that is what a lookup waits for.
#[derive(Clone, Copy)]
struct Place {
    /// In `rules`.
    index: u32,
    /// Of its pattern in `texts`.
    at: u32,
}

/// A package, which terms are its, and where else it lives.
type Placed<'p> = (&'p Package, (u32, Box<[Other]>));

/// Registries that were added.
type Known<'p> = HashMap<(Scheme, &'p str), u32>;

/// What the table knows of one host that a client named.
#[derive(Clone, Copy)]
pub struct Site<'t> {
    table: &'t Table,
    exact: Option<&'t Host>,
    any: Option<&'t Host>,
    is_over_tls: bool,
}

/// Where `/v2/` of a host lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'t> {
    /// All rules that can apply lead to this registry: its URL (`https://ghcr.io/v2/`), and which
    /// of the snapshot's it is.
    Registry(&'t str, usize),
    /// They lead to several, or there is none.
    Several,
}

impl Table {
    /// Compiles checked packages: no two of one domain have the same name, and there are no more
    /// than [`crate::pure::limits::PACKAGES_MAX`], so that all texts have 32-bit places.
    pub fn build(packages: &[Package], domains: &[Domain]) -> Self {
        let mut table = Self {
            texts: String::new(),
            rules: Vec::with_capacity(packages.len()),
            terms: Vec::new(),
            others: HashMap::new(),
            registries: Vec::new(),
            by_name: HashTable::with_capacity(packages.len()),
            hosts: Vec::new(),
            by_host: HashTable::new(),
            any: None,
            hasher: FixedState::default(),
        };
        let terms = table.add_terms(packages);
        let mut sorted: Vec<Placed<'_>> = packages.iter().zip(terms).collect();
        sorted.sort_by(|(a, _), (b, _)| a.domain.cmp(&b.domain));
        for of_one_domain in sorted.chunk_by(|(a, _), (b, _)| a.domain == b.domain) {
            table.add_host(&of_one_domain[0].0.domain, of_one_domain);
        }
        for domain in domains {
            if table.host_index(domain.host.as_bytes()).is_none() {
                table.add_host(&domain.host, &[]);
            }
            if let Some(index) = table.host_index(domain.host.as_bytes()) {
                table.hosts[index as usize].list = domain.list;
            }
        }
        table.any = table.host_index(ANY);
        table.join_bases();
        table.texts.shrink_to_fit();
        table
    }

    /// What is known of `host`, as a client sent it: its port and its case do not matter, nor does
    /// the dot at the end of a fully qualified name.
    pub fn site(&self, host: &[u8]) -> Site<'_> {
        let mut buffer = [0; HOST_BYTES_MAX];
        let exact = host_name(host, &mut buffer).and_then(|name| self.host_index(name));
        let host = |index: u32| &self.hosts[index as usize];
        Site { table: self, exact: exact.map(host), any: self.any.map(host), is_over_tls: false }
    }

    /// The rule that serves the package `<domain>/<name>`, as its domain and pattern. A rule with a star is
    /// served by none.
    pub fn serving<'t>(&'t self, package: &'t str) -> Option<(&'t str, &'t str)> {
        let (domain, name) = package.split_once('/')?;
        let found = self.site(domain.as_bytes()).find(Name::parse(name.as_bytes()).ok()?)?;
        let pattern = if found.collection.is_empty() { name } else { found.collection };
        Some((found.domain, pattern))
    }

    /// Whether a rule of its own domain serves the package `<domain>/<name>`, or is called so.
    pub fn has(&self, package: &str) -> bool {
        let Some((domain, name)) = package.split_once('/') else { return false };
        self.serving(package).is_some_and(|(at, _)| at == domain) || self.of(domain, name).is_some()
    }

    fn host_index(&self, name: &[u8]) -> Option<u32> {
        let is_it = |index: &u32| self.text(self.hosts[*index as usize].name).as_bytes() == name;
        self.by_host.find(self.hash(0, None, name), is_it).copied()
    }

    fn rule(&self, host: &Host, star: Option<Star>, prefix: &str) -> Option<u32> {
        let is_it = |place: &Place| {
            // Of another rule it may be any bytes that are there.
            let text = self.texts.as_bytes().get(place.at as usize..);
            let text = text.and_then(|text| text.get(..prefix.len()));
            let rule = &self.rules[place.index as usize];
            text == Some(prefix.as_bytes())
                && host.rules.contains(&place.index)
                && rule.star == star
                && usize::from(rule.prefix().length) == prefix.len()
        };
        let hash = self.hash(host.rules.start, star, prefix.as_bytes());
        self.by_name.find(hash, is_it).map(|place| place.index)
    }

    fn find_in<'t>(
        &'t self,
        host: &'t Host,
        name: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<Match<'t>> {
        let find = |star, prefix| {
            let rule = self.rule(host, star, prefix)?;
            let terms = self.rules[rule as usize].terms;
            let registry = self.registry(self.terms[terms as usize].registry);
            is_meant(registry).then_some(rule)
        };
        if let Some(rule) = find(None, name) {
            return Some(self.matched(host, rule, name.len()));
        }
        let longest = host.longest_prefix?;
        let mut stars: &[Star] = &[Star::One, Star::Many];
        let mut head = name;
        loop {
            let tail_from = head.rfind('/').map_or(0, |slash| slash + 1);
            if tail_from <= usize::from(longest) {
                let prefix = &name[..tail_from];
                let mut rules = stars.iter().map(|star| find(Some(*star), prefix));
                if let Some(rule) = rules.find_map(|rule| rule) {
                    return Some(self.matched(host, rule, tail_from));
                }
            }
            // Only the last segment can be the one that `*` stands for.
            stars = &[Star::Many];
            head = &name[..tail_from.checked_sub(1)?];
        }
    }

    fn matched<'t>(&'t self, host: &'t Host, index: u32, tail_from: usize) -> Match<'t> {
        let rule = &self.rules[index as usize];
        let terms = &self.terms[rule.terms as usize];
        let others = terms.has_others.then(|| self.others.get(&index)).flatten();
        Match {
            others: others.map(|others| &**others).unwrap_or_default(),
            failover_on_404: terms.failover_on_404,
            domain: self.text(host.name),
            id: self.text(rule.id()),
            collection: if rule.star.is_some() { self.text(rule.pattern()) } else { "" },
            location: self.text(rule.location()),
            base_length: usize::from(self.registries[terms.registry as usize].length),
            registry: terms.registry as usize,
            delivery: terms.delivery,
            credentials: terms.credentials,
            tail_from,
        }
    }

    fn add_host(&mut self, name: &str, packages: &[Placed<'_>]) {
        let first = index(self.rules.len());
        let mut host = Host {
            name: self.keep(name),
            rules: first..first,
            longest_prefix: None,
            base: HostBase::None,
            facts: Facts::default(),
            realms: [Text { at: first, length: 0 }; 2],
            login: None,
            has_several_logins: false,
            list: false,
        };
        for (package, (terms, others)) in packages {
            if !others.is_empty() {
                self.others.insert(index(self.rules.len()), others.clone());
            }
            let rule = self.add_rule(first, package, *terms);
            host.rules.end += 1;
            let terms = &self.terms[*terms as usize];
            host.base = host.base.joined(HostBase::Registry(terms.registry));
            host.facts = host.facts.joined(Facts::of(terms));
            if rule.star.is_some() {
                host.longest_prefix = host.longest_prefix.max(Some(rule.prefix().length));
            }
        }
        let hash = self.hash(0, None, name.as_bytes());
        let Self { hosts, by_host, texts, hasher, .. } = self;
        by_host.insert_unique(hash, index(hosts.len()), |at| {
            hash_of(hasher, 0, None, hosts[*at as usize].name.of(texts).as_bytes())
        });
        hosts.push(host);
    }

    fn add_rule(&mut self, first_of_host: u32, package: &Package, terms: u32) -> Rule {
        let backend = &package.backend;
        let pattern = self.keep(&package.name.to_string());
        let base = self.keep(backend.scheme.as_str()).length
            + self.keep(&backend.authority).length
            + self.keep(V2).length;
        let rule = Rule {
            at: pattern.at,
            terms,
            pattern_length: pattern.length,
            location_length: base + self.keep(&backend.repository).length,
            id_length: self.keep(package.id.as_deref().unwrap_or("")).length,
            star: package.name.star,
        };
        let hash = self.hash(first_of_host, rule.star, package.name.prefix.as_bytes());
        // The table was made with room for all, so nothing is hashed again.
        let place = Place { index: index(self.rules.len()), at: rule.at };
        self.by_name.insert_unique(hash, place, |_| hash);
        self.rules.push(rule);
        rule
    }

    /// Keeps the registries and the terms of all packages, each once, and says for each package
    /// which terms are its, and where else it lives.
    fn add_terms(&mut self, packages: &[Package]) -> Vec<(u32, Box<[Other]>)> {
        let (mut registries, mut known) = (HashMap::new(), HashMap::new());
        let mut of_packages = Vec::with_capacity(packages.len());
        for package in packages {
            let Package { backend, others, delivery, credentials, failover_on_404, .. } = package;
            let registry = self.add_registry(&mut registries, backend);
            let others = others.iter().map(|home| {
                let registry = self.add_registry(&mut registries, home);
                let base = self.registry(registry);
                let (location, base_length) = ([base, &home.repository].concat(), base.len());
                Other { registry: registry as usize, location, base_length }
            });
            let others: Box<[Other]> = others.collect();
            let terms = Terms {
                registry,
                delivery: *delivery,
                credentials: *credentials,
                has_others: !others.is_empty(),
                failover_on_404: *failover_on_404,
            };
            let terms = *known.entry(terms).or_insert_with(|| {
                self.terms.push(terms);
                index(self.terms.len() - 1)
            });
            of_packages.push((terms, others));
        }
        of_packages
    }

    fn add_registry<'p>(&mut self, known: &mut Known<'p>, home: &'p Backend) -> u32 {
        *known.entry((home.scheme, home.authority.as_str())).or_insert_with(|| {
            let url = self.keep(&[home.scheme.as_str(), &home.authority, V2].concat());
            self.registries.push(url);
            index(self.registries.len() - 1)
        })
    }

    /// What holds for the rules of `*` holds for clients of every host: they are its rules too.
    fn join_bases(&mut self) {
        let Some(any) = self.any else {
            return;
        };
        let Host { base, facts, .. } = self.hosts[any as usize];
        for host in &mut self.hosts {
            host.base = host.base.joined(base);
            host.facts = host.facts.joined(facts);
        }
    }

    /// Says for each domain that has a name where its clients get tokens, and which registry checks a
    /// login that names no package. Domains that do not say where they are found are at `ports`.
    pub fn add_realms(&mut self, domains: &[Domain], ports: Ports) {
        for at in 0..self.hosts.len() {
            let Host { name, ref rules, .. } = self.hosts[at];
            let name = self.text(name).to_owned();
            if name.as_bytes() == ANY {
                continue;
            }
            let section = domains.iter().find(|domain| domain.host == name);
            let is_named = |registry: &u32| {
                let named = section.and_then(|section| section.login.as_deref());
                named.is_none_or(|named| authority_of(self.registry(*registry)) == named)
            };
            let of_rules = rules.clone().map(|rule| self.rules[rule as usize].terms);
            let terms = of_rules.map(|terms| &self.terms[terms as usize]);
            let theirs = terms.filter(|terms| terms.credentials == Credentials::Client);
            let mut all = theirs.clone().map(|terms| terms.registry);
            let has_several_logins = all.next().is_some_and(|first| all.any(|it| it != first));
            let mut named = theirs.map(|terms| terms.registry).filter(is_named);
            let login = named.next().filter(|first| named.all(|other| other == *first));
            let said = section.and_then(|section| section.public_url.clone());
            let urls = match said {
                Some(url) => [url.clone(), url],
                None => [ports.plain_url(&name), ports.tls_url(&name)],
            };
            self.hosts[at].realms = urls.map(|url| self.keep(&[&url, TOKEN].concat()));
            self.hosts[at].login = login;
            self.hosts[at].has_several_logins = has_several_logins;
        }
    }

    /// Notes since when the rules are what they are that decide each host's `/v2/`: since `now_us`,
    /// or longer where they were the same `before`.
    pub fn carry_over(&mut self, before: Option<&Self>, now_us: u64) {
        let since = |host: &Host| {
            let before = before?;
            let earlier = before.site(self.text(host.name).as_bytes());
            let earlier = earlier.exact.or(earlier.any)?;
            let is_same = match (host.base, earlier.base) {
                (HostBase::Registry(a), HostBase::Registry(b)) => {
                    self.registry(a) == before.registry(b) && host.facts.agrees(&earlier.facts)
                }
                (HostBase::None | HostBase::Several, _)
                | (_, HostBase::None | HostBase::Several) => false,
            };
            is_same.then_some(earlier.facts.since_us)
        };
        let since: Vec<_> = self.hosts.iter().map(|host| since(host).unwrap_or(now_us)).collect();
        // A host without rules of its own is served by those of `*` from now on.
        let is_gone = |host: &Host| {
            before
                .is_some_and(|before| self.host_index(before.text(host.name).as_bytes()).is_none())
        };
        let some_are_gone = before.is_some_and(|before| before.hosts.iter().any(is_gone));
        for (at, since_us) in since.into_iter().enumerate() {
            let is_any = self.any == Some(index(at));
            let host = &mut self.hosts[at];
            host.facts.since_us = if is_any && some_are_gone { now_us } else { since_us };
        }
    }

    fn keep(&mut self, text: &str) -> Text {
        let at = index(self.texts.len());
        self.texts.push_str(text);
        Text { at, length: length(text.len()) }
    }

    /// The rule that is written with this domain and name.
    pub fn of(&self, domain: &str, name: &str) -> Option<Match<'_>> {
        let host = self.hosts.get(self.host_index(domain.as_bytes())? as usize)?;
        let Pattern { prefix, star } = Pattern::parse(name).ok()?;
        Some(self.matched(host, self.rule(host, star, &prefix)?, prefix.len()))
    }

    /// Domain and name of each package, as written.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts.iter().flat_map(|host| {
            let rules = &self.rules[host.rules.start as usize..host.rules.end as usize];
            rules.iter().map(|rule| (self.text(host.name), self.text(rule.pattern())))
        })
    }

    /// The URLs of the registries that rules lead to, in the order of [`Match::registry`].
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.registries.iter().map(|url| self.text(*url))
    }

    fn registry(&self, index: u32) -> &str {
        self.text(self.registries[index as usize])
    }

    fn text(&self, text: Text) -> &str {
        text.of(&self.texts)
    }

    fn hash(&self, first_of_host: u32, star: Option<Star>, text: &[u8]) -> u64 {
        hash_of(&self.hasher, first_of_host, star, text)
    }
}

impl<'t> Site<'t> {
    /// Whether there is a rule that can apply to this host.
    pub fn is_known(&self) -> bool {
        self.hosts().any(|host| !host.rules.is_empty())
    }

    /// The configured domain; `*` where only that applies.
    pub fn domain(&self) -> &'t str {
        self.exact.map_or("*", |host| self.table.text(host.name))
    }

    /// Where `/v2/` lives.
    pub fn base(&self) -> Base<'t> {
        match self.exact.or(self.any).map(|host| host.base) {
            Some(HostBase::Registry(index)) => {
                Base::Registry(self.table.registry(index), index as usize)
            }
            Some(HostBase::Several | HostBase::None) | None => Base::Several,
        }
    }

    /// What all its rules together say.
    pub fn facts(&self) -> Facts {
        self.exact.or(self.any).map(|host| host.facts).unwrap_or_default()
    }

    /// The same site for clients that find it over TLS, or do not.
    pub fn over_tls(self, is_over_tls: bool) -> Self {
        Self { is_over_tls, ..self }
    }

    /// Where clients of this domain get tokens: `https://registry.acme.com/token`. `*` is no name that
    /// a URL could have.
    pub fn realm(&self) -> Option<&'t str> {
        let realm = self.table.text(self.exact?.realms[usize::from(self.is_over_tls)]);
        Some(realm).filter(|realm| !realm.is_empty())
    }

    /// Where clients find this domain: its realm without what follows the authority.
    pub fn public_url(&self) -> Option<&'t str> {
        self.realm()?.strip_suffix(TOKEN)
    }

    /// Which registry checks a login that names no package.
    pub fn login(&self) -> Option<usize> {
        Some(self.exact?.login? as usize)
    }

    /// Whether clients log in at more than one registry: then a token has to say whose it is.
    pub fn has_several_logins(&self) -> bool {
        self.exact.is_some_and(|host| host.has_several_logins)
    }

    /// The rule that serves `name`: of the exact domain before `*`; there the exact name, then the
    /// longest prefix, `*` before `**` at the same length.
    pub fn find(&self, name: Name<'_>) -> Option<Match<'t>> {
        self.find_at(name, |_| true)
    }

    /// The same of those rules that lead to a registry that `is_meant`, by its URL.
    pub fn find_at(&self, name: Name<'_>, is_meant: impl Fn(&str) -> bool) -> Option<Match<'t>> {
        let table = self.table;
        self.hosts().find_map(|host| table.find_in(host, name.as_str(), &is_meant))
    }

    /// Whether the configuration names this host.
    pub fn is_named(&self) -> bool {
        self.exact.is_some()
    }

    /// Whether errors and `GET /` may name what is served here.
    pub fn list(&self) -> bool {
        self.exact.or(self.any).is_some_and(|host| host.list)
    }

    /// What is served here: names and patterns as written.
    pub fn names(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        let table = self.table;
        let rules = self.hosts().flat_map(|host| host.rules.clone());
        rules.map(|index| table.text(table.rules[index as usize].pattern()))
    }

    fn hosts(&self) -> impl Iterator<Item = &'t Host> + use<'t> {
        [self.exact, self.any].into_iter().flatten()
    }
}

fn hash_of(hasher: &FixedState, first_of_host: u32, star: Option<Star>, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(first_of_host);
    hasher.write_u8(match star {
        None => 0,
        Some(Star::One) => 1,
        Some(Star::Many) => 2,
    });
    hasher.write(text);
    hasher.finish()
}

#[expect(clippy::expect_used, reason = "the number of packages and the length of each is bounded")]
fn index(length: usize) -> u32 {
    u32::try_from(length).expect("PACKAGES_MAX packages fit 32 bits: limits.rs asserts it")
}

/// The length of a text. Names, hosts and ids are bounded far below: `limits.rs` asserts it.
fn length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Behind a registry's host (distribution spec, "Endpoints").
const V2: &str = "/v2/";

/// The domain that stands for any.
const ANY: &[u8] = b"*";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::values::Delivery;

    fn package(domain: &str, name: &str, backend: &str) -> Package {
        Package {
            domain: domain.to_owned(),
            name: Pattern::parse(name).unwrap(),
            backend: Backend::parse(backend).unwrap(),
            others: Vec::new(),
            failover_on_404: false,
            delivery: Delivery::Redirect,
            credentials: Credentials::None,
            id: None,
            public: false,
            line: None,
        }
    }

    /// The rules as lines of domain, name and backend.
    fn table(rules: &str) -> Table {
        let packages: Vec<Package> = rules
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| !words.is_empty())
            .map(|words| package(words[0], words[1], words[2]))
            .collect();
        Table::build(&packages, &[])
    }

    /// Where `host/name` leads: location and the tail that joins it, or `-`.
    fn found(table: &Table, host: &str, name: &str) -> String {
        let read = Name::parse(name.as_bytes()).unwrap();
        table.site(host.as_bytes()).find(read).map_or_else(
            || "-".to_owned(),
            |found| format!("{}{}", found.location, &name[found.tail_from..]),
        )
    }

    const ACME: &str = "
        registry.acme.com  acme/rocket  ghcr.io/acme/rocket
        registry.acme.com  acme/*       docker.io/acme/*
        registry.acme.com  acme/**      quay.io/acme/**
        registry.acme.com  acme/x/**    quay.io/x/**
        registry.acme.com  *            docker.io/*
        *                  acme/launch  ghcr.io/any/launch
        *                  **           gcr.io/mirror/**
    ";

    #[test]
    fn the_most_specific_rule_of_the_most_specific_domain_wins() {
        let table = table(ACME);
        for (host, name, expected) in [
            ("registry.acme.com", "acme/rocket", "https://ghcr.io/v2/acme/rocket"),
            ("registry.acme.com", "acme/launch", "https://registry-1.docker.io/v2/acme/launch"),
            ("registry.acme.com", "acme/a/b", "https://quay.io/v2/acme/a/b"),
            ("registry.acme.com", "acme/x/y", "https://quay.io/v2/x/y"),
            ("registry.acme.com", "redis", "https://registry-1.docker.io/v2/library/redis"),
            ("registry.acme.com", "other/x", "https://gcr.io/v2/mirror/other/x"),
            ("elsewhere.org", "acme/launch", "https://ghcr.io/v2/any/launch"),
            ("elsewhere.org", "acme/rocket", "https://gcr.io/v2/mirror/acme/rocket"),
        ] {
            assert_eq!(found(&table, host, name), expected, "{host}/{name}");
        }
    }

    #[test]
    fn port_case_and_final_dot_of_a_host_do_not_matter() {
        let table = table("registry.acme.com a ghcr.io/a\n [::1] a ghcr.io/six");
        for host in ["Registry.ACME.com", "registry.acme.com:8080", "registry.acme.com.:443"] {
            assert_eq!(found(&table, host, "a"), "https://ghcr.io/v2/a", "{host}");
            assert_eq!(table.site(host.as_bytes()).domain(), "registry.acme.com");
        }
        assert_eq!(found(&table, "[::1]:8080", "a"), "https://ghcr.io/v2/six");
        assert_eq!(found(&table, "[::1]", "a"), "https://ghcr.io/v2/six");
        for host in ["", ":", "[", "[::1", ".", "acme.com", &"x".repeat(1000)] {
            assert!(!table.site(host.as_bytes()).is_known(), "{host}");
        }
    }

    #[test]
    fn a_match_says_what_is_counted() {
        let mut collection = package("a.b", "acme/*", "ghcr.io/acme/*");
        collection.id = Some("fleet".to_owned());
        let table = Table::build(&[collection, package("a.b", "acme/x", "ghcr.io/x")], &[]);
        let find = |name: &'static str| {
            table.site(b"a.b").find(Name::parse(name.as_bytes()).unwrap()).unwrap()
        };
        let rocket = find("acme/rocket");
        assert_eq!((rocket.domain, rocket.id, rocket.collection), ("a.b", "fleet", "acme/*"));
        assert_eq!((rocket.location, rocket.tail_from), ("https://ghcr.io/v2/acme/", 5));
        let exact = find("acme/x");
        assert_eq!((exact.id, exact.collection, exact.tail_from), ("", "", 6));
        for (package, rule) in [
            ("a.b/acme/rocket", Some(("a.b", "acme/*"))),
            ("a.b/acme/x", Some(("a.b", "acme/x"))),
            ("a.b/acme/*", None),
            ("a.b/other", None),
            ("c.d/acme/x", None),
        ] {
            assert_eq!(table.serving(package), rule, "{package}");
        }
    }

    #[test]
    fn a_host_has_a_base_where_all_its_rules_lead_to_one_registry() {
        let one = Base::Registry("https://ghcr.io/v2/", 0);
        let two = table("a.b x ghcr.io/x\n a.b y ghcr.io/y\n c.d x quay.io/x\n c.d y ghcr.io/y");
        assert_eq!(two.site(b"a.b").base(), one);
        assert_eq!(two.site(b"c.d").base(), Base::Several);
        assert_eq!(two.site(b"e.f").base(), Base::Several);
        let schemes = table("a.b x ghcr.io/x\n a.b y http://ghcr.io/y");
        assert_eq!(schemes.site(b"a.b").base(), Base::Several);
        let any = table("a.b x ghcr.io/x\n c.d x quay.io/x\n * ** ghcr.io/**");
        assert_eq!(any.site(b"a.b").base(), one);
        assert_eq!(any.site(b"c.d").base(), Base::Several);
        assert_eq!(any.site(b"e.f").base(), one);
    }

    #[test]
    fn a_domain_of_its_own_decides_what_may_be_listed() {
        let domain = |host: &str, list| {
            let host = host.to_owned();
            Domain { host, public_url: None, login: None, list }
        };
        let packages = [
            package("a.b", "x", "ghcr.io/x"),
            package("*", "acme/*", "ghcr.io/acme/*"),
            package("a.b", "c", "ghcr.io/c"),
        ];
        let table = Table::build(&packages, &[domain("a.b", true), domain("only.list", true)]);
        let site = table.site(b"A.B");
        assert_eq!((site.list(), site.domain()), (true, "a.b"));
        assert_eq!(site.names().collect::<Vec<_>>(), ["x", "c", "acme/*"]);
        let site = table.site(b"only.list");
        assert_eq!((site.list(), site.domain(), site.is_known()), (true, "only.list", true));
        let site = table.site(b"else.where");
        assert_eq!((site.list(), site.domain(), site.is_known()), (false, "*", true));
        assert!(!Table::build(&[], &[domain("a.b", true)]).site(b"a.b").is_known());
    }
}
