//! A manifest as a file: what it says, sealed for the key that it is kept under.
//!
//! A file opens only by the key that it was written by. Its names and its seal are made with a secret,
//! so that who sees them learns neither what they are of nor, by trying, an account's password.

use ring::hmac::{self, Context, HMAC_SHA256};

use super::{Body, Held, Key, Scope};
use crate::pure::limits::{MANIFEST_BYTES_MAX, UPSTREAM_HEAD_BYTES_MAX};
use crate::pure::oci::sha256::sha256_of;
use crate::pure::pull::kin;

/// What files are named and sealed with.
pub struct Seals(hmac::Key);

/// Where a file is: files of one scope lie together, so that they can go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The folder's name, as bytes.
    pub folder: [u8; PLACE_BYTES],
    /// The file's.
    pub file: [u8; PLACE_BYTES],
}

/// A manifest from a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The answer.
    pub held: Held,
    /// When it was asked for, in seconds since 1970.
    pub since_s: u64,
}

impl Record {
    /// How old it may be at `now_s`, in seconds: parts of a second are not known, and clocks that read
    /// them differ by one. `None` where it was asked for later than that: the clock was put back, and
    /// nobody knows.
    pub fn age_s(&self, now_s: u64) -> Option<u64> {
        (now_s + 1).checked_sub(self.since_s)
    }
}

impl Seals {
    /// Those that `secret` makes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// Where the file of `key` is.
    pub fn place(&self, key: &Key) -> Place {
        let file = first(&self.sign(b"file", &[key.text.as_bytes()]));
        Place { folder: self.folder(key.scope), file }
    }

    /// Where the files of `scope` are.
    pub fn folder(&self, scope: Scope) -> [u8; PLACE_BYTES] {
        first(&self.sign(b"folder", &[&scope.0]))
    }

    /// The file of `key`, which says `held`, asked for at `since_s`.
    pub fn write(&self, key: &Key, held: &Held, since_s: u64) -> Vec<u8> {
        let body: &[u8] = held.body.as_ref().map_or(&[], |body| body);
        let texts = [&held.fields, held.digest.as_bytes(), body];
        let mut file = Vec::with_capacity(HEAD_BYTES + SEAL_BYTES + held.bytes());
        file.extend(MAGIC);
        file.extend(since_s.to_be_bytes());
        file.push(u8::from(held.body.is_some()));
        for text in texts {
            // All of them are bounded far below four gigabytes.
            file.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        texts.iter().for_each(|text| file.extend(*text));
        let seal = self.sign(b"record", &[key.text.as_bytes(), b"\n", &file]);
        file.extend(seal.as_ref());
        file
    }

    /// What `file` says of `key`; `None` where it is not whole, not of that key, or not what its own
    /// digest says.
    pub fn read(&self, key: &Key, file: &[u8]) -> Option<Record> {
        let (said, seal) = file.split_at_checked(file.len().checked_sub(SEAL_BYTES)?)?;
        let mut signed = Vec::with_capacity(key.text.len() + said.len() + 16);
        for part in [&b"record"[..], b"\n", key.text.as_bytes(), b"\n", said] {
            signed.extend(part);
        }
        hmac::verify(&self.0, &signed, seal).ok()?;
        let mut rest = said.strip_prefix(MAGIC)?;
        let since_s = u64::from_be_bytes(*take(&mut rest)?);
        let [has_body] = *take(&mut rest)?;
        let mut lengths = [0; 3];
        for length in &mut lengths {
            *length = usize::try_from(u32::from_be_bytes(*take(&mut rest)?)).ok()?;
        }
        let mut text = |length| {
            let (text, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(text)
        };
        let (fields, digest, body) = (text(lengths[0])?, text(lengths[1])?, text(lengths[2])?);
        let digest = std::str::from_utf8(digest).ok()?;
        let body = (has_body == 1).then(|| Body::new(body.into()));
        if body.as_ref().is_some_and(|body| sha256_of(body) != digest) {
            return None;
        }
        let kin = body.as_ref().map(|body| kin::read(body));
        let kin = kin.as_ref().map_or(&[][..], |kin| kin.bytes()).into();
        let held = Held { status: 200, fields: fields.into(), digest: digest.into(), body, kin };
        Some(Record { held, since_s })
    }

    fn sign(&self, what: &[u8], parts: &[&[u8]]) -> hmac::Tag {
        let mut context = Context::with_key(&self.0);
        context.update(what);
        context.update(b"\n");
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    }
}

fn first(tag: &hmac::Tag) -> [u8; PLACE_BYTES] {
    tag.as_ref().first_chunk().copied().unwrap_or_default()
}

fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

/// How long folders' and files' names are, in bytes.
pub const PLACE_BYTES: usize = 16;
/// The longest file.
pub const RECORD_BYTES_MAX: usize = MANIFEST_BYTES_MAX + 2 * UPSTREAM_HEAD_BYTES_MAX;

/// How files begin. What is written otherwise one day begins otherwise, and is no record to this.
const MAGIC: &[u8] = b"pullgate manifest 1\n";
const SEAL_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + 8 + 1 + 3 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key { text: text.into(), names_content: true, scope: Scope([1; 8]) }
    }

