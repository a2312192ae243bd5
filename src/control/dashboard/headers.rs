//! What every answer says to browsers, and which requests of theirs are not even looked at.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::trouble::Trouble;

/// Refuses what another site has a browser send, and adds [`SAID`] to the answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mut response = match changes && is_from_elsewhere(request.headers()) {
        true => Trouble::from_elsewhere().into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in SAID {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser says that a page of another site sends this. Programs say nothing of the kind.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.as_bytes();
        let of = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|it| it == host);
        !of(b"http://") && !of(b"https://")
    })
}

/// Whether a browser says that a page of this site sends this. One that says nothing may be sent by any.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    let is_said = site.is_some_and(|site| site == "same-origin") || headers.contains_key(ORIGIN);
    is_said && !is_from_elsewhere(headers)
}

/// Everything comes from here and nothing is written into pages; nobody frames them; addresses of pages
/// are told to nobody; what is shown to one person is kept by nobody.
const SAID: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With `no-referrer` browsers would hide the origin of our own forms.
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_site_sends_is_told_apart() {
        // Whether it is said to be another's, and to be ours.
        for (fields, expected) in [
            (&[][..], (false, false)),
            (&[("origin", "http://a.b:1")][..], (false, true)),
            (&[("origin", "https://a.b:1")], (false, true)),
            (&[("origin", "https://a.b")], (true, false)),
            (&[("origin", "https://evil.example")], (true, false)),
            (&[("origin", "null")], (true, false)),
            (&[("sec-fetch-site", "same-origin")], (false, true)),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], (true, false)),
            (&[("sec-fetch-site", "none")], (false, false)),
            (&[("sec-fetch-site", "same-site")], (true, false)),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://a.b:1")], (true, false)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("a.b:1"));
            for (name, value) in fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let said = (is_from_elsewhere(&headers), is_from_here(&headers));
            assert_eq!(said, expected, "{fields:?}");
        }
    }
}
