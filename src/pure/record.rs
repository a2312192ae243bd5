//! The DNS record that leads a package's domain to the gateway, as far as that can know where it is.

use std::net::{IpAddr, SocketAddr};

use crate::pure::address::is_public;
use crate::pure::http1::forwarded::mapped;

/// A record to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub name: String,
    /// `CNAME`, `A` or `AAAA`
    pub kind: &'static str,
    /// What it says.
    pub value: String,
}

impl Record {
    /// Whether it says a name, and no address.
    pub fn is_alias(&self) -> bool {
        self.kind == "CNAME"
    }
}

/// What a gateway knows of where it is.
pub struct Whereabouts<'w> {
    /// The name of its dashboard, which leads to the listeners that clients pull from.
    pub dashboard: Option<&'w str>,
    /// The domain below which each organisation has one.
    pub shared: Option<&'w str>,
    /// Where it listens for clients.
    pub listens: &'w [SocketAddr],
    /// The addresses that its machine has towards the Internet.
    pub own: &'w [IpAddr],
}

/// The shared domain that `domain` is an organisation's below. One record leads all of these here, and who runs the
/// gateway has it: whose package it is cannot add any there.
pub fn shared_above<'s>(domain: &str, shared: Option<&'s str>) -> Option<&'s str> {
    let below = |shared: &&str| {
        domain.strip_suffix(shared).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
    };
    shared.filter(below)
}

/// The records that lead `domain` here; none where it cannot be known which do.
pub fn records(domain: &str, at: &Whereabouts<'_>) -> Vec<Record> {
    let name = shared_above(domain, at.shared)
        .map_or_else(|| domain.to_owned(), |shared| format!("*.{shared}"));
    if let Some(dashboard) = at.dashboard.filter(|dashboard| *dashboard != domain) {
        return vec![Record { name, kind: "CNAME", value: dashboard.to_owned() }];
    }
    let mut addresses: Vec<IpAddr> = at.listens.iter().map(SocketAddr::ip).collect();
    let listens_at = |one: &IpAddr| {
        // One socket for all addresses of IPv6 has those of IPv4 too.
        at.listens.iter().any(|at| at.ip().is_unspecified() && (at.is_ipv6() || one.is_ipv4()))
    };
    addresses.extend(at.own.iter().filter(|own| listens_at(own)));
    addresses.retain(|one| !one.is_unspecified() && is_public(mapped(*one)));
    addresses.sort_unstable();
    addresses.dedup();
    let record = |address: IpAddr| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        Record { name: name.clone(), kind, value: address.to_string() }
    };
    addresses.into_iter().map(record).collect()
}

/// What of `records` is for who looks. A name is for everybody who may see the package; an address of this machine,
/// before which something may stand that hides it, only for who adds the record.
pub fn for_viewer(mut records: Vec<Record>, adds_them: bool) -> Vec<Record> {
    records.retain(|record| adds_them || record.is_alias());
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(domain: &str, dashboard: Option<&str>, listens: &[&str], own: &[&str]) -> Vec<String> {
        let listens: Vec<SocketAddr> = listens.iter().map(|it| it.parse().unwrap()).collect();
        let own: Vec<IpAddr> = own.iter().map(|it| it.parse().unwrap()).collect();
        let at =
            Whereabouts { dashboard, shared: Some("pkg.acme.com"), listens: &listens, own: &own };
        let one = |Record { name, kind, value }| format!("{name} {kind} {value}");
        records(domain, &at).into_iter().map(one).collect()
    }

    #[test]
    fn a_domain_is_led_to_the_name_of_the_dashboard_else_to_what_is_listened_at() {
        let name = Some("counts.acme.com");
        let (any4, any6) = (&["0.0.0.0:80"][..], &["[::]:443"][..]);
        let own = &["203.0.113.7", "2001:db8::7", "10.0.0.7"][..];
        for (domain, dashboard, listens, own, expected) in [
            ("r.acme.com", name, any4, own, &["r.acme.com CNAME counts.acme.com"][..]),
            ("moon.pkg.acme.com", name, any4, own, &["*.pkg.acme.com CNAME counts.acme.com"]),
            ("xpkg.acme.com", name, any4, own, &["xpkg.acme.com CNAME counts.acme.com"]),
            ("counts.acme.com", name, any4, own, &["counts.acme.com A 203.0.113.7"]),
            ("a.b", None, any4, own, &["a.b A 203.0.113.7"]),
            ("a.b", None, any6, own, &["a.b A 203.0.113.7", "a.b AAAA 2001:db8::7"]),
            ("a.b", None, &["198.51.100.2:80", "198.51.100.2:443"], own, &["a.b A 198.51.100.2"]),
            // Behind a front end, or an address that is translated, there is nothing to know.
            ("a.b", None, &["127.0.0.1:8080"], own, &[]),
            ("a.b", None, any4, &["10.0.0.7"], &[]),
        ] {
            assert_eq!(told(domain, dashboard, listens, own), expected, "{domain} {listens:?}");
        }
    }

    #[test]
    fn addresses_are_for_who_adds_them() {
        let record = |kind, value: &str| Record { name: "a.b".into(), kind, value: value.into() };
        let (alias, address) = (record("CNAME", "counts.acme.com"), record("A", "203.0.113.7"));
        for (records, adds_them, expected) in [
            (vec![alias.clone()], false, vec![alias.clone()]),
            (vec![alias.clone()], true, vec![alias]),
            (vec![address.clone()], false, vec![]),
            (vec![address.clone()], true, vec![address]),
        ] {
            assert_eq!(for_viewer(records, adds_them), expected);
        }
    }

    #[test]
    fn what_is_below_the_shared_domain_is_told_apart() {
        let shared = Some("pkg.acme.com");
        assert_eq!(shared_above("moon.pkg.acme.com", shared), shared);
        for own in ["pkg.acme.com", ".pkg.acme.com", "xpkg.acme.com", "registry.acme.com"] {
            assert_eq!(shared_above(own, shared), None, "{own}");
        }
        assert_eq!(shared_above("moon.pkg.acme.com", None), None);
    }
}
