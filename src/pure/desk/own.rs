//! Tokens of the gateway's own: signed ones for what anybody may pull, and for registries that want a
//! password with each request one with the login sealed into it, which opens for that registry alone.
//!
//! Randomness, time and keys are arguments. A token says when it ends; nothing is kept of it here.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};

use crate::pure::limits::HOST_BYTES_MAX;

/// What tokens are signed and sealed with, and what they were until lately.
pub struct OwnKeys {
    present: Derived,
    before: Option<Derived>,
}

/// What a token of ours says.
#[derive(Clone, PartialEq, Eq)]
pub enum Own {
    /// Its bearer may pull what anybody may.
    Anybody,
    /// Its bearer has this login at one registry. It has no debug form: it is a secret.
    Login {
        /// The registry's base, as `https://ghcr.io/v2/`.
        base: String,
        /// What `Authorization` says there.
        login: Vec<u8>,
    },
}

/// A secret that keys are made of.
pub type Secret = [u8; 32];

/// A token for anybody.
pub type Signed = [u8; SIGNED_BYTES];

impl OwnKeys {
    /// What is made from `present` on is made with it; what was made with `before` is still known.
    pub fn new(present: &Secret, before: Option<&Secret>) -> Self {
        Self { present: Derived::new(present), before: before.map(Derived::new) }
    }

    /// A token for anybody, good at `domain` until `until_s`, in seconds since 1970. Allocates
    /// nothing.
    pub fn sign(&self, domain: &str, until_s: u64) -> Signed {
        let tag = hmac::sign(&self.present.signing, &bound(domain, until_s));
        let mut token = [0; SIGNED_BYTES];
        let (scheme, rest) = token.split_at_mut(SIGNED.len());
        let (until, signature) = rest.split_at_mut(2 * size_of::<u64>());
        scheme.copy_from_slice(SIGNED);
        put_hex(&until_s.to_be_bytes(), until);
        put_hex(tag.as_ref(), signature);
        token
    }

    /// A token that opens to `login` for the registry at `base`, good at `domain` until `until_s`.
    /// `nonce` is random: no two are ever the same under one key.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        domain: &str,
        until_s: u64,
        base: &str,
        login: &[u8],
    ) -> String {
        let length = u16::try_from(base.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut sealed = [&length, base.as_bytes(), login].concat();
        let aad = Aad::from(bound(domain, until_s));
        let unique = Nonce::assume_unique_for_key(nonce);
        // It fails for texts of gigabytes only.
        if self.present.sealing.seal_in_place_append_tag(unique, aad, &mut sealed).is_err() {
            sealed.clear();
        }
        let all = [&until_s.to_be_bytes()[..], &nonce, &sealed].concat();
        let mut hex = vec![0; 2 * all.len()];
        put_hex(&all, &mut hex);
        [SEALED, &hex].concat().into_iter().map(char::from).collect()
    }

    /// A TLS session's state as its client keeps it for us (RFC 8446, 4.6.1; RFC 5077). `nonce` as in
    /// [`OwnKeys::seal`]. `None` for texts of gigabytes.
    pub fn seal_session(&self, nonce: [u8; NONCE_LEN], state: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = state.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let present = &self.present.resuming;
        present.seal_in_place_append_tag(unique, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// The state that was sealed; `None` for what is not ours, or is too old.
    pub fn open_session(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        [Some(&self.present), self.before.as_ref()].into_iter().flatten().find_map(|pair| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let mut sealed = sealed.to_vec();
            let opened = pair.resuming.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
            Some(opened.to_vec())
        })
    }

    /// What `token` says at `domain` now; `None` for one that is not ours, or has ended.
    pub fn read(&self, token: &[u8], domain: &str, now_s: u64) -> Option<Own> {
        let pairs = || [Some(&self.present), self.before.as_ref()].into_iter().flatten();
        if let Some(hex) = token.strip_prefix(SIGNED) {
            let mut bytes = [0; SIGNED_BYTES / 2];
            let (until, tag) = split_until(from_hex(hex, &mut bytes)?)?;
            lasts(until, now_s)?;
            let said = bound(domain, until);
            let is_ours = |pair: &Derived| hmac::verify(&pair.signing, &said, tag).is_ok();
            return pairs().any(is_ours).then_some(Own::Anybody);
        }
        let hex = token.strip_prefix(SEALED)?;
        let mut bytes = vec![0; hex.len() / 2];
        let (until, rest) = split_until(from_hex(hex, &mut bytes)?)?;
        lasts(until, now_s)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let opened = pairs().find_map(|pair| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let mut sealed = sealed.to_vec();
            let aad = Aad::from(bound(domain, until));
            pair.sealing.open_in_place(nonce, aad, &mut sealed).ok().map(|opened| opened.to_vec())
        })?;
        let (length, rest) = opened.split_first_chunk()?;
        let (base, login) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let base = std::str::from_utf8(base).ok()?.to_owned();
        Some(Own::Login { base, login: login.to_vec() })
    }
}

