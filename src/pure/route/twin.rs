//! The route table against a look at every rule.

use proptest::prelude::*;

use super::pattern::{Pattern, Star};
use super::table::Table;
use crate::pure::config::values::{Credentials, Delivery, Package};
use crate::pure::oci::backend::Backend;
use crate::pure::oci::name::Name;

/// The rule that serves a name, found the obvious way.
fn naive<'p>(packages: &'p [Package], host: &str, name: &str) -> Option<&'p Package> {
    let fits = |package: &&Package| {
        let is_host = package.domain == "*" || package.domain == host.to_ascii_lowercase();
        let Pattern { prefix, star } = &package.name;
        is_host
            && match (star, name.strip_prefix(prefix.as_str())) {
                (None, Some(tail)) => tail.is_empty(),
                (Some(Star::One), Some(tail)) => !tail.is_empty() && !tail.contains('/'),
                (Some(Star::Many), Some(tail)) => !tail.is_empty(),
                (_, None) => false,
            }
    };
    let specificity = |package: &&Package| {
        let Pattern { prefix, star } = &package.name;
        (package.domain != "*", star.is_none(), prefix.len(), *star == Some(Star::One))
    };
    packages.iter().filter(fits).max_by_key(specificity)
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
    prop::collection::hash_set((domain, name), 0..24).prop_map(|rules| {
        let package = |(index, (domain, name)): (usize, (&str, String))| Package {
            domain: domain.to_owned(),
            name: Pattern::parse(&name).unwrap(),
            backend: Backend::parse(&format!("ghcr.io/r{index}")).unwrap(),
            delivery: Delivery::Redirect,
            credentials: Credentials::None,
            id: None,
            line: 0,
        };
        rules.into_iter().enumerate().map(package).collect()
    })
}

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
            found.map(|found| (found.location.to_owned(), found.tail_from)),
            expected.map(|rule| (
                format!("https://ghcr.io/v2/{}", rule.backend.repository),
                rule.name.prefix.len(),
            ))
        );
        let applies = |rule: &Package| ["*", &host.to_ascii_lowercase()].contains(&&*rule.domain);
        prop_assert_eq!(table.site(host.as_bytes()).is_known(), packages.iter().any(applies));
    }
}
