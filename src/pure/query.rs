//! What stands in a URL's query (RFC 3986, 3.4), as forms write it. Nothing is allocated: a value is
//! decoded into room that the caller has.

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
}
