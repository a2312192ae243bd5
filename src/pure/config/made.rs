//! Packages that people make in the dashboard: held to the rules of the file's, by the same code, and put
//! beside them. The file comes first: of two of one name its own is served, and what cannot stand beside
//! the rest is set aside, with the reasons.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::check::check_with;
use super::kinds::{Id, Scalar as _};
use super::problem::{Problem, Warning};
use super::values::{Config, Credentials, Package};
use crate::pure::access::OrganisationId;
use crate::pure::address::is_public;
use crate::pure::http1::forwarded::mapped;
use crate::pure::oci::backend::Backend;
use crate::pure::route::pattern::Pattern;

/// A package as somebody writes it in the dashboard: keys and words are those of `[[packages]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The public host name.
    pub domain: String,
    /// The name that clients pull.
    pub name: String,
    /// Where it lives, in the order in which they are asked.
    pub backends: Vec<String>,
    /// Whether the next is asked where one has no such thing.
    pub failover_on_404: bool,
    /// How it gets to clients.
    pub delivery: String,
    /// Whose login the registry sees.
    pub credentials: String,
    /// What the counts know it by, among those of its organisation; empty for its domain and name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What people say of it, for people.
    #[serde(default)]
    pub description: String,
}

/// One of them, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What was written.
    pub written: Written,
    /// Whether the organisation that runs the gateway owns it: only then does it use accounts and
    /// addresses that the file has.
    pub is_operators: bool,
    /// Whose it is, where that is another organisation.
    pub tenant: Option<OrganisationId>,
}

/// What is wrong with one: the field, named as in [`Written`] (`backends` for each of them), and words
/// that continue "it".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which field.
    pub field: String,
    /// What is wrong and what is allowed: nothing of what others have.
    pub what: String,
    /// The same in the words for who runs the gateway, where these tell of lines of the file or of what
    /// another organisation has.
    pub inside: Option<String>,
}

/// The file and what stands beside it.
pub struct Merged {
    /// All that is served.
    pub config: Config,
    /// What is odd about the file.
    pub warnings: Vec<Warning>,
    /// Which of the made ones are not served, by their places, and why.
    pub aside: BTreeMap<usize, Vec<Wrong>>,
}

impl Written {
    /// `<domain>/<name>`, as counts know it.
    pub fn package(&self) -> String {
        format!("{}/{}", self.domain, self.name)
    }

    /// Whether what is said of this package, of who sees it for one, reaches further than what was said of
    /// `that`.
    pub fn widens(&self, that: &Self) -> bool {
        // What is no name is no package's.
        let those = Pattern::parse(&that.name);
        Pattern::parse(&self.name).is_ok_and(|own| those.is_ok_and(|those| own.widens(&those)))
    }

    /// Whether this is a collection that has a package of the name of `that`.
    pub fn has(&self, that: &Self) -> bool {
        let own = Pattern::parse(&self.name);
        self.domain == that.domain && own.is_ok_and(|own| own.has(&that.name))
    }

    /// Without space around what was typed, and the domain as it is kept.
    pub fn tidied(self) -> Self {
        let trimmed = |text: String| text.trim().to_owned();
        let backends = self.backends.into_iter().map(trimmed).filter(|one| !one.is_empty());
        Self {
            domain: self.domain.trim().trim_end_matches('.').to_ascii_lowercase(),
            name: trimmed(self.name),
            backends: backends.collect(),
            delivery: trimmed(self.delivery),
            credentials: trimmed(self.credentials),
            id: trimmed(self.id),
            description: trimmed(self.description),
            ..self
        }
    }

    /// As a table of the file.
    fn table(&self) -> DeTable<'_> {
        let text = |text: &str| DeValue::String(text.to_owned().into());
        let home = match &*self.backends {
            [only] => ("backend", text(only)),
            all => {
                let mut list = DeArray::new();
                all.iter().for_each(|one| list.push(Spanned::new(0..0, text(one))));
                ("backends", DeValue::Array(list))
            }
        };
        let entries = [
            ("domain", text(&self.domain)),
            ("name", text(&self.name)),
            home,
            ("failover_on_404", DeValue::Boolean(self.failover_on_404)),
            ("delivery", text(&self.delivery)),
            ("credentials", text(&self.credentials)),
        ];
        let spanned = |(key, value): (&'static str, _)| {
            (Spanned::new(0..0, key.into()), Spanned::new(0..0, value))
        };
        entries.into_iter().map(spanned).collect()
    }

    /// What holds for these packages only.
    fn wrong(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if self.domain == "*" {
            let what = "`*` is for the configuration file: name the domain that clients pull from";
            wrong.push(Wrong::new("domain", what));
        }
        if let Err(what) = Id.make(self.id.clone()) {
            wrong.push(Wrong::new("id", format!("{what}; allowed: {}", Id.allowed())));
        }
        if self.backends.len() > BACKENDS_MAX {
            let what = format!("has more than {BACKENDS_MAX} of them");
            wrong.push(Wrong::new("backends", what));
        }
        let is_text = |letter: char| !letter.is_control() || letter == '\n' || letter == '\r';
        if self.description.len() > DESCRIPTION_BYTES_MAX || !self.description.chars().all(is_text)
        {
            let what = format!(
                "has more than {DESCRIPTION_BYTES_MAX} bytes, or a control character in it"
            );
            wrong.push(Wrong::new("description", what));
        }
        wrong
    }
}

