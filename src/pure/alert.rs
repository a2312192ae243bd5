//! What people of a package, or the operator, are told of, and how it reads: for programs, and as `text` for
//! people, which chat programs show.

use serde_json::{Value, json};

use crate::pure::origin::Url;
use crate::pure::unusual::Unusual;

/// What somebody can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A registry that the package lives on does not answer, or answers again.
    Backend,
    /// The certificate of its domain ends soon.
    Certificate,
    /// Far more or far fewer pulls than usual on a day.
    Unusual,
    /// What the week came to.
    Weekly,
}

impl Event {
    /// All of them.
    pub const EVERY: [Self; 4] = [Self::Backend, Self::Certificate, Self::Unusual, Self::Weekly];

    /// As it is stored, sent and chosen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Certificate => "certificate",
            Self::Unusual => "unusual",
            Self::Weekly => "weekly",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Backend => "a registry fails, and when it works again",
            Self::Certificate => "the domain's certificate ends soon",
            Self::Unusual => "a day has far more or far fewer pulls than usual",
            Self::Weekly => "a summary of each week, on Monday",
        }
    }

    /// Several, with a space between.
    pub fn words(events: &[Self]) -> String {
        events.iter().map(|event| event.word()).collect::<Vec<_>>().join(" ")
    }

    /// Those of these words that there are.
    pub fn of_words(words: &str) -> Vec<Self> {
        let is_named = |event: &Self| words.split(' ').any(|word| word == event.word());
        Self::EVERY.into_iter().filter(is_named).collect()
    }
}

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// What happened: `backend.failing`.
    pub kind: &'m str,
    /// The package that it is of, `<domain>/<name>`; `None` for what is not of one alone.
    pub package: Option<&'m str>,
    /// When, as RFC 3339 has it.
    pub at: &'m str,
    /// In a sentence.
    pub text: String,
    /// The same for programs.
    pub data: Value,
}

impl Message<'_> {
    /// As it is sent.
    pub fn body(&self) -> String {
        let Self { kind, package, at, text, data } = self;
        let body = json!({
            "type": kind, "timestamp": at, "package": package, "text": text, "data": data
        });
        body.to_string()
    }
}

/// What is said of an unusual day.
pub fn of_day(day: &str, pulls: u64, unusual: Unusual) -> (&'static str, String, Value) {
    let (kind, usual, how) = match unusual {
        Unusual::Surge { usual } => ("pulls.surge", usual, "far more"),
        Unusual::Drop { usual } => ("pulls.drop", usual, "far fewer"),
    };
    let text = format!("{pulls} pulls on {day}, {how} than usual ({usual})");
    (kind, text, json!({ "day": day, "pulls": pulls, "usual": usual }))
}

/// How many tries in a row tell that a registry fails, or works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it fails, once that is certain.
    failing_since_s: Option<i64>,
    /// When the present run of tries began that say otherwise, and how many they are.
    doubts: Option<(i64, u32)>,
}

impl Standing {
    /// Of one that is known to fail since then, in seconds since 1970.
    pub fn failing(since_s: i64) -> Self {
        Self { failing_since_s: Some(since_s), doubts: None }
    }

    /// Since when it fails for certain, in seconds since 1970, where the last try has not worked either.
    pub fn goes_on_failing_since_s(&self) -> Option<i64> {
        self.failing_since_s.filter(|_| self.doubts.is_none())
    }

    /// Whether the last try says otherwise than what is certain.
    pub fn is_in_doubt(&self) -> bool {
        self.doubts.is_some()
    }

    /// One more try: says since when it fails or failed, where that has just become certain or is over.
    pub fn tried(&mut self, works: bool, now_s: i64) -> Option<Turn> {
        if works == self.failing_since_s.is_none() {
            self.doubts = None;
            return None;
        }
        let (since_s, many) = self.doubts.unwrap_or((now_s, 0));
        if many + 1 < TRIES {
            self.doubts = Some((since_s, many + 1));
            return None;
        }
        self.doubts = None;
        match self.failing_since_s.take() {
            Some(failing_since_s) => Some(Turn::Works { failing_since_s }),
            None => {
                self.failing_since_s = Some(since_s);
                Some(Turn::Fails { since_s })
            }
        }
    }
}

