//! What is told of registries and certificates, and when.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control::accounts::outages::Outage;
use crate::control::certificates::Entry;
use crate::pure::alert::certificate_steps;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    /// The same is told once.
    pub(super) about: String,
    pub(super) kind: &'static str,
    /// The package that it happened to, where it is one alone: `<domain>/<name>`.
    pub(super) package: Option<String>,
    pub(super) text: String,
    pub(super) data: Value,
}

/// A registry fails, or works again.
pub(super) fn of_outage(outage: &Outage) -> News {
    let Outage { registry, since_s, why, ended_s } = outage;
    let place = registry.trim_end_matches("/v2/");
    let since = time(*since_s);
    match ended_s {
        None => News {
            about: format!("failing {registry} {since_s}"),
            kind: "backend.failing",
            package: None,
            text: format!("{place} fails since {since}: {why}"),
            data: json!({ "registry": place, "since": since, "why": why }),
        },
        Some(_) => News {
            about: format!("working {registry} {since_s}"),
            kind: "backend.working",
            package: None,
            text: format!("{place} works again; it had failed since {since}"),
            data: json!({ "registry": place, "since": since }),
        },
    }
}

/// The certificate that this domain is shown ends, if it does so soon: told at each of its steps.
pub(super) fn of_certificate(domain: &str, entry: &Entry, now_s: i64) -> Option<News> {
    let left_s = entry.ends_s - now_s;
    let steps = certificate_steps(entry.begins_s, entry.ends_s);
    let step = steps.iter().filter(|step| left_s <= **step).count();
    if step == 0 {
        return None;
    }
    let ends = time(entry.ends_s);
    let text = match left_s {
        ..0 => format!("The certificate of {domain} has ended: {ends}"),
        _ => format!("The certificate of {domain} ends in {} days: {ends}", left_s / DAY_S),
    };
    Some(News {
        about: format!("certificate {domain} {} {step}", entry.ends_s),
        kind: "certificate.expiring",
        package: None,
        text,
        data: json!({ "domain": domain, "ends": ends, "issuer": entry.issuer }),
    })
}

/// The certificate that is shown for this domain.
pub(super) fn shown_for<'e>(entries: &'e [Entry], domain: &str) -> Option<&'e Entry> {
    let below = domain.split_once('.').map(|(_, below)| below);
    let is_for =
        |name: &str| name == domain || name.strip_prefix("*.").is_some_and(|of| below == Some(of));
    entries.iter().find(|entry| entry.names.iter().any(|name| is_for(name)))
}

fn time(at_s: i64) -> String {
    Timestamp::from_second(at_s).unwrap_or(Timestamp::MAX).to_string()
}

const DAY_S: i64 = 24 * 3600;