impl Made {
    /// What the counts know it by, where it has an id. Those of each organisation are its own: counts follow an
    /// id, so nobody is to have others' by giving theirs.
    fn counted_as(&self) -> Option<String> {
        let id = Some(&self.written.id).filter(|id| !id.is_empty())?;
        // No id of the file has a slash, and so none of who writes it.
        Some(self.tenant.map_or_else(|| id.clone(), |tenant| format!("{tenant}/{id}")))
    }
}

/// What is wrong with the id of the one at this place among `made`, where another has it.
pub fn id_taken(in_file: &[Package], made: &[Made], at: usize) -> Option<Wrong> {
    let own = made.get(at)?.counted_as()?;
    if let Some(package) = in_file.iter().find(|one| one.id.as_ref() == Some(&own)) {
        let line = package.line.unwrap_or_default();
        let what =
            format!("is a package's in line {line} of the configuration file: choose another");
        return Some(Wrong::new("id", what));
    }
    let mut others = made.iter().enumerate().filter(|(of, _)| *of != at);
    let (_, other) = others.find(|(_, other)| other.counted_as().as_ref() == Some(&own))?;
    let what = format!("is that of {} already: choose another", other.written.package());
    Some(Wrong::new("id", what))
}

impl Wrong {
    /// Something wrong with this field.
    pub fn new(field: &str, what: impl Into<String>) -> Self {
        Self { field: field.to_owned(), what: what.into(), inside: None }
    }

    /// The same, of which who runs the gateway is told more.
    pub fn with_inside(field: &str, what: impl Into<String>, inside: impl Into<String>) -> Self {
        Self { inside: Some(inside.into()), ..Self::new(field, what) }
    }

    /// In the words for who runs the gateway, or for anybody else.
    pub fn told(self, runs_gateway: bool) -> Self {
        let Self { field, what, inside } = self;
        let what = inside.filter(|_| runs_gateway).unwrap_or(what);
        Self { field, what, inside: None }
    }
}

/// Puts `made` beside what the file of this name and text has, which was `checked` by itself.
pub fn beside(
    checked: (Config, Vec<Warning>),
    (file_name, text): (&str, &str),
    made: &[Made],
) -> Merged {
    let (config, warnings) = checked;
    let mut merged = Merged { config, warnings, aside: BTreeMap::new() };
    if made.is_empty() {
        return merged;
    }
    let in_file = merged.config.packages.len();
    for (at, one) in made.iter().enumerate() {
        set_aside(&mut merged.aside, at, one.written.wrong());
        if merged.config.admin.domain.as_ref() == Some(&one.written.domain) {
            let what = "is the dashboard's own name: name another domain";
            set_aside(&mut merged.aside, at, vec![Wrong::new("domain", what)]);
        }
    }
    for (at, wrong) in clashes(&merged.config.packages, made) {
        set_aside(&mut merged.aside, at, vec![wrong]);
    }
    loop {
        let places: Vec<usize> =
            (0..made.len()).filter(|at| !merged.aside.contains_key(at)).collect();
        let tables: Vec<_> = places.iter().map(|at| made[*at].written.table()).collect();
        let before = merged.aside.len();
        match check_with(file_name, text, &tables) {
            Ok((config, _)) => {
                for (at, package) in places.iter().zip(&config.packages[in_file..]) {
                    set_aside(&mut merged.aside, *at, not_theirs(&config, package, &made[*at]));
                }
                if merged.aside.len() == before {
                    merged.config = config;
                    name_for_counts(&mut merged.config.packages, in_file, &places, made);
                    return merged;
                }
            }
            Err(problems) => {
                for problem in problems {
                    if let Some((index, wrong)) = place(&problem, in_file) {
                        set_aside(&mut merged.aside, places[index], vec![wrong]);
                    }
                }
                if merged.aside.len() == before {
                    one_by_one((file_name, text), made, &places, &mut merged.aside);
                }
            }
        }
    }
}

