//! An action in bytes: the redirect, what the gateway says by itself, and the words of refusals.

use crate::pure::decide::{Action, Redirect, Refusal, Say};
use crate::pure::desk::LIFE_S;
use crate::pure::fault::Kind;
use crate::pure::http1::encode::{self, Manner, Out};
use crate::pure::oci::backend::{is_address, split_port};
use crate::pure::route::table::Site;
use crate::pure::why::Explained;

/// Writes the answer that `action` is. That of a request for which the registry is asked comes from
/// there: of it there is nothing to write.
pub fn write(out: &mut Out<'_>, manner: &Manner<'_>, action: &Action<'_>) {
    match action {
        Action::Redirect(to) => redirect(out, manner, to),
        Action::Secure(to) => encode::moved(out, manner, |out| to.put(out)),
        Action::Say(Say::Base) => encode::base(out, manner),
        Action::Say(Say::Challenge(challenge)) => {
            encode::challenge(out, manner, &challenge.pieces());
        }
        Action::Say(Say::RegistryChallenge(challenge)) => {
            encode::challenge(out, manner, &[challenge]);
        }
        Action::Say(Say::Token(token)) => encode::token(out, manner, token, LIFE_S),
        Action::Say(Say::Robots) => encode::text(out, manner, ROBOTS),
        Action::Say(Say::Proof(said)) => encode::text(out, manner, said.as_bytes()),
        Action::Say(Say::Reached(said)) => encode::text(out, manner, said),
        Action::Say(Say::Welcome(site, host)) => {
            let mut memory = [0; WORDS_BYTES_MAX];
            let mut words = Out::new(&mut memory, 0);
            welcome(&mut words, *site, host);
            encode::text(out, manner, words.written(0));
        }
        Action::Forward(_) | Action::Grant(_) | Action::HandOn(_) => {}
        Action::Refuse(refusal) => {
            let mut memory = [0; WORDS_BYTES_MAX];
            let mut words = Out::new(&mut memory, 0);
            explain(&mut words, refusal);
            let mut memory = [0; FIELDS_BYTES_MAX];
            let mut fields = Out::new(&mut memory, 0);
            put_fields(&mut fields, refusal);
            encode::error(out, manner, refusal.fault, words.written(0), fields.written(0));
        }
    }
}

fn redirect(out: &mut Out<'_>, manner: &Manner<'_>, to: &Redirect<'_>) {
    let (kind, what) = to.endpoint.tail();
    let (mark, query) = match to.query {
        Some(query) => ("?", query),
        None => ("", &[][..]),
    };
    let location = [to.location, to.name_tail, kind, what, mark].map(str::as_bytes);
    let [start, tail, kind, what, mark] = location;
    let pieces = [start, tail, kind, what, mark, query];
    let explained = to.explained();
    let said = explained.as_ref().map(Explained::pieces);
    let fields = said.as_ref().map_or(&[][..], |pieces| pieces.as_slice());
    encode::redirect(out, manner, &pieces, to.depends_on_client, fields);
}

fn welcome(words: &mut Out<'_>, site: Site<'_>, host: &[u8]) {
    words.put("This is a container registry's front door, kept by pullgate. ");
    if !site.is_known() {
        words.put("It does not serve this domain.\n");
        return;
    }
    words.put("Pull from it by name: docker pull ");
    words.put(if host.is_empty() { b"HOST" } else { host });
    words.put("/NAME:TAG\n");
    if site.list() {
        words.put("Served here: ");
        put_names(words, site);
        words.put("\n");
    }
}

/// What a refusal's head says beside the usual, each field begun by its line break.
fn put_fields(fields: &mut Out<'_>, refusal: &Refusal<'_>) {
    if refusal.fault.kind == Kind::MethodUnsupported {
        fields.put("\r\nAllow: GET, HEAD");
    }
    if matches!(
        refusal.fault.kind,
        Kind::RequestsTooMany
            | Kind::ConnectionsTooMany
            | Kind::UpstreamBusy
            | Kind::UpstreamFailing
    ) {
        fields.put("\r\nRetry-After: ");
        fields.put_number(usize::try_from(refusal.retry_after_s).unwrap_or(usize::MAX));
    }
    if let Some(explained) = &refusal.explained {
        explained.pieces().iter().for_each(|piece| fields.put(piece));
    }
    if let Some(challenge) = &refusal.challenge {
        fields.put("\r\nWWW-Authenticate: ");
        challenge.pieces().iter().for_each(|piece| fields.put(piece));
    }
}

