//! What a registry says of how often it may still be asked.

use super::response::field;

/// `RateLimit-Remaining: 76;w=21600`, and the same of the limit (draft-ietf-httpapi-ratelimit-headers,
/// as Docker Hub writes it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many requests count in one window, where that is said.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: u64,
}

/// What the head of an answer says; `None` where it says nothing that can be read.
pub fn quota(head: &[u8]) -> Option<Quota> {
    let number = |name| {
        let value = std::str::from_utf8(field(head, name)?).ok()?;
        value.split([';', ',']).next()?.trim().parse().ok()
    };
    Some(Quota { limit: number("RateLimit-Limit"), remaining: number("RateLimit-Remaining")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_hub_writes_it() {
        for (fields, expected) in [
            (
                "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: 76;w=21600",
                Some((Some(100), 76)),
            ),
            ("RateLimit-Remaining: 0", Some((None, 0))),
            ("RateLimit-Limit: x\r\nRateLimit-Remaining: 5, 6;w=1", Some((None, 5))),
            ("RateLimit-Limit: 100", None),
            ("RateLimit-Remaining: -1", None),
            ("X: y", None),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
            let said = quota(head.as_bytes()).map(|quota| (quota.limit, quota.remaining));
            assert_eq!(said, expected, "{fields}");
        }
    }
}
