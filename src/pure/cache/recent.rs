//! Answers given a moment ago, found again by the client's own words.
//!
//! Who asks the same of the same package in the same words as somebody did a second ago is given
//! the same, without its words being sorted and compared again. Only for as long as the answer would
//! be fresh, and never longer than [`REMEMBERED_US_MAX`]: whatever else may end an answer's use is
//! looked at again then.

use std::hash::Hasher as _;
use std::rc::{Rc, Weak};

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::pure::decide::Forward;
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::http1::response::fields;
use crate::pure::oci::endpoint::Endpoint;

/// Answers by the words that asked for them. They are kept elsewhere: what was let go there is gone.
///
/// Of the words a keyed hash of 128 bits is kept and compared: two that are asked by different words
/// share one with a probability below 10⁻³⁰, and nobody outside knows the key.
pub struct Recent<V> {
    key: (u64, u64),
    answers: HashTable<(Words, Answer<V>)>,
}

/// A question's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words(u128);

struct Answer<V> {
    value: Weak<V>,
    until_us: u64,
}

impl Words {
    /// Where they stand in a table: all bits are as random as any.
    #[expect(clippy::cast_possible_truncation, reason = "half of it will do")]
    fn place(self) -> u64 {
        self.0 as u64
    }
}

impl<V> Recent<V> {
    /// Nothing was answered yet. `key` is nobody's to guess.
    pub fn new(key: (u64, u64)) -> Self {
        Self { key, answers: HashTable::new() }
    }

    /// What `head`, of which `bytes` are the bytes, asks by `plan`, as far as it decides which
    /// manifest that is; `None` for what is no manifest, and for what came by a proxy.
    pub fn words(&self, plan: &Forward<'_>, head: &RequestHead<'_>, bytes: &[u8]) -> Option<Words> {
        let Endpoint::Manifest { reference, .. } = plan.endpoint else {
            return None;
        };
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        // What stands before each has a length of its own or ends with what is in no name.
        let mut put = |piece: &[u8]| {
            hasher.write_usize(piece.len());
            hasher.write(piece);
        };
        put(plan.location.as_bytes());
        put(plan.name_tail.as_bytes());
        put(reference.as_str().as_bytes());
        put(&[u8::from(head.method == Method::Head), plan.credentials as u8]);
        for (name, value) in fields(bytes) {
            if name.eq_ignore_ascii_case("Accept") {
                put(value);
            } else if name.eq_ignore_ascii_case("Via") {
                return None;
            }
        }
        Some(Words(hasher.finish128().as_u128()))
    }

    /// What was answered to these words, if it still is at `now_us`.
    pub fn get(&self, words: Words, now_us: u64) -> Option<Rc<V>> {
        let (_, answer) = self.answers.find(words.place(), |(known, _)| *known == words)?;
        answer.value.upgrade().filter(|_| now_us < answer.until_us)
    }

    /// Remembers what was answered at `now_us` and is fresh until `until_us`.
    pub fn put(&mut self, words: Words, value: &Rc<V>, now_us: u64, until_us: u64) {
        let until_us = until_us.min(now_us.saturating_add(REMEMBERED_US_MAX));
        let answer = Answer { value: Rc::downgrade(value), until_us };
        if let Some((_, known)) = self.answers.find_mut(words.place(), |(known, _)| *known == words)
        {
            *known = answer;
            return;
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.retain(|(_, answer)| now_us < answer.until_us);
        }
        // What is asked in so many words at once would hardly be found again.
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        self.answers.insert_unique(words.place(), (words, answer), |(known, _)| known.place());
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.answers.clear();
    }
}

/// Half a minute.
const REMEMBERED_US_MAX: u64 = 30_000_000;
/// As many take 300 KB.
const ANSWERS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::certificates::Names;
    use crate::pure::client::ClientTable;
    use crate::pure::config::check;
    use crate::pure::decide::{Action, Known, decide};
    use crate::pure::desk::OwnKeys;
    use crate::pure::door::Door;
    use crate::pure::http1::head::{self, HeadLimits};
    use crate::pure::proof::Proofs;
    use crate::pure::snapshot::{Circumstances, Snapshot};

    const CONFIG: &str = "