/// The words of a refusal, for the person whose `docker pull` shows them: what is wrong and what
/// to do. What is quoted from the request is escaped for JSON.
fn explain(words: &mut Out<'_>, refusal: &Refusal<'_>) {
    let mut blame = |what, remedy| blame_registry(words, refusal, what, remedy);
    let words_of_kind = match refusal.fault.kind {
        Kind::Malformed => "the request is not valid HTTP/1.1",
        Kind::BodyRefused => "the request is not served",
        Kind::ProxyHeader => "the PROXY header is not valid",
        Kind::TargetTooLong => "the request's URL is too long",
        Kind::HeadTooLarge => "the request's header fields are too large",
        Kind::HeadersTooMany => "the request has too many header fields",
        Kind::HeaderTimeout => "the request did not arrive completely in time",
        Kind::ExpectationFailed => "the request's expectation cannot be met",
        Kind::VersionUnsupported => "the request's version of HTTP is not spoken",
        Kind::NameInvalid => "the repository name is not valid",
        Kind::TagInvalid => "the tag is not valid",
        Kind::DigestInvalid => "the digest is not valid",
        Kind::Misdirected => "this connection is not for the host ",
        Kind::DomainUnknown => "this gateway serves no packages for the domain ",
        Kind::NameUnknown => "no such package here: ",
        Kind::CatalogUnsupported => "the catalog is not served here; ask for a package by its name",
        Kind::PathUnknown => {
            "there is nothing at this path; a registry's paths begin with /v2/ and name a \
             manifest, a blob, a tag list or referrers"
        }
        Kind::MethodUnsupported => {
            "only pulling is possible here (GET and HEAD); push to the registry behind"
        }
        Kind::RequestsTooMany => "too many requests from your network; wait a moment",
        Kind::ConnectionsTooMany => "too many connections at once; wait a moment",
        Kind::UpstreamUnreachable => return blame("cannot be reached", AGAIN),
        Kind::UpstreamTimeout => return blame("does not answer in time", AGAIN),
        Kind::UpstreamName => return blame("has a host name that cannot be resolved", AGAIN),
        Kind::TokenService => return blame("has a token service that gives no token", AGAIN),
        Kind::UpstreamMalformed => return blame("does not answer in valid HTTP/1.1", OPERATOR),
        Kind::UpstreamTooLarge => return blame("answers with more than is taken", OPERATOR),
        Kind::UpstreamBusy => return blame("is asked too often", AGAIN),
        Kind::UpstreamFailing => return blame("answers with an error of its own", AGAIN),
        Kind::UpstreamDigest => {
            return blame("answers with a manifest that is not what its digest says", OPERATOR);
        }
        Kind::UpstreamRedirects => {
            return blame("redirects to where this gateway does not follow", OPERATOR);
        }
        Kind::UpstreamForbidden => {
            let remedy = "this gateway's operator can allow it (upstream.allow_private, \
                          registries.token_hosts)";
            return blame("leads to where this gateway may not go", remedy);
        }
        Kind::UpstreamTls => {
            let remedy = "this gateway's operator can name the certificates to trust \
                          (registries.ca_file), or say that it speaks plain HTTP (plain_http)";
            return blame("has no TLS that is trusted", remedy);
        }
        Kind::UpstreamDenied => {
            let remedy = "it is private there or does not exist; check the name";
            return blame("does not let this gateway pull the package", remedy);
        }
        Kind::UpstreamUnauthorized => {
            return blame("refuses the login that it asked for", OPERATOR);
        }
        Kind::LoginRefused => {
            let remedy = "log in to this host with a user name and a password that are good there";
            return blame("does not let you pull this without a login that it takes", remedy);
        }
        Kind::LoopDetected => {
            let remedy = "this gateway's operator has to name the registry where it lives";
            return blame("leads back to this gateway", remedy);
        }
    };
    words.put(words_of_kind);
    if matches!(refusal.fault.kind, Kind::DomainUnknown | Kind::Misdirected) {
        match refusal.host {
            b"" => words.put("(none was sent)"),
            host => words.put_json(host),
        }
    }
    if refusal.fault.kind == Kind::DomainUnknown {
        words.put("; check the host name in front of the image name");
    }
    if let (Kind::NameUnknown, Some(name), Some(site)) =
        (refusal.fault.kind, refusal.name, refusal.site)
    {
        words.put_json(name.as_str());
        if site.list() {
            words.put("; served here: ");
            put_names(words, site);
        } else {
            words.put("; check the spelling, or ask its maintainer for the right name");
        }
    }
    if !refusal.fault.detail.is_empty() {
        words.put(": ");
        words.put_json(refusal.fault.detail);
    }
}

