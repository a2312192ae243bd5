//! What can be wrong with a request, and the one table that says what follows: status, OCI error
//! code, metric label, and whether the connection can go on.

/// Something that is wrong with a request. The words that a client sees are composed in
/// `pure::answer`, from the fault and what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of wrong.
    pub kind: Kind,
    /// What exactly, in words that continue a sentence ("two Host fields"); may be empty.
    pub detail: &'static str,
}

impl Fault {
    /// A fault of `kind` with `detail`.
    pub const fn new(kind: Kind, detail: &'static str) -> Self {
        Self { kind, detail }
    }
}

/// Kinds of fault. Each has one row in [`Kind::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not HTTP, or HTTP that can be read in two ways (RFC 9112).
    Malformed,
    /// A GET or HEAD that announces a body.
    BodyRefused,
    /// The PROXY header of a trusted peer does not parse.
    ProxyHeader,
    /// The request line does not fit the head's bound.
    TargetTooLong,
    /// The head does not fit its bound.
    HeadTooLarge,
    /// More header fields than allowed.
    HeadersTooMany,
    /// The head did not arrive in time.
    HeaderTimeout,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionUnsupported,
    /// A name outside the grammar.
    NameInvalid,
    /// A tag outside the grammar.
    TagInvalid,
    /// A digest outside the grammar.
    DigestInvalid,
    /// A host that the connection's certificate is not for.
    Misdirected,
    /// A host that no rule names.
    DomainUnknown,
    /// A name that no rule of its domain matches.
    NameUnknown,
    /// The catalog, which the gateway does not serve.
    CatalogUnsupported,
    /// A path that is none of the distribution spec's.
    PathUnknown,
    /// A method other than GET and HEAD.
    MethodUnsupported,
    /// This client asks too often.
    RequestsTooMany,
    /// This client, or all together, hold too many connections.
    ConnectionsTooMany,
    /// A registry does not take connections, or drops them.
    UpstreamUnreachable,
    /// A registry does not answer in time.
    UpstreamTimeout,
    /// A registry's answer is not HTTP, or HTTP that can be read in two ways.
    UpstreamMalformed,
    /// A registry's answer does not fit its bound.
    UpstreamTooLarge,
    /// A registry says that it is asked too often.
    UpstreamBusy,
    /// A registry answers with an error of its own (5xx).
    UpstreamFailing,
    /// A manifest is not what its digest says.
    UpstreamDigest,
    /// A registry's redirect that nobody follows.
    UpstreamRedirects,
    /// A registry names an address or a realm that may not be asked.
    UpstreamForbidden,
    /// A registry's certificate is not trusted, or it does not speak TLS.
    UpstreamTls,
    /// A registry's host name is not known.
    UpstreamName,
    /// A registry does not let the gateway pull this package.
    UpstreamDenied,
    /// A registry refuses the login that it asked for.
    UpstreamUnauthorized,
    /// A registry's token service gives no token.
    TokenService,
    /// A registry does not take the client's login, or wants one.
    LoginRefused,
    /// The request has come by this gateway before.
    LoopDetected,
}

/// What follows from a kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Status code and reason phrase.
    pub status: &'static str,
    /// OCI error code (distribution spec, "Error Codes"; the codes beside it are its
    /// predecessor's and clients').
    pub code: &'static str,
    /// The value of the metric's `kind` label.
    pub label: &'static str,
    /// Whether the bytes behind the request can still be trusted.
    pub closes: bool,
}

impl Row {
    /// The status code as a number.
    pub fn status_code(&self) -> u16 {
        self.status.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(500)
    }
}

impl Kind {
    /// Every kind, in the table's order.
    pub const ALL: [Self; 36] = [
        Self::Malformed,
        Self::BodyRefused,
        Self::ProxyHeader,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::HeadersTooMany,
        Self::HeaderTimeout,
        Self::ExpectationFailed,
        Self::VersionUnsupported,
        Self::NameInvalid,
        Self::TagInvalid,
        Self::DigestInvalid,
        Self::Misdirected,
        Self::DomainUnknown,
        Self::NameUnknown,
        Self::CatalogUnsupported,
        Self::PathUnknown,
        Self::MethodUnsupported,
        Self::RequestsTooMany,
        Self::ConnectionsTooMany,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::UpstreamMalformed,
        Self::UpstreamTooLarge,
        Self::UpstreamBusy,
        Self::UpstreamFailing,
        Self::UpstreamDigest,
        Self::UpstreamRedirects,
        Self::UpstreamForbidden,
        Self::UpstreamTls,
        Self::UpstreamName,
        Self::UpstreamDenied,
        Self::UpstreamUnauthorized,
        Self::TokenService,
        Self::LoginRefused,
        Self::LoopDetected,
    ];

