//! Whether a domain leads to this gateway, in words: what was found at its addresses, what clients have
//! to be able to reach, and what to change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::pure::config::values::{Config, Credentials, Delivery};
use crate::pure::dns::Said;
use crate::pure::oci::backend::Backend;
use crate::pure::oci::challenge::known_token_hosts;

/// Everything that was looked at.
pub struct Findings<'f> {
    /// The domain.
    pub domain: &'f str,
    /// By what the gateway runs, for who wants to know of the domain's packages too.
    pub config: Option<&'f Config>,
    /// What the name server says of the domain, or why it says nothing.
    pub names: Result<Said, String>,
    /// Who answers at each of its addresses.
    pub visits: Vec<Visit>,
    /// What went wrong with its certificate the last time that an authority was asked for one.
    pub trouble: Option<String>,
}

/// What was found at one address.
pub struct Visit {
    /// The address.
    pub address: IpAddr,
    /// At its port for plain HTTP.
    pub plain: (u16, Seen),
    /// At its port for TLS.
    pub tls: (u16, Seen),
    /// What is shown there.
    pub certificate: Option<Shown>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The gateway that was asked for this.
    Us,
    /// Somebody else, or the gateway by a way that does not end there; and what they say.
    Other(String),
    /// Nobody, and why.
    Nobody(String),
}

/// A certificate, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who vouches for it.
    pub issuer: String,
    /// When it ends, in words.
    pub ends: String,
    /// Why clients do not believe it, if they do not.
    pub wrong: Option<String>,
}

/// What is said, line by line.
#[derive(Debug, Default)]
pub struct Report {
    /// The lines.
    pub lines: Vec<String>,
    /// Whether nothing has to be changed.
    pub is_well: bool,
}

impl Report {
    /// What `found` comes to.
    pub fn of(found: &Findings<'_>) -> Self {
        let mut report = Self { lines: Vec::new(), is_well: true };
        report.packages(found);
        report.names(found);
        for visit in &found.visits {
            report.visit(found, visit);
        }
        if let Some(trouble) = &found.trouble {
            report.change(format!("certificate: the last try failed: {trouble}"));
        }
        report.firewalls(found);
        report
    }

    fn well(&mut self, words: String) {
        self.lines.push(format!("ok      {words}"));
    }

    fn note(&mut self, words: String) {
        self.lines.push(format!("note    {words}"));
    }

    fn change(&mut self, words: String) {
        self.is_well = false;
        self.lines.push(format!("change  {words}"));
    }

    fn packages(&mut self, found: &Findings<'_>) {
        let (domain, Some(config)) = (found.domain, found.config) else { return };
        match (homes(found).count(), config.packages.iter().any(|one| one.domain == domain)) {
            (0, _) => self.change(format!(
                "packages: none is served at {domain}; add a section [[packages]] with this domain"
            )),
            (_, true) => self.well(format!("packages: some are served at {domain}")),
            (_, false) => self.note(format!(
                "packages: only those of domain = \"*\" are served at {domain}, which gets no \
                 certificate by itself; name it in a section [[packages]] for one"
            )),
        }
    }

    fn names(&mut self, found: &Findings<'_>) {
        let domain = found.domain;
        match &found.names {
            Err(why) => self.change(format!("DNS: {domain} could not be looked up: {why}")),
            Ok(Said { aliases, addresses, .. }) => {
                let way = [domain].into_iter().chain(aliases.iter().map(String::as_str));
                let way = way.collect::<Vec<_>>().join(" is an alias (CNAME) of ");
                if addresses.is_empty() {
                    self.change(format!(
                        "DNS: {way} has no address; give it a CNAME to this gateway's name, or an A \
                         or AAAA record with its address"
                    ));
                } else {
                    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                    self.well(format!("DNS: {way} is at {}", addresses.join(", ")));
                }
            }
        }
    }