/// What a registry does wrong, and the remedy. The registry is named, unless by its address.
fn blame_registry(words: &mut Out<'_>, refusal: &Refusal<'_>, what: &str, remedy: &str) {
    match refusal.registry.filter(|registry| !is_address(split_port(registry).0)) {
        Some(registry) => words.put_json(registry),
        None => words.put("the registry behind"),
    }
    words.put(" ");
    words.put(what);
    if !refusal.fault.detail.is_empty() {
        words.put(" (");
        words.put_json(refusal.fault.detail);
        words.put(")");
    }
    words.put("; ");
    words.put(remedy);
}

/// As many names as fit a sentence.
fn put_names(words: &mut Out<'_>, site: Site<'_>) {
    for (index, name) in site.names().enumerate() {
        if index == NAMES_LISTED_MAX {
            words.put(" and more");
            return;
        }
        if index > 0 {
            words.put(", ");
        }
        words.put_json(name);
    }
}

/// The remedy where it may be over in a moment.
const AGAIN: &str = "try again in a moment";

/// The remedy where it lasts.
const OPERATOR: &str = "tell this gateway's operator if it lasts";

/// How many names a sentence lists: it is shown in a terminal.
const NAMES_LISTED_MAX: usize = 12;

/// What [`put_fields`] writes at most.
const FIELDS_BYTES_MAX: usize = 64 + 5 * 256 + 64 + 256;

/// What a sentence of ours needs at most: the longest fixed text, a host, and the listed names.
const WORDS_BYTES_MAX: usize = 4096 + 512;

/// For crawlers (RFC 9309).
const ROBOTS: &[u8] = b"User-agent: *\nDisallow: /\n";

const _: () = assert!(
    WORDS_BYTES_MAX
        >= 512
            + crate::pure::limits::HOST_BYTES_MAX
            + NAMES_LISTED_MAX * (crate::pure::limits::NAME_BYTES_MAX + 8)
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::fault::Fault;
    use crate::pure::http1::encode::Connection;

    /// The answer as text, `|` for its lines' ends.
    fn answer(action: &Action<'_>) -> String {
        let mut memory = [0; 4096];
        let mut out = Out::new(&mut memory, 0);
        let date = b"Mon, 23 Nov 2026 18:00:00 GMT";
        write(&mut out, &Manner { date, head_only: false, connection: Connection::Stays }, action);
        String::from_utf8_lossy(out.written(0)).replace("\r\n", "|")
    }

    #[test]
    fn a_registry_is_blamed_by_its_name_and_never_by_its_address() {
        let refused = |registry, kind, detail| {
            let refusal = Refusal { registry, ..Refusal::of(Fault::new(kind, detail)) };
            answer(&Action::Refuse(refusal)).split("\"message\":").nth(1).unwrap().to_owned()
        };
        assert_eq!(
            refused(Some("ghcr.io"), Kind::UpstreamTimeout, ""),
            "\"ghcr.io does not answer in time; try again in a moment\"}]}\n"
        );
        assert_eq!(
            refused(Some("a.b:5000"), Kind::UpstreamMalformed, "two \"lengths\""),
            "\"a.b:5000 does not answer in valid HTTP/1.1 (two \\\"lengths\\\"); tell this gateway's \
             operator if it lasts\"}]}\n"
        );
        for registry in [None, Some("10.0.0.7:5000"), Some("[fd00::1]"), Some("192.0.2.1")] {
            assert_eq!(
                refused(registry, Kind::UpstreamUnreachable, ""),
                "\"the registry behind cannot be reached; try again in a moment\"}]}\n"
            );
        }
    }

    #[test]
    fn a_challenge_is_relayed_as_it_is() {
        let challenge = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io""#;
        assert_eq!(
            answer(&Action::Say(Say::RegistryChallenge(challenge))),
            "HTTP/1.1 401 Unauthorized|Content-Type: application/json|Content-Length: 86|\
             Cache-Control: no-store|Docker-Distribution-Api-Version: registry/2.0|\
             X-Content-Type-Options: nosniff|Date: Mon, 23 Nov 2026 18:00:00 GMT|\
             WWW-Authenticate: Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\"||\
             {\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"ask for a token as the challenge \
             says\"}]}"
        );
    }
}