[[registries]]
host = 'quay.io'
username = 'robot'
password_env = 'PASSWORD'
[[packages]]
domain = 'a.b'
name = 'one'
backend = 'ghcr.io/acme/one'
delivery = 'broker'
[[packages]]
domain = 'a.b'
name = 'same'
backend = 'ghcr.io/acme/one'
delivery = 'stream'
[[packages]]
domain = 'a.b'
name = 'ours'
backend = 'quay.io/acme/one'
credentials = 'registry'
[[packages]]
domain = 'a.b'
name = 'all/*'
backend = 'ghcr.io/acme/*'
delivery = 'broker'
";

    /// The words of a request, by a key that all of them have.
    fn words(method: &str, path: &str, lines: &str) -> Option<Words> {
        let (config, _) = check("f", CONFIG).unwrap();
        let circumstances =
            Circumstances { clients: ClientTable::built_in(), via: "g", before: None, now_us: 0 };
        let snapshot = Snapshot::build(&config, 1, circumstances);
        let bytes = format!("{method} /v2/{path} HTTP/1.1\r\nHost: a.b\r\n{lines}\r\n");
        let limits = HeadLimits { head_bytes: 4096, headers: 16 };
        let head = head::parse(bytes.as_bytes(), &limits).unwrap().unwrap();
        let (proofs, keys) = (&Proofs::default(), &OwnKeys::new(&[1; 32], None));
        let names = Names::default();
        let door = Door::Plain(&names);
        let known = Known { snapshot: &snapshot, door, proofs, keys, now_us: 0, unix_s: 0 };
        let Action::Forward(plan) = decide(known, &head) else {
            panic!("{path} is not forwarded");
        };
        Recent::<u8>::new((1, 2)).words(&plan, &head, bytes.as_bytes())
    }

    #[test]
    fn whatever_may_make_another_answer_right_makes_other_words() {
        let sha = format!("sha256:{}", "0".repeat(64));
        let of = |method, path: &str, lines| words(method, path, lines).unwrap();
        let all = [
            of("GET", "one/manifests/1", "Accept: a/b\r\n"),
            of("HEAD", "one/manifests/1", "Accept: a/b\r\n"),
            of("GET", "one/manifests/2", "Accept: a/b\r\n"),
            of("GET", &format!("one/manifests/{sha}"), "Accept: a/b\r\n"),
            of("GET", "one/manifests/1", ""),
            of("GET", "one/manifests/1", "Accept: a/b\r\naccept: c/d\r\n"),
            of("GET", "one/manifests/1", "Accept: a/bc/d\r\n"),
            of("GET", "ours/manifests/1", "Accept: a/b\r\n"),
            of("GET", "all/lander/manifests/1", "Accept: a/b\r\n"),
            of("GET", "all/rover/manifests/1", "Accept: a/b\r\n"),
        ];
        for (at, words) in all.iter().enumerate() {
            assert!(!all[..at].contains(words), "number {at}");
        }
        let again = of("GET", "one/manifests/1", "User-Agent: x\r\nACCEPT: a/b\r\nDNT: 1\r\n");
        assert!(again == all[0], "who asks says nothing of what is asked");
        assert!(of("GET", "same/manifests/1", "Accept: a/b\r\n") == all[0], "it is the same there");
        assert!(words("GET", "one/manifests/1", "Via: 1.1 proxy\r\n").is_none());
        assert!(words("GET", &format!("one/blobs/{sha}"), "").is_none());
        assert!(words("GET", "one/tags/list", "").is_none());
    }

    #[test]
    fn it_is_answered_while_it_is_fresh_and_kept() {
        let mut recent = Recent::new((1, 2));
        let kept = Rc::new("manifest");
        let (early, late) = (Words(7), Words(7 << 64 | 7));
        recent.put(early, &kept, 1_000, 2_000);
        recent.put(late, &kept, 1_000, u64::MAX);
        assert_eq!(recent.get(early, 1_999).as_deref(), Some(&"manifest"));
        assert!(recent.get(early, 2_000).is_none());
        let end = 1_000 + REMEMBERED_US_MAX;
        assert!(recent.get(late, end - 1).is_some());
        assert!(recent.get(late, end).is_none(), "content too is looked up again in the end");
        recent.put(late, &kept, end, u64::MAX);
        assert!(recent.get(late, end).is_some());
        drop(kept);
        assert!(recent.get(late, end).is_none(), "what was let go is not kept alive");
    }

    #[test]
    fn many_words_are_not_many_bytes() {
        let mut recent = Recent::new((1, 2));
        let kept = Rc::new(());
        for number in 0..3 * ANSWERS_MAX as u128 {
            recent.put(Words(number), &kept, 0, 10);
            assert!(recent.answers.len() <= ANSWERS_MAX);
            assert!(recent.get(Words(number), 5).is_some());
        }
        recent.clear();
        assert!(recent.get(Words(0), 5).is_none());
    }
}