/// Whether a token is one of ours, good or not.
pub fn is_own(token: &[u8]) -> bool {
    token.starts_with(SIGNED) || token.starts_with(SEALED)
}

/// Keys from one secret, so that none serves two ends.
struct Derived {
    signing: hmac::Key,
    sealing: LessSafeKey,
    resuming: LessSafeKey,
}

impl Derived {
    #[expect(clippy::expect_used, reason = "HMAC-SHA256 gives the 32 bytes that the cipher takes")]
    fn new(secret: &Secret) -> Self {
        let master = hmac::Key::new(HMAC_SHA256, secret);
        let derived = |end: &str| hmac::sign(&master, end.as_bytes());
        let sealing = |end| {
            let key = UnboundKey::new(&CHACHA20_POLY1305, derived(end).as_ref());
            LessSafeKey::new(key.expect("a key of the cipher's length"))
        };
        Self {
            signing: hmac::Key::new(HMAC_SHA256, derived("sign").as_ref()),
            sealing: sealing("seal"),
            resuming: sealing("resume"),
        }
    }
}

/// What a token is bound to. A host has no NUL, so that no two pairs read alike.
fn bound(domain: &str, until_s: u64) -> [u8; BOUND_BYTES] {
    let mut bytes = [0; BOUND_BYTES];
    let (until, rest) = bytes.split_at_mut(size_of::<u64>());
    until.copy_from_slice(&until_s.to_be_bytes());
    if let Some(room) = rest.get_mut(..domain.len()) {
        room.copy_from_slice(domain.as_bytes());
    }
    bytes
}

/// A token that ends later than any could that is made now was made before the clock was set back. The
/// worker that made it may be a little ahead of the one that reads it.
fn lasts(until_s: u64, now_s: u64) -> Option<()> {
    (now_s < until_s && until_s - now_s <= LIFE_S + AHEAD_S).then_some(())
}

fn split_until(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (until, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*until), rest))
}

fn put_hex(bytes: &[u8], hex: &mut [u8]) {
    for (byte, digits) in bytes.iter().zip(hex.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]));
    }
}

/// The bytes that `hex` are, in as much of `room` as they need; `None` for what is no hex.
fn from_hex<'r>(hex: &[u8], room: &'r mut [u8]) -> Option<&'r [u8]> {
    let room = room.get_mut(..hex.len() / 2).filter(|_| hex.len().is_multiple_of(2))?;
    let half = |digit: &u8| HEX.iter().zip(0u8..).find(|(one, _)| *one == digit).map(|(_, n)| n);
    for (digits, byte) in hex.chunks_exact(2).zip(room.iter_mut()) {
        let [high, low] = digits else { return None };
        *byte = half(high)? << 4 | half(low)?;
    }
    Some(room)
}

/// How long a token of ours is good, in seconds. Who has one asks for the next at no cost.
pub const LIFE_S: u64 = 300;

/// How far workers' clocks may lie apart: each looks at the time when it comes to it.
const AHEAD_S: u64 = 60;

