//! When a server wants to be asked again (RFC 9110, 10.2.3).

use jiff::fmt::rfc2822::DateTimeParser;

use super::response::field;

/// After how many seconds the answer with this `head` says to come again; 0 where it does not say. A
/// date counts from the answer's own `Date`, so that it does not matter whose clock is wrong; without
/// one, from `now_s`, in seconds since 1970.
pub fn retry_after_s(head: &[u8], now_s: u64) -> u64 {
    let said = field(head, "Retry-After").unwrap_or_default();
    let seconds = std::str::from_utf8(said).ok().and_then(|seconds| seconds.parse().ok());
    seconds
        .or_else(|| {
            let now_s = date_s(field(head, "Date").unwrap_or_default()).unwrap_or(now_s);
            Some(date_s(said)?.saturating_sub(now_s))
        })
        .unwrap_or(0)
}

/// An IMF-fixdate (RFC 9110, 5.6.7), in seconds since 1970. The two old forms nobody writes any more.
fn date_s(value: &[u8]) -> Option<u64> {
    let date = PARSER.parse_timestamp(value).ok()?;
    u64::try_from(date.as_second()).ok()
}

const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_dates_and_what_is_neither() {
        for (fields, expected) in [
            ("Retry-After: 30", 30),
            ("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", 0),
            ("Retry-After: Fri, 27 Nov 2026 08:00:30 GMT", 30),
            (
                "Retry-After: Fri, 27 Nov 2026 08:00:30 GMT\r\nDate: Fri, 27 Nov 2026 07:00:00 GMT",
                3630,
            ),
            ("Date: Fri, 27 Nov 2026 07:00:00 GMT", 0),
            ("Retry-After: -1", 0),
            ("Retry-After: 1.5", 0),
            ("Retry-After: tomorrow", 0),
            ("Retry-After: Thu, 01 Jan 1960 00:00:00 GMT", 0),
            ("X: y", 0),
        ] {
            let head = format!("HTTP/1.1 429 No\r\n{fields}\r\n\r\n");
            // Fri, 27 Nov 2026 08:00:00 GMT
            assert_eq!(retry_after_s(head.as_bytes(), 1_795_766_400), expected, "{fields}");
        }
    }
}
