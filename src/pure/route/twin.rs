//! The route table against a look at every rule.

use std::collections::HashSet;

use proptest::prelude::*;

use super::pattern::{Pattern, Star};
use super::table::{Base, Facts, Table};
use crate::pure::config::values::{Credentials, Delivery, Package};
use crate::pure::oci::backend::Backend;
use crate::pure::oci::name::Name;

/// The rule that serves a name, found the obvious way.
fn naive<'p>(packages: &'p [Package], host: &str, name: &str) -> Option<&'p Package> {
    let fits = |package: &&Package| {
        let is_host = package.domain == "*" || package.domain == host.to_ascii_lowercase();
        is_host && package.name.has(name)
    };
    let specificity = |package: &&Package| {
        let Pattern { prefix, star } = &package.name;
        (package.domain != "*", star.is_none(), prefix.len(), *star == Some(Star::One))
    };
    packages.iter().filter(fits).max_by_key(specificity)
}

fn base(package: &Package) -> String {
    format!("{}{}/v2/", package.backend.scheme.as_str(), package.backend.authority)
}

/// Rules over few words, no two of them the same; each leads to a repository of its own.
fn rules() -> impl Strategy<Value = Vec<Package>> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..4);
    let star = prop::sample::select(vec!["x", "a", "b", "*", "**"]);
    let name = (segments, star).prop_map(|(mut segments, last)| {
        segments.push(last);
        segments.join("/")
    });
    let domain = prop::sample::select(vec!["a.b", "c.d", "*"]);
    let registry = prop::sample::select(vec!["ghcr.io", "ghcr.io", "quay.io", "http://ghcr.io"]);
    let delivery = prop::sample::select(vec![
        Delivery::Auto,
        Delivery::Redirect,
        Delivery::Broker,
        Delivery::Stream,
    ]);
    let credentials =
        prop::sample::select(vec![Credentials::None, Credentials::Client, Credentials::Registry]);
    let terms = (registry, delivery, credentials);
    prop::collection::hash_map((domain, name), terms, 0..24).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        rules.map(|(index, (of, terms))| package(index, of, terms)).collect()
    })
}

fn package(index: usize, (domain, name): (&str, String), terms: Terms) -> Package {
    let (registry, delivery, credentials) = terms;
    Package {
        domain: domain.to_owned(),
        name: Pattern::parse(&name).unwrap(),
        backend: Backend::parse(&format!("{registry}/r{index}")).unwrap(),
        others: Vec::new(),
        failover_on_404: false,
        delivery,
        credentials,
        id: None,
        public: false,
        line: None,
    }
}

type Terms = (&'static str, Delivery, Credentials);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_a_look_at_every_rule_finds(
        packages in rules(),
        host in prop::sample::select(vec!["a.b", "C.d", "e.f"]),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..6),
    ) {
        let table = Table::build(&packages, &[]);
        let name = path.join("/");
        let expected = naive(&packages, host, &name);
        let found = table.site(host.as_bytes()).find(Name::parse(name.as_bytes()).unwrap());
        prop_assert_eq!(
            found.map(|found| (
                found.location.to_owned(),
                found.tail_from,
                &found.location[..found.base_length],
                (found.delivery, found.credentials),
            )),
            expected.map(|rule| (
                format!("{}{}", base(rule), rule.backend.repository),
                rule.name.prefix.len(),
                table.registries().nth(found.unwrap().registry).unwrap(),
                (rule.delivery, rule.credentials),
            ))
        );
        let applies = |rule: &Package| ["*", &host.to_ascii_lowercase()].contains(&&*rule.domain);
        let site = table.site(host.as_bytes());
        let applying: Vec<_> = packages.iter().filter(|rule| applies(rule)).collect();
        prop_assert_eq!(site.is_known(), !applying.is_empty());
        let bases: HashSet<_> = applying.iter().map(|rule| base(rule)).collect();
        match site.base() {
            Base::Registry(url, index) => {
                prop_assert_eq!(bases, HashSet::from([url.to_owned()]));
                prop_assert_eq!(table.registries().nth(index), Some(url));
            }
            Base::Several => prop_assert_ne!(bases.len(), 1),
        }
        let some = |is_so: fn(&Package) -> bool| applying.iter().any(|rule| is_so(rule));
        prop_assert_eq!(site.facts(), Facts {
            clients_log_in: some(|rule| rule.credentials == Credentials::Client),
            may_redirect: some(|rule| {
                rule.delivery == Delivery::Redirect
                    || (rule.delivery, rule.credentials) == (Delivery::Auto, Credentials::None)
            }),
            redirects: some(|rule| rule.delivery == Delivery::Redirect),
            since_us: 0,
        });
    }
}