/// Says what the counts know those by that were made, which stand behind those of the file. Of two of one id,
/// which two organisations' can be once a domain has another owner, the second is known by its name.
fn name_for_counts(packages: &mut [Package], in_file: usize, places: &[usize], made: &[Made]) {
    let (of_file, beside) = packages.split_at_mut(in_file.min(packages.len()));
    let mut taken: HashSet<String> = of_file.iter().filter_map(|one| one.id.clone()).collect();
    for (package, at) in beside.iter_mut().zip(places) {
        let id = made.get(*at).and_then(Made::counted_as);
        package.id = id.filter(|id| taken.insert(id.clone()));
    }
}

/// Finds out which of these `places` the file cannot stand beside: each is tried with those before it.
fn one_by_one(
    (file_name, text): (&str, &str),
    made: &[Made],
    places: &[usize],
    aside: &mut BTreeMap<usize, Vec<Wrong>>,
) {
    let mut tables = Vec::new();
    for at in places {
        tables.push(made[*at].written.table());
        if let Err(problems) = check_with(file_name, text, &tables) {
            tables.pop();
            let inside = problems.first().map_or_else(String::new, ToString::to_string);
            let inside = format!("cannot stand beside the configuration file: {inside}");
            set_aside(aside, *at, vec![Wrong::with_inside("domain", IN_THE_WAY, inside)]);
        }
    }
}

/// Whether the file, whose packages these are, has one of just this domain and name: its own is served.
pub fn is_in_file(in_file: &[Package], written: &Written) -> bool {
    in_file.iter().any(|of| of.domain == written.domain && of.name.to_string() == written.name)
}

/// Of two of one name the file's is served, else the first.
fn clashes(in_file: &[Package], made: &[Made]) -> Vec<(usize, Wrong)> {
    let mut found = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for (at, Made { written, .. }) in made.iter().enumerate() {
        let key = (written.domain.as_str(), written.name.as_str());
        match places.entry(key) {
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(at)),
            std::collections::hash_map::Entry::Occupied(_) => {
                found.push((at, Wrong::new("name", TAKEN)));
            }
        }
    }
    for package in in_file {
        let name = package.name.to_string();
        if let Some(at) = places.get(&(package.domain.as_str(), name.as_str())) {
            let line = package.line.unwrap_or_default();
            let inside = format!(
                "is a package at this domain already, in line {line} of the configuration file, which \
                 comes first: choose another name"
            );
            found.push((*at, Wrong::with_inside("name", TAKEN, inside)));
        }
    }
    found
}

/// What only the organisation that runs the gateway may have.
fn not_theirs(config: &Config, package: &Package, made: &Made) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if package.credentials == Credentials::Registry && !made.is_operators {
        let what = "\"registry\" uses the account of who runs the gateway, who alone can choose it, for \
                    packages of that organisation; use \"none\" or \"client\"";
        wrong.push(Wrong::new("credentials", what));
    }
    for home in homes(package) {
        let is_named = || {
            let mut in_file = config.packages.iter().filter(|one| one.line.is_some());
            in_file.any(|one| homes(one).any(|of| of.authority == home.authority))
        };
        let is_reached = is_reached(config, home) || (made.is_operators && is_named());
        if !is_reached {
            let what = format!(
                "names {}, which is not public; who runs the gateway allows it in \
                 upstream.allow_private",
                home.authority
            );
            wrong.push(Wrong::new("backends", what));
        }
    }
    wrong
}

/// Whether a home that is written as an address may be dialled; what a name leads to is judged then.
fn is_reached(config: &Config, home: &Backend) -> bool {
    let host = home.host();
    let address = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => mapped(address),
        Err(_) if host == "localhost" => mapped(Ipv4Addr::LOCALHOST.into()),
        Err(_) => return true,
    };
    is_public(address) || config.upstream.allows(host, address)
}

fn homes(package: &Package) -> impl Iterator<Item = &Backend> {
    std::iter::once(&package.backend).chain(&package.others)
}

/// Which of the made ones a problem is about.
fn place(problem: &Problem, in_file: usize) -> Option<(usize, Wrong)> {
    let (index, field) = problem.key.strip_prefix("packages[")?.split_once("].")?;
    let index = index.parse::<usize>().ok()?.checked_sub(in_file)?;
    let field = match field.split(['[', '.']).next() {
        Some("backend") | None => "backends",
        Some(field) => field,
    };
    Some((index, Wrong::new(field, &*problem.what)))
}