    fn held(body: Option<&[u8]>) -> Held {
        let digest = sha256_of(body.unwrap_or(b"{}"));
        let body = body.map(|body| Body::new(body.into()));
        let bytes = body.as_ref().map(|body| kin::read(body));
        let kin = bytes.as_ref().map_or(&[][..], |kin| kin.bytes());
        Held::new(200, b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\n\r\n", &digest, body, kin)
    }

    #[test]
    fn what_is_written_is_read_by_its_key_and_secret_alone() {
        let seals = Seals::new(&[7; 32]);
        let index = br#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        for held in [held(None), held(Some(b"")), held(Some(index))] {
            let file = seals.write(&key("one"), &held, 1_800_000_000);
            let read = seals.read(&key("one"), &file);
            assert_eq!(read, Some(Record { held, since_s: 1_800_000_000 }));
            assert_eq!(seals.read(&key("other"), &file), None);
            assert_eq!(Seals::new(&[8; 32]).read(&key("one"), &file), None);
        }
    }

    #[test]
    fn a_file_of_which_a_bit_is_another_or_the_end_is_missing_is_none() {
        let seals = Seals::new(&[7; 32]);
        let file = seals.write(&key("one"), &held(Some(b"{}")), 5);
        for length in 0..file.len() {
            assert_eq!(seals.read(&key("one"), &file[..length]), None, "{length}");
        }
        for bit in 0..8 * file.len() {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seals.read(&key("one"), &other), None, "{bit}");
        }
    }

    #[test]
    fn what_was_asked_for_later_than_now_is_of_no_age() {
        let record = Record { held: held(None), since_s: 1_000 };
        let ages = [1_500, 1_000, 999, 998, 0].map(|now_s| record.age_s(now_s));
        assert_eq!(ages, [Some(501), Some(1), Some(0), None, None]);
    }

    #[test]
    fn what_was_sealed_with_another_digest_than_its_own_is_none() {
        let seals = Seals::new(&[7; 32]);
        let wrong = Held { digest: sha256_of(b"other").into(), ..held(Some(b"{}")) };
        assert_eq!(seals.read(&key("one"), &seals.write(&key("one"), &wrong, 5)), None);
    }

    #[test]
    fn names_tell_files_apart_and_say_nothing() {
        let seals = Seals::new(&[7; 32]);
        let (one, other) = (seals.place(&key("one")), seals.place(&key("other")));
        assert_eq!(one.folder, other.folder);
        assert_ne!(one.file, other.file);
        assert_eq!(one.folder, seals.folder(Scope([1; 8])));
        assert_ne!(one.folder, seals.folder(Scope([2; 8])));
        assert_ne!(one, Seals::new(&[8; 32]).place(&key("one")));
    }
}
