//! What `decide` does with a request, told to a person step by step.

use crate::pure::config::values::Credentials;
use crate::pure::decide::{Action, Forward, Known, Redirect, Say, decide};
use crate::pure::desk::Purpose;
use crate::pure::http1::head::RequestHead;
use crate::pure::oci::backend::authority_of;
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::proof::Proof;
use crate::pure::route::table::{Base, Match};
use crate::pure::why::{Why, word_of};

/// The steps, one sentence each, of what the request of `head` is answered with.
pub fn steps(known: Known<'_>, head: &RequestHead<'_>) -> Vec<String> {
    let action = decide(known, head);
    let mut steps = Vec::new();
    if let Ok(endpoint) = Endpoint::parse(head.path) {
        steps.push(format!("asked for: {}", asked(&endpoint)));
    }
    let site = known.door.site(known.snapshot, head.host.unwrap_or_default());
    steps.push(match (site.is_known(), site.domain()) {
        (false, _) => "domain: none that is served here".to_owned(),
        (true, "*") => "domain: none of its own, so the rules of * alone".to_owned(),
        (true, domain) => format!("domain: {domain}"),
    });
    match &action {
        Action::Redirect(to) => redirect(known, head, to, &mut steps),
        Action::Forward(to) => forward(known, to, &mut steps),
        Action::Grant(errand) => {
            let registry = &known.snapshot.registries[errand.registry];
            let what = match errand.purpose {
                Purpose::Token => "a token is wanted of",
                Purpose::Base => "a login is to be checked by",
            };
            let for_what = match errand.repositories().join(", ") {
                none if none.is_empty() => String::new(),
                names => format!(", for {names}"),
            };
            steps.push(format!("answer: {what} {}{for_what}", authority_of(&registry.base)));
        }
        Action::Secure(_) => steps.push("answer: 308, the same is to be asked over TLS".to_owned()),
        Action::HandOn(_) => steps.push("answer: by the dashboard, whose host that is".to_owned()),
        Action::Say(Say::Base) => steps.push("answer: 200, clients need not log in".to_owned()),
        Action::Say(Say::Challenge(challenge)) => {
            steps.push(format!("answer: 401, tokens are given at {}", challenge.realm));
        }
        Action::Say(Say::RegistryChallenge(challenge)) => {
            steps.push(format!("answer: 401 with the registry's challenge, {challenge}"));
        }
        Action::Say(Say::Token(_)) => {
            steps.push("answer: 200, a token of ours for what anybody may pull".to_owned());
        }
        Action::Say(Say::Proof(_)) => {
            steps.push("answer: 200, what proves the domain to an authority".to_owned());
        }
        Action::Say(Say::Reached(_)) => {
            steps.push("answer: 200, what `pullgate doctor` knows this gateway by".to_owned());
        }
        Action::Say(Say::Welcome(..) | Say::Robots) => {
            steps.push("answer: 200, a sentence".to_owned());
        }
        Action::Refuse(refusal) => {
            let row = refusal.fault.kind.row();
            steps.push(format!("answer: {} {} ({})", row.status, row.code, row.label));
        }
    }
    steps
}

fn redirect(known: Known<'_>, head: &RequestHead<'_>, to: &Redirect<'_>, steps: &mut Vec<String>) {
    let what = to.endpoint.tail();
    if let Some(matched) = to.matched {
        rule(matched, to.name_tail, steps);
        facts(known, matched, to.name_tail, steps);
    }
    if to.depends_on_client {
        let trust = known.snapshot.clients.trust(head.user_agent);
        let survives = if trust.survives_redirect { "survives" } else { "does not survive" };
        steps.push(format!("client: by its user agent one that {survives} a redirect"));
    }
    steps.push(format!("delivery: redirect, because {}", to.why.words()));
    steps.push(format!("answer: 307 to {}{}{}{}", to.location, to.name_tail, what.0, what.1));
}

fn forward(known: Known<'_>, to: &Forward<'_>, steps: &mut Vec<String>) {
    let what = to.endpoint.tail();
    rule(to.matched, to.name_tail, steps);
    if to.why != Why::Configured {
        facts(known, to.matched, to.name_tail, steps);
    }
    let delivery = if to.streams { "stream" } else { "broker" };
    steps.push(format!("delivery: {delivery}, because {}", to.why.words()));
    let login = match to.credentials {
        Credentials::None => "as anybody",
        Credentials::Client => "with the client's own login",
        Credentials::Registry => "with the gateway's account",
    };
    let (location, tail) = (to.location, to.name_tail);
    steps.push(format!("answer: {location}{tail}{}{} is asked, {login}", what.0, what.1));
}

fn rule(matched: Match<'_>, tail: &str, steps: &mut Vec<String>) {
    let Match { domain, collection, location, delivery, credentials, .. } = matched;
    let pattern = if collection.is_empty() { "its exact name" } else { collection };
    let credentials = match credentials {
        Credentials::None => "none",
        Credentials::Client => "client",
        Credentials::Registry => "registry",
    };
    steps.push(format!(
        "rule: {pattern} of {domain}, delivery = \"{}\", credentials = \"{credentials}\"",
        word_of(delivery)
    ));
    steps.push(format!("lives at: {location}{tail}"));
}

/// What was found out that matters here.
fn facts(known: Known<'_>, matched: Match<'_>, tail: &str, steps: &mut Vec<String>) {
    steps.push(match known.proofs.repository(matched.location, tail) {
        Proof::Unknown => "found out: nothing yet of who can pull it".to_owned(),
        Proof::Refused => "found out: not everybody can pull it, or not safely".to_owned(),
        Proof::Open => "found out: everybody can pull it, without a token".to_owned(),
        Proof::WithToken => "found out: everybody can pull it, with a token".to_owned(),
    });
    let site = known.snapshot.routes.site(matched.domain.as_bytes());
    if let Base::Several = site.base() {
        steps.push("the domain's packages: on several registries".to_owned());
    }
}

fn asked(endpoint: &Endpoint<'_>) -> String {
    let (kind, what) = endpoint.tail();
    match (endpoint.name(), endpoint) {
        (Some(name), Endpoint::Manifest { .. }) => format!("manifest {what} of {}", name.as_str()),
        (Some(name), Endpoint::Blob { .. }) => format!("blob {what} of {}", name.as_str()),
        (Some(name), _) => format!("{}{kind}{what}", name.as_str()),
        (None, Endpoint::Base) => "/v2/, which names no package".to_owned(),
        (None, Endpoint::Token) => "/token, where clients log in".to_owned(),
        (None, _) => "nothing of a package".to_owned(),
    }
}