    /// What follows from this kind.
    pub const fn row(self) -> Row {
        const fn row(
            status: &'static str,
            code: &'static str,
            label: &'static str,
            closes: bool,
        ) -> Row {
            Row { status, code, label, closes }
        }
        match self {
            Self::Malformed => row("400 Bad Request", "UNSUPPORTED", "malformed", true),
            Self::BodyRefused => row("400 Bad Request", "UNSUPPORTED", "body", true),
            Self::ProxyHeader => row("400 Bad Request", "UNSUPPORTED", "proxy_header", true),
            Self::TargetTooLong => row("414 URI Too Long", "UNSUPPORTED", "target_too_long", true),
            Self::HeadTooLarge => {
                row("431 Request Header Fields Too Large", "UNSUPPORTED", "head_too_large", true)
            }
            Self::HeadersTooMany => {
                row("431 Request Header Fields Too Large", "UNSUPPORTED", "headers_too_many", true)
            }
            Self::HeaderTimeout => {
                row("408 Request Timeout", "UNSUPPORTED", "header_timeout", true)
            }
            Self::ExpectationFailed => {
                row("417 Expectation Failed", "UNSUPPORTED", "expectation", true)
            }
            Self::VersionUnsupported => {
                row("505 HTTP Version Not Supported", "UNSUPPORTED", "version", true)
            }
            Self::NameInvalid => row("400 Bad Request", "NAME_INVALID", "name_invalid", false),
            Self::TagInvalid => row("400 Bad Request", "TAG_INVALID", "tag_invalid", false),
            Self::DigestInvalid => {
                row("400 Bad Request", "DIGEST_INVALID", "digest_invalid", false)
            }
            Self::Misdirected => {
                row("421 Misdirected Request", "UNSUPPORTED", "misdirected", false)
            }
            Self::DomainUnknown => row("404 Not Found", "NAME_UNKNOWN", "domain_unknown", false),
            Self::NameUnknown => row("404 Not Found", "NAME_UNKNOWN", "name_unknown", false),
            Self::CatalogUnsupported => row("404 Not Found", "UNSUPPORTED", "catalog", false),
            Self::PathUnknown => row("404 Not Found", "UNSUPPORTED", "path_unknown", false),
            // A body may follow that nobody will read.
            Self::MethodUnsupported => row("405 Method Not Allowed", "UNSUPPORTED", "method", true),
            Self::RequestsTooMany => {
                row("429 Too Many Requests", "TOOMANYREQUESTS", "requests_too_many", false)
            }
            Self::ConnectionsTooMany => {
                row("503 Service Unavailable", "UNAVAILABLE", "connections_too_many", true)
            }
            Self::UpstreamUnreachable => {
                row("502 Bad Gateway", "UNAVAILABLE", "upstream_unreachable", false)
            }
            Self::UpstreamTimeout => {
                row("504 Gateway Timeout", "UNAVAILABLE", "upstream_timeout", false)
            }
            Self::UpstreamMalformed => {
                row("502 Bad Gateway", "UNAVAILABLE", "upstream_malformed", false)
            }
            Self::UpstreamTooLarge => {
                row("502 Bad Gateway", "UNAVAILABLE", "upstream_too_large", false)
            }
            Self::UpstreamBusy => {
                row("429 Too Many Requests", "TOOMANYREQUESTS", "upstream_busy", false)
            }
            Self::UpstreamFailing => {
                row("503 Service Unavailable", "UNAVAILABLE", "upstream_failing", false)
            }
            Self::UpstreamDigest => row("502 Bad Gateway", "UNKNOWN", "upstream_digest", false),
            Self::UpstreamRedirects => {
                row("502 Bad Gateway", "UNAVAILABLE", "upstream_redirects", false)
            }
            Self::UpstreamForbidden => {
                row("502 Bad Gateway", "UNAVAILABLE", "upstream_forbidden", false)
            }
            Self::UpstreamTls => row("502 Bad Gateway", "UNAVAILABLE", "upstream_tls", false),
            Self::UpstreamName => row("502 Bad Gateway", "UNAVAILABLE", "upstream_name", false),
            Self::UpstreamDenied => row("403 Forbidden", "DENIED", "upstream_denied", false),
            Self::UpstreamUnauthorized => {
                row("401 Unauthorized", "UNAUTHORIZED", "upstream_unauthorized", false)
            }
            Self::TokenService => row("502 Bad Gateway", "UNAVAILABLE", "token_service", false),
            Self::LoginRefused => row("401 Unauthorized", "UNAUTHORIZED", "login_refused", false),
            Self::LoopDetected => row("508 Loop Detected", "UNAVAILABLE", "loop", false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_place_and_has_its_own_label() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
            let twins = Kind::ALL.iter().filter(|other| other.row().label == kind.row().label);
            assert_eq!(twins.count(), 1, "{kind:?}");
            assert!(kind.row().status.starts_with(&kind.row().status_code().to_string()));
        }
    }
}