    fn visit(&mut self, found: &Findings<'_>, visit: &Visit) {
        let Visit { address, plain, tls, certificate } = visit;
        for (kind, (port, seen), listens) in
            [("plain HTTP", plain, "gateway.listen"), ("TLS", tls, "gateway.listen_tls")]
        {
            let place = format!("{address}, port {port} ({kind})");
            match seen {
                Seen::Us => self.well(format!("{place}: this gateway answers")),
                Seen::Other(words) => self.change(format!(
                    "{place}: somebody else answers ({words}); let the address in DNS, or the proxy in \
                     front, lead to this gateway"
                )),
                Seen::Nobody(why) => self.change(format!(
                    "{place}: nobody answers ({why}); open the port in firewalls, and let it lead to \
                     {listens}"
                )),
            }
        }
        if let Some(Shown { issuer, ends, wrong }) = certificate {
            let what = format!("{address}: shows a certificate by {issuer}, until {ends}");
            match wrong {
                None => self.well(what),
                Some(wrong) => {
                    let remedy = if found.config.is_some_and(|config| config.acme.is_some()) {
                        "`pullgate certs` says how it stands"
                    } else {
                        "add [acme] to the configuration, or a certificate to [[certificates]]"
                    };
                    self.change(format!("{what}, which clients do not believe: {wrong}; {remedy}"));
                }
            }
        }
    }

    /// What has to be reachable from where people pull.
    fn firewalls(&mut self, found: &Findings<'_>) {
        let domain = found.domain;
        let all: Vec<_> = homes(found).collect();
        if all.iter().any(|(_, delivery)| *delivery == Delivery::Stream) {
            self.note(format!("clients' firewalls, delivery stream: {domain}"));
        }
        for (delivery, name) in [
            (Delivery::Broker, "broker"),
            (Delivery::Redirect, "redirect"),
            (Delivery::Auto, "auto"),
        ] {
            let mut homes = all.iter().filter(|(_, own)| *own == delivery).peekable();
            if homes.peek().is_none() {
                continue;
            }
            let mut hosts: BTreeSet<&str> = BTreeSet::new();
            let mut unknown = BTreeSet::new();
            for (home, _) in homes {
                if delivery != Delivery::Broker {
                    hosts.insert(home.authority.as_str());
                    for host in known_token_hosts(home.host()) {
                        hosts.insert(host);
                    }
                }
                match storage(home.host()) {
                    [] => drop(unknown.insert(home.authority.as_str())),
                    known => {
                        for host in known {
                            hosts.insert(*host);
                        }
                    }
                }
            }
            let listed: Vec<&str> = [domain].into_iter().chain(hosts).collect();
            let mut words = format!("clients' firewalls, delivery {name}: {}", listed.join(", "));
            if !unknown.is_empty() {
                let unknown: Vec<&str> = unknown.into_iter().collect();
                words += &format!(", and wherever {} may keep layers", unknown.join(", "));
            }
            self.note(words);
        }
    }
}

/// Where packages of the domain live, and how each gets to clients: with an account that is not the
/// client's, never by a redirect.
fn homes<'f>(found: &'f Findings<'_>) -> impl Iterator<Item = (&'f Backend, Delivery)> {
    let named = |domain: &str| domain == found.domain || domain == "*";
    let packages = found.config.map(|config| config.packages.as_slice()).unwrap_or_default();
    packages.iter().filter(move |package| named(&package.domain)).flat_map(|package| {
        let delivery = match (package.delivery, package.credentials) {
            (Delivery::Auto, Credentials::Client | Credentials::Registry) => Delivery::Broker,
            (delivery, _) => delivery,
        };
        std::iter::once(&package.backend).chain(&package.others).map(move |home| (home, delivery))
    })
}