/// What has become certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It fails.
    Fails {
        /// Since when, in seconds since 1970.
        since_s: i64,
    },
    /// It works again.
    Works {
        /// Since when it did not.
        failing_since_s: i64,
    },
}

/// How long before the end of a certificate it is told: at a fifth of its life or two weeks before, whatever
/// is less, then at half of that, and once more shortly before.
pub fn certificate_steps(begins_s: i64, ends_s: i64) -> [i64; 3] {
    let first = (ends_s.saturating_sub(begins_s) / 5).clamp(0, 14 * 24 * 3600);
    [first, first / 2, first / 14]
}

/// A webhook's address.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(format!("has more than {ADDRESS_BYTES_MAX} bytes"));
    }
    match Url::parse(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("is none: {why}")),
    }
}

/// What of it may be seen by everybody who sees what was done: `https://hooks.example`.
pub fn origin_of(url: &str) -> String {
    Url::parse(url.as_bytes()).map(|url| url.origin.to_string()).unwrap_or_default()
}

const ADDRESS_BYTES_MAX: usize = 1000;
/// Tries in a row.
const TRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_fails_after_three_tries_and_works_after_three() {
        let mut standing = Standing::default();
        let mut told = Vec::new();
        for (at, letter) in "wwfwffwfffwwffffwwwww".chars().enumerate() {
            let now_s = i64::try_from(at).unwrap();
            told.extend(standing.tried(letter == 'w', now_s).map(|turn| (now_s, turn)));
        }
        assert_eq!(
            told,
            [(9, Turn::Fails { since_s: 7 }), (18, Turn::Works { failing_since_s: 7 }),]
        );
        // Whoever knows already that it fails goes on from there.
        let mut standing = Standing::failing(7);
        assert_eq!([20, 21, 22].map(|now_s| standing.tried(false, now_s)), [None; 3]);
        let turns = [23, 24, 25].map(|now_s| standing.tried(true, now_s));
        assert_eq!(turns, [None, None, Some(Turn::Works { failing_since_s: 7 })]);
    }

    #[test]
    fn short_certificates_are_told_later() {
        const DAY: i64 = 24 * 3600;
        assert_eq!(certificate_steps(0, 90 * DAY), [14 * DAY, 7 * DAY, DAY]);
        let [first, second, third] = certificate_steps(0, 6 * DAY);
        assert!(first == 6 * DAY / 5 && second == first / 2 && third > 0);
        assert_eq!(certificate_steps(5, 0), [0; 3]);
    }

    #[test]
    fn words_and_addresses() {
        for event in Event::EVERY {
            assert_eq!(Event::of_words(event.word()), [event]);
        }
        assert_eq!(Event::words(&Event::EVERY), "backend certificate unusual weekly");
        assert_eq!(Event::of_words("weekly nothing backend"), [Event::Backend, Event::Weekly]);
        assert_eq!(address(" https://a.b/x "), Ok("https://a.b/x".to_owned()));
        for wrong in ["", "a.b/x", "ftp://a.b", "https://a:b@c.d/", "https://a.b/ü"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address(&format!("https://a.b/{}", "x".repeat(1000))).is_err());
        assert_eq!(origin_of("https://a.b/secret"), "https://a.b");
    }

    #[test]
    fn a_message_is_for_programs_and_for_people() {
        let (kind, text, data) = of_day("2026-11-26", 900, Unusual::Surge { usual: 100 });
        let message =
            Message { kind, package: Some("a.b/c"), at: "2026-11-27T00:15:00Z", text, data };
        let body: Value = serde_json::from_str(&message.body()).unwrap();
        assert_eq!((&body["type"], &body["data"]["usual"]), (&"pulls.surge".into(), &100.into()));
        assert_eq!(body["text"], "900 pulls on 2026-11-26, far more than usual (100)");
    }
}
