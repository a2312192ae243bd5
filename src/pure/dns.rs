//! Questions to name servers and their answers, in bytes (RFC 1035, 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Texts (RFC 1035, 3.3.14).
    Txt,
}

/// What a name server says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The names that it is another name of, one leading to the next.
    pub aliases: Vec<String>,
    /// Where the last of them is.
    pub addresses: Vec<IpAddr>,
    /// The texts that are there; of one that is no UTF-8 nothing.
    pub texts: Vec<String>,
}

/// The question about `name`, known by `id`; `None` for what is no host name.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + name.len() + 6);
    bytes.extend(id.to_be_bytes());
    // One question, and whoever is asked shall ask others.
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.number().to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    Some(bytes)
}

/// What `answer` says to the question `id`: nothing where there is no such name. `None` where it is
/// an answer to something else, or none, or cut short.
pub fn answer(id: u16, answer: &[u8]) -> Option<Result<Said, Refused>> {
    let [flags_high, flags_low] = *answer.get(2..4)?.first_chunk()?;
    let is_ours = answer.get(..2)? == id.to_be_bytes() && flags_high & 0x80 != 0;
    let is_cut = flags_high & 0x02 != 0;
    if !is_ours || is_cut {
        return None;
    }
    match flags_low & 0x0f {
        0 => {}
        NO_SUCH_NAME => return Some(Ok(Said::default())),
        code => return Some(Err(Refused(code))),
    }
    let mut reader = Reader { all: answer, at: 4 };
    let (questions, answers) = (reader.number()?, reader.number()?);
    reader.at = HEAD_BYTES;
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut said = Said::default();
    for _ in 0..answers {
        reader.name()?;
        let (kind, class) = (reader.number()?, reader.number()?);
        reader.skip(4)?;
        let length = usize::from(reader.number()?);
        let data = answer.get(reader.at..reader.at + length)?;
        match (class, kind) {
            (INTERNET, CNAME) => said.aliases.push(Reader { ..reader }.name()?),
            (INTERNET, A) => {
                said.addresses.push(Ipv4Addr::from(*data.first_chunk::<4>()?).into());
            }
            (INTERNET, AAAA) => {
                said.addresses.push(Ipv6Addr::from(*data.first_chunk::<16>()?).into());
            }
            (INTERNET, TXT) => said.texts.extend(text(data)?),
            _ => {}
        }
        reader.skip(length)?;
    }
    Some(Ok(said))
}

/// The one text that strings of at most 255 bytes make together; the outer `None` where they do not fit.
fn text(mut strings: &[u8]) -> Option<Option<String>> {
    let mut text = Vec::new();
    while let Some((length, rest)) = strings.split_first() {
        let (string, behind) = rest.split_at_checked(usize::from(*length))?;
        text.extend_from_slice(string);
        strings = behind;
    }
    Some(String::from_utf8(text).ok())
}

/// The name server does not answer this (RFC 1035, 4.1.1: its code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u8);

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => A,
            Self::Aaaa => AAAA,
            Self::Txt => TXT,
        }
    }
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u16> {
        let bytes = self.all.get(self.at..)?.first_chunk()?;
        self.at += 2;
        Some(u16::from_be_bytes(*bytes))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at += bytes;
        (self.at <= self.all.len()).then_some(())
    }

    /// A name, whose end may stand somewhere before (RFC 1035, 4.1.4).
    fn name(&mut self) -> Option<String> {
        let (mut name, mut at, mut has_jumped) = (String::new(), self.at, false);
        // Each step reads one label or goes back to an earlier place.
        for _ in 0..STEPS_MAX {
            let length = usize::from(*self.all.get(at)?);
            match length {
                0 => {
                    if !has_jumped {
                        self.at = at + 1;
                    }
                    return Some(name);
                }
                1..=63 => {
                    let label = std::str::from_utf8(self.all.get(at + 1..at + 1 + length)?).ok()?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&label.to_ascii_lowercase());
                    at += 1 + length;
                }
                _ if length & 0xc0 == 0xc0 => {
                    let low = usize::from(*self.all.get(at + 1)?);
                    if !has_jumped {
                        self.at = at + 2;
                    }
                    (at, has_jumped) = ((length & 0x3f) << 8 | low, true);
                }
                _ => return None,
            }
        }
        None
    }
}

const HEAD_BYTES: usize = 12;
const INTERNET: u16 = 1;
const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const NO_SUCH_NAME: u8 = 3;
/// A name has at most 127 labels; there may be a few places where it goes on.
const STEPS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `id` that repeats the question and has these records: name, kind, data.
    fn answered(id: u16, name: &str, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut bytes = question(id, name, Kind::A).unwrap();
        bytes[2] |= 0x80;
        bytes[7] = u8::try_from(records.len()).unwrap();
        for (name, kind, data) in records {
            bytes.extend(*name);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 60]);
            bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn a_question_is_as_the_specification_writes_it() {
        let bytes = question(7, "a.bc", Kind::Aaaa).unwrap();
        assert_eq!(
            bytes,
            b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01"
        );
        let long = "x".repeat(64);
        for name in ["", "a..b", "a.", &long] {
            assert_eq!(question(7, name, Kind::A), None, "{name}");
        }
    }

    #[test]
    fn an_alias_is_followed_through_names_that_stand_before() {
        let (to, here) = (&b"\x02gw\xc0\x0e"[..], &b"\xc0\x0c"[..]);
        let bytes = answered(9, "r.acme.com", &[(here, CNAME, to), (to, A, &[192, 0, 2, 1])]);
        let said = answer(9, &bytes).unwrap().unwrap();
        assert_eq!(said.aliases, ["gw.acme.com"]);
        assert_eq!(said.addresses, [IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(answer(8, &bytes), None, "to another question");
        for end in 0..bytes.len() {
            assert_eq!(answer(9, &bytes[..end]), None, "cut at {end}");
        }
        let mut none = answered(9, "r.acme.com", &[]);
        none[3] = NO_SUCH_NAME;
        assert_eq!(answer(9, &none), Some(Ok(Said::default())));
        none[3] = 5;
        assert_eq!(answer(9, &none), Some(Err(Refused(5))));
    }

    #[test]
    fn the_strings_of_a_text_are_one() {
        let here = &b"\xc0\x0c"[..];
        let records =
            [(here, TXT, &b"\x02ab\x00\x01c"[..]), (here, TXT, b"\x01\xff"), (here, TXT, b"")];
        let said = answer(9, &answered(9, "a.b", &records)).unwrap().unwrap();
        assert_eq!(said.texts, ["abc", ""]);
        let short = answered(9, "a.b", &[(here, TXT, b"\x03ab")]);
        assert_eq!(answer(9, &short), None);
    }

    #[test]
    fn a_name_that_leads_back_to_itself_ends() {
        let bytes = answered(9, "a.b", &[(b"\xc0\x15", A, &[1, 2, 3, 4])]);
        assert_eq!(answer(9, &bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            let _ = answer(id, &bytes);
        }
    }
}