const SIGNED: &[u8] = b"pga_";
const SEALED: &[u8] = b"pgs_";
const SIGNED_BYTES: usize = SIGNED.len() + 2 * (size_of::<u64>() + 32);
const BOUND_BYTES: usize = size_of::<u64>() + HOST_BYTES_MAX;
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOMAIN: &str = "registry.acme.com";
    const BASE: &str = "https://registry.example.net/v2/";
    const LOGIN: &[u8] = b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    const NOW_S: u64 = 1_800_000_000;

    fn keys() -> OwnKeys {
        OwnKeys::new(&[1; 32], None)
    }

    fn sealed(keys: &OwnKeys, nonce: u8) -> String {
        keys.seal([nonce; NONCE_LEN], DOMAIN, NOW_S + LIFE_S, BASE, LOGIN)
    }

    /// What is read from a token at a domain, so many seconds later.
    fn told(keys: &OwnKeys, token: &[u8], domain: &str, later_s: u64) -> String {
        match keys.read(token, domain, NOW_S + later_s) {
            None => "nothing".into(),
            Some(Own::Anybody) => "anybody".into(),
            Some(Own::Login { base, login }) => {
                format!("{base} {}", String::from_utf8(login).unwrap())
            }
        }
    }

    #[test]
    fn a_token_is_good_at_its_domain_for_its_time() {
        let signed = keys().sign(DOMAIN, NOW_S + LIFE_S);
        assert!(signed.iter().all(|byte| byte.is_ascii_graphic()));
        let sealed = sealed(&keys(), 7);
        let opened = format!("{BASE} {}", String::from_utf8_lossy(LOGIN));
        for (token, good) in [(&signed[..], "anybody"), (sealed.as_bytes(), &opened)] {
            assert_eq!(told(&keys(), token, DOMAIN, 0), good);
            assert_eq!(told(&keys(), token, DOMAIN, LIFE_S - 1), good);
            assert_eq!(told(&keys(), token, DOMAIN, LIFE_S), "nothing");
            assert_eq!(told(&keys(), token, "other.acme.com", 0), "nothing");
            let before = |s: u64| keys().read(token, DOMAIN, NOW_S - s).is_some();
            assert!(before(1), "another worker's clock");
            assert!(!before(AHEAD_S + 1), "the clock was set back");
        }
    }

    #[test]
    fn what_was_made_before_the_last_change_of_keys_is_still_known() {
        let (first, second) = ([1; 32], [2; 32]);
        let signed = keys().sign(DOMAIN, NOW_S + LIFE_S);
        let sealed = sealed(&keys(), 7);
        for (keys, is_known) in [
            (OwnKeys::new(&second, Some(&first)), true),
            (OwnKeys::new(&second, None), false),
            (OwnKeys::new(&[3; 32], Some(&second)), false),
        ] {
            assert_eq!(keys.read(&signed, DOMAIN, NOW_S).is_some(), is_known);
            assert_eq!(keys.read(sealed.as_bytes(), DOMAIN, NOW_S).is_some(), is_known);
        }
    }

    #[test]
    fn a_sealed_login_shows_nothing_of_itself() {
        let one = sealed(&keys(), 7);
        let mut hex = vec![0; 2 * LOGIN.len()];
        put_hex(LOGIN, &mut hex);
        let hex = String::from_utf8(hex).unwrap();
        assert!(!one.contains(&hex[..16]));
        assert_ne!(one[60..], sealed(&keys(), 8)[60..]);
    }

    proptest! {
        #[test]
        fn what_was_changed_anywhere_is_nothing(at in 0..200usize, to in any::<u8>()) {
            let signed = keys().sign(DOMAIN, NOW_S + LIFE_S);
            for token in [&signed[..], sealed(&keys(), 7).as_bytes()] {
                let mut changed = token.to_vec();
                let at = at % changed.len();
                prop_assume!(changed[at] != to);
                changed[at] = to;
                prop_assert_eq!(told(&keys(), &changed, DOMAIN, 0), "nothing");
            }
        }

        #[test]
        fn anything_can_be_shown(token in prop::collection::vec(any::<u8>(), 0..200), of in 0..3usize) {
            let token = [[&b""[..], SIGNED, SEALED][of], &token].concat();
            prop_assert_eq!(told(&keys(), &token, DOMAIN, 0), "nothing");
        }
    }
}
