//! What stands in a URL's query (RFC 3986, 3.4), as forms write it. To read it allocates nothing: a value
//! is decoded into room that the caller has.

use std::fmt::Write as _;

/// The values of a query by this name, as they were sent.
pub fn values<'q>(query: &'q [u8], name: &'q str) -> impl Iterator<Item = &'q [u8]> {
    query.split(|byte| *byte == b'&').filter_map(move |pair| {
        pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
    })
}

/// A value without its encoding; `+` is a space. `None` for what is encoded wrongly, or longer than
/// `room`.
pub fn decoded<'b>(value: &[u8], room: &'b mut [u8]) -> Option<&'b [u8]> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (mut rest, mut used) = (value, 0);
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                (u8::try_from(digit(high)? * 16 + digit(low)?).ok()?, behind)
            }
            (b'%', _) => return None,
            (b'+', behind) => (b' ', behind),
            (byte, behind) => (byte, behind),
        };
        *room.get_mut(used)? = byte;
        (rest, used) = (behind, used + 1);
    }
    room.get(..used)
}

/// Appends a value with its encoding, which any reader takes back.
pub fn put_encoded(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        for (query, expected) in [
            ("ns=docker.io", "docker.io"),
            ("a=b&ns=r.example.net%3A5000&ns=x", "r.example.net:5000 x"),
            ("ns=a+b%2fc", "a b/c"),
            ("ns=", ""),
            ("nss=a&ns&xns=b", "-"),
            ("ns=%&ns=%4&ns=%zz&ns=123456789012345678901234567890123", "! ! ! !"),
        ] {
            let told: Vec<String> = values(query.as_bytes(), "ns")
                .map(|value| {
                    let mut room = [0; 32];
                    let text = decoded(value, &mut room).map(String::from_utf8_lossy);
                    text.map_or_else(|| "!".to_owned(), |text| text.into_owned())
                })
                .collect();
            let told = if told.is_empty() { "-".to_owned() } else { told.join(" ") };
            assert_eq!(told, expected, "{query}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut text = String::new();
        put_encoded(&mut text, "/a b?c=d&é~");
        assert_eq!(text, "%2Fa%20b%3Fc%3Dd%26%C3%A9~");
        let decoded = decoded(text.as_bytes(), &mut [0; 32]).map(<[u8]>::to_vec);
        assert_eq!(decoded.as_deref(), Some("/a b?c=d&é~".as_bytes()));
    }
}