fn set_aside(aside: &mut BTreeMap<usize, Vec<Wrong>>, at: usize, wrong: Vec<Wrong>) {
    if !wrong.is_empty() {
        aside.entry(at).or_default().extend(wrong);
    }
}

/// What is said of a name that is a package's already, whosever that is.
const TAKEN: &str = "is a package at this domain already: choose another name";
/// What is said where the rest of the file, or another's package, speaks against a domain.
pub const IN_THE_WAY: &str = "is in the way of what is served here already: name another domain, or ask who runs \
                              the gateway";
/// A description, in all.
pub const DESCRIPTION_BYTES_MAX: usize = 1000;
/// Registries that one lives on.
pub const BACKENDS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::check;

    const FILE: &str = "
[admin]
domain = \"pullgate.acme.com\"
[upstream]
allow_private = [\"10.0.0.0/8\", \"inside.acme.com\"]
[[registries]]
host = \"ghcr.io\"
username = \"pull\"
password_env = \"PASSWORD\"
[[packages]]
domain = \"registry.acme.com\"
name = \"acme/rocket\"
backend = \"http://127.0.0.1:5000/acme/rocket\"
[[packages]]
domain = \"registry.acme.com\"
name = \"acme/other\"
backend = \"soon.acme.com/acme/other\"
";

    fn made(domain: &str, name: &str, backends: &str) -> Made {
        let written = Written {
            domain: domain.to_owned(),
            name: name.to_owned(),
            backends: backends.split_whitespace().map(str::to_owned).collect(),
            delivery: "auto".to_owned(),
            credentials: "none".to_owned(),
            ..Written::default()
        };
        Made { written, is_operators: false, tenant: Some(7) }
    }

    /// What is served beside the file, and of what is not, `place field: what`.
    fn merged(made: &[Made]) -> (Vec<String>, Vec<String>) {
        let merged = beside(check("f", FILE).unwrap(), ("f", FILE), made);
        let beside = merged.config.packages.iter().filter(|one| one.line.is_none());
        let served = beside.map(|one| format!("{}/{}", one.domain, one.name)).collect();
        let aside = merged.aside.iter().flat_map(|(at, wrong)| {
            wrong.iter().map(move |Wrong { field, what, .. }| format!("{at} {field}: {what}"))
        });
        (served, aside.collect())
    }

    #[test]
    fn what_is_right_stands_beside_the_file() {
        let rocket = made("pkg.acme.com", "acme/rocket", "ghcr.io/acme/rocket quay.io/acme/rocket");
        let all = made("pkg.acme.com", "library/**", "ghcr.io/library/**");
        let (served, aside) = merged(&[rocket, all]);
        assert_eq!(served, ["pkg.acme.com/acme/rocket", "pkg.acme.com/library/**"]);
        assert_eq!(aside, Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_said_by_its_field_and_the_rest_is_served() {
        let good = made("pkg.acme.com", "good", "ghcr.io/good");
        for (wrong, expected) in [
            (
                made("registry.acme.com", "acme/rocket", "ghcr.io/x"),
                "name: is a package at this domain already: ",
            ),
            (
                made("pkg.acme.com", "good", "ghcr.io/x"),
                "name: is a package at this domain already: ",
            ),
            (made("*", "x", "ghcr.io/x"), "domain: `*` is for"),
            (made("a b", "x", "ghcr.io/x"), "domain: `a b` is not a host name; allowed: "),
            (made("a.b", "<b>", "ghcr.io/x"), "name: `<b>` is not a repository name"),
            (made("a.b", "x", ""), "backends: is missing"),
            (made("a.b", "x", "ghcr.io/x:1"), "backends: "),
            (made("a.b", "x", "ghcr.io/x ghcr.io/x"), "backends: the same value stands here twice"),
            (made("a.b", "x", "a/x b/x c/x d/x e/x f/x g/x h/x i/x"), "backends: has more than 8"),
            (made("a.b", "x/*", "ghcr.io/x"), "backends: has to end in `*`"),
            (made("a.b", "x", "a.b/x"), "backends: names a.b, which is one of the gateway's own"),
            (
                made("a.b", "x", "169.254.169.254/x"),
                "backends: names 169.254.169.254, which is not",
            ),
            (
                made("a.b", "x", "http://[::ffff:127.0.0.1]/x"),
                "backends: names [::ffff:127.0.0.1],",
            ),
            (made("a.b", "x", "localhost:5001/x"), "backends: names localhost:5001, which is not"),
            (made("a.b", "x", "127.0.0.1:5000/x"), "backends: names 127.0.0.1:5000, which is not"),
            (made("soon.acme.com", "x", "ghcr.io/x"), "domain: is in the way of what is served"),
            (made("pullgate.acme.com", "x", "ghcr.io/x"), "domain: is the dashboard's own name"),
        ] {
            let told = format!("{wrong:?}");
            let (served, aside) = merged(&[good.clone(), wrong]);
            assert_eq!(served, ["pkg.acme.com/good"], "{told}");
            let said = aside.join("\n");
            assert!(said.starts_with(&format!("1 {expected}")), "{told}: {said}");
        }
    }

    #[test]
    fn counts_know_each_organisations_by_ids_of_their_own() {
        let text = FILE.replace("name = \"acme/other\"", "id = \"moon\"\nname = \"acme/other\"");
        let with = |name: &str, id: &str, tenant| {
            let mut made = made("a.b", name, "ghcr.io/x");
            made.written.id = id.to_owned();
            Made { tenant, ..made }
        };
        let all = [
            with("none", "", None),
            with("operators", "rocket", None),
            with("sevens", "rocket", Some(7)),
            with("eights", "moon", Some(8)),
            with("again", "rocket", Some(7)),
            with("the-files", "moon", None),
        ];
        let merged = beside(check("f", &text).unwrap(), ("f", &text), &all);
        assert!(merged.aside.is_empty(), "{:?}", merged.aside);
        let ids: Vec<_> = merged.config.packages.iter().map(|one| one.id.as_deref()).collect();
        let expected = [None, Some("rocket"), Some("7/rocket"), Some("8/moon"), None, None];
        assert_eq!((ids[1], &ids[2..]), (Some("moon"), &expected[..]));
        let in_file = &merged.config.packages[..2];
        let taken: Vec<_> = (0..all.len()).map(|at| id_taken(in_file, &all, at)).collect();
        let is_taken: Vec<bool> = taken.iter().map(Option::is_some).collect();
        assert_eq!(is_taken, [false, false, true, false, true, true]);
        let what = taken[5].clone().unwrap().what;
        assert!(what.starts_with("is a package's in line 14 of"), "{what}");
        let (_, aside) = self::merged(&[with("x", "a b", None), with("y", "7/x", Some(8))]);
        assert!(
            aside.iter().all(|one| one.contains("id: ") && one.contains("is not an id; allowed"))
        );
        assert_eq!(aside.len(), 2, "{aside:?}");
    }

    #[test]
    fn lines_of_the_file_are_told_to_who_runs_the_gateway_and_nobody_else() {
        for (one, inside) in [
            (
                made("registry.acme.com", "acme/rocket", "ghcr.io/x"),
                "is a package at this domain already, in line 10 of the configuration file,",
            ),
            (
                made("soon.acme.com", "x", "ghcr.io/x"),
                "cannot stand beside the configuration file: f:17: packages[1].backend: names soon",
            ),
        ] {
            let aside = beside(check("f", FILE).unwrap(), ("f", FILE), &[one]).aside;
            let wrong = aside[&0][0].clone();
            let operators = wrong.clone().told(true).what;
            assert!(operators.starts_with(inside), "{operators}");
            let others = format!("{:?}", wrong.told(false));
            assert!(!others.contains("file") && !others.contains("packages["), "{others}");
        }
    }

    #[test]
    fn accounts_and_private_addresses_of_the_file_are_its_operators() {
        for (backend, credentials, of_others, of_operators) in [
            ("ghcr.io/acme/secret", "registry", false, true),
            ("quay.io/acme/secret", "registry", false, false),
            ("ghcr.io/acme/secret", "client", true, true),
            ("http://127.0.0.1:5000/x", "none", false, true),
            ("http://127.0.0.1:5001/x", "none", false, false),
            ("http://10.1.2.3/x", "none", true, true),
            ("http://inside.acme.com/x", "none", true, true),
        ] {
            let mut made = made("a.b", "x", backend);
            made.written.credentials = credentials.to_owned();
            for (is_operators, expected) in [(false, of_others), (true, of_operators)] {
                let (served, aside) = merged(&[Made { is_operators, ..made.clone() }]);
                assert_eq!(!served.is_empty(), expected, "{backend} {is_operators}: {aside:?}");
            }
        }
    }

    #[test]
    fn what_people_type_is_tidied() {
        let written = Written { domain: " Pkg.Acme.COM. ".to_owned(), ..Written::default() };
        let backends = vec![" ghcr.io/a ".to_owned(), String::new()];
        let tidied = Written { backends, ..written }.tidied();
        assert_eq!(
            (&*tidied.domain, &*tidied.backends),
            ("pkg.acme.com", &["ghcr.io/a".to_owned()][..])
        );
    }
}