/// Where the large registries have layers, as their documentation for firewalls says.
fn storage(registry: &str) -> &'static [&'static str] {
    match registry {
        "registry-1.docker.io" => {
            &["production.cloudflare.docker.com", "production.cloudfront.docker.com"]
        }
        "ghcr.io" => &["pkg-containers.githubusercontent.com"],
        "quay.io" => &["cdn01.quay.io", "cdn02.quay.io", "cdn03.quay.io"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::check;

    fn config(packages: &[(&str, &str, &str)]) -> Config {
        let text: String = packages
            .iter()
            .enumerate()
            .map(|(index, (domain, backend, delivery))| {
                format!(
                    "[[packages]]\ndomain = '{domain}'\nname = 'p{index}'\nbackend = '{backend}'\n\
                     delivery = '{delivery}'\n"
                )
            })
            .collect();
        check("f", &text).unwrap().0
    }

    fn findings(config: &Config) -> Findings<'_> {
        let address: IpAddr = [192, 0, 2, 1].into();
        let (aliases, addresses) = (vec!["gw.acme.net".to_owned()], vec![address]);
        let names = Ok(Said { aliases, addresses, ..Said::default() });
        let certificate =
            Some(Shown { issuer: "CN=E7".to_owned(), ends: "2027".to_owned(), wrong: None });
        let (plain, tls) = ((80, Seen::Us), (443, Seen::Us));
        let visits = vec![Visit { address, plain, tls, certificate }];
        Findings { domain: "r.acme.com", config: Some(config), names, visits, trouble: None }
    }

    #[test]
    fn a_domain_that_leads_here_is_well_and_firewalls_are_told_what_to_allow() {
        let config = config(&[
            ("r.acme.com", "ghcr.io/acme/a", "stream"),
            ("r.acme.com", "ghcr.io/acme/b", "broker"),
            ("r.acme.com", "acme/c", "redirect"),
            ("*", "reg.example:5000/d", "redirect"),
            ("other.com", "quay.io/e", "redirect"),
        ]);
        let report = Report::of(&findings(&config));
        let lines = [
            "ok      packages: some are served at r.acme.com",
            "ok      DNS: r.acme.com is an alias (CNAME) of gw.acme.net is at 192.0.2.1",
            "ok      192.0.2.1, port 80 (plain HTTP): this gateway answers",
            "ok      192.0.2.1, port 443 (TLS): this gateway answers",
            "ok      192.0.2.1: shows a certificate by CN=E7, until 2027",
            "note    clients' firewalls, delivery stream: r.acme.com",
            "note    clients' firewalls, delivery broker: r.acme.com, \
             pkg-containers.githubusercontent.com",
            "note    clients' firewalls, delivery redirect: r.acme.com, auth.docker.io, \
             auth.ipv6.docker.com, production.cloudflare.docker.com, \
             production.cloudfront.docker.com, reg.example:5000, registry-1.docker.io, and wherever \
             reg.example:5000 may keep layers",
        ];
        assert_eq!(report.lines, lines);
        assert!(report.is_well);
    }

    #[test]
    fn what_is_to_be_changed_is_said_with_its_reason() {
        let good = config(&[("r.acme.com", "ghcr.io/a", "broker")]);
        let none = config(&[("b.com", "ghcr.io/a", "broker")]);
        let says = |found: &Findings<'_>, words: &str| {
            let report = Report::of(found);
            let said =
                report.lines.iter().any(|line| line.starts_with("change") && line.contains(words));
            assert!(said && !report.is_well, "{words}: {:#?}", report.lines);
        };
        says(&findings(&none), "packages: none is served at r.acme.com");
        says(&Findings { names: Err("timed out".into()), ..findings(&good) }, "timed out");
        says(
            &Findings { names: Ok(Said::default()), ..findings(&good) },
            "r.acme.com has no address",
        );
        says(
            &Findings { trouble: Some("caa".into()), ..findings(&good) },
            "the last try failed: caa",
        );
        let mut found = findings(&good);
        found.visits[0].plain.1 = Seen::Nobody("refused".into());
        found.visits[0].tls.1 = Seen::Other("404".into());
        says(&found, "port 80 (plain HTTP): nobody answers (refused); open the port");
        says(&found, "port 443 (TLS): somebody else answers (404)");
        let shown = found.visits[0].certificate.as_mut().unwrap();
        shown.wrong = Some("UnknownIssuer".into());
        says(&found, "which clients do not believe: UnknownIssuer; add [acme]");
    }
}
