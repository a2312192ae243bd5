//! Where things are.

use crate::pure::query::put_encoded;

/// The address of something of a package: `/packages/<domain>/<name>`.
pub(super) fn address(below: &str, package: &str) -> String {
    let mut address = format!("/{below}");
    for part in package.split('/') {
        address.push('/');
        put_encoded(&mut address, part);
    }
    address
}

/// Where somebody may be led after signing in: to a page of ours, whatever the link says.
pub(super) fn local(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_ours { next } else { "/" }
}

/// Where somebody makes the first package of an organisation, which leads on to its first pull.
pub(super) fn guided(organisation: &str) -> String {
    let mut to = "/packages/new?guide=yes&organisation=".to_owned();
    put_encoded(&mut to, organisation);
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for (next, expected) in [
            ("/", "/"),
            (
                "/packages/a.b/acme/rocket?from=2026-01-01",
                "/packages/a.b/acme/rocket?from=2026-01-01",
            ),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("evil", "/"),
            ("/\r\nSet-Cookie: a=b", "/"),
            ("/\t/evil.example", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local(next), expected, "{next}");
        }
    }
}
