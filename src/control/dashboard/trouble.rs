//! What went wrong, for people: what, why, and what to do.

use std::fmt;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::control::accounts::StoreError;
use crate::control::accounts::hash::Busy;
use crate::control::made::Refused;
use crate::control::seats::Taken;
use crate::pure::config::made::Wrong;

/// A page that could not be shown, or a deed that was not done.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    /// What happened, as a title.
    pub(super) what: String,
    /// Why, and what to do, in whole sentences.
    pub(super) why: String,
    /// In how many seconds to come again: known of all that is refused for a while.
    pub(super) retry_s: Option<u64>,
    /// Which fields of what was sent are wrong.
    pub(super) wrong: Vec<Wrong>,
    /// The same of a form that people fill in: each field and, as a sentence, what is wrong with it.
    pub(super) at: Vec<(&'static str, String)>,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, what: &str, why: impl Into<String>) -> Self {
        let (what, why) = (what.to_owned(), why.into());
        let is_later =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let retry_s = is_later.then_some(LATER_S);
        Self { status, what, why, retry_s, wrong: Vec::new(), at: Vec::new() }
    }

    /// What is wrong with this field of a form.
    pub(super) fn at(self, field: &'static str) -> Self {
        Self { at: vec![(field, self.why.clone())], ..self }
    }

    /// What is wrong with these fields of a form.
    pub(super) fn of_fields(wrong: Vec<(&'static str, String)>) -> Self {
        let why = wrong.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(" ");
        Self { at: wrong, ..Self::refused(why) }
    }

    /// There is no such thing, or not for who asks: both look alike.
    pub(super) fn absent() -> Self {
        let why = "There is nothing at this address, or you may not see it. Look whether the address \
                   is whole, or ask an admin of the organisation to let you in.";
        Self::new(StatusCode::NOT_FOUND, "Not found", why)
    }

    /// It is seen, but not to be changed.
    pub(super) fn forbidden() -> Self {
        let why = "Your role does not allow this. Ask an admin of the organisation to do it, or to \
                   make you one.";
        Self::new(StatusCode::FORBIDDEN, "Not allowed", why)
    }

    /// It is another by now than who sends this has seen.
    fn changed() -> Self {
        let why = "Somebody has changed it since you looked: look again, and then do what is still to \
                   be done.";
        Self::new(StatusCode::PRECONDITION_FAILED, "Changed meanwhile", why)
    }

    /// It makes no sense: words that say why.
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "That does not work", why)
    }

    /// It is sent to, and not looked at.
    pub(super) fn only_sent() -> Self {
        let why =
            "What a form says is sent to this address, and there is nothing to be seen at it.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Nothing to see", why)
    }

    /// What the router, or an address that it cannot read, says by itself; `wrong_method` has the words where
    /// another method than that of the request is for the address.
    pub(super) fn of_router(response: &Response, wrong_method: fn() -> Self) -> Option<Self> {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        let is_plain = response.headers().get(CONTENT_TYPE) == Some(&plain);
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Some(wrong_method()),
            StatusCode::BAD_REQUEST if is_plain => {
                let why = "The address says too little, or something that is not understood here.";
                Some(Self::refused(why))
            }
            _ => None,
        }
    }

    /// What was sent cannot be read; `status` says in which way, `why` in whole sentences.
    pub(super) fn unreadable(status: StatusCode, why: String) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let why = "What was sent is longer than 64 KiB, which is all that is taken here.";
                Self::new(status, "Too long", why)
            }
            _ => Self::refused(why),
        }
    }

    /// A page of another site sends this.
    pub(super) fn from_elsewhere() -> Self {
        let why = "Your browser says that another site sent this, so nothing was done. Open the page \
                   here and send it again.";
        Self::new(StatusCode::FORBIDDEN, "Not sent from here", why)
    }

    /// A form that was not shown to this browser, or too long ago, and whether it is shown again.
    pub(super) fn stale_form(is_shown: bool) -> Self {
        let why = match is_shown {
            true => {
                "This form was made for another session of yours, so nothing was done. This is what it \
                 says: look at it, and send it once more; your browser has to accept cookies."
            }
            false => {
                "This form was not made for your present session, so nothing was done. Go back, load the \
                 page again, and send it once more; your browser has to accept cookies."
            }
        };
        Self::new(StatusCode::FORBIDDEN, "The form is out of date", why)
    }

    /// Too often: come again.
    pub(super) fn too_often(wait_s: u64) -> Self {
        let why = format!(
            "There were too many tries that failed. Wait {wait_s} second{} and try again.",
            if wait_s == 1 { "" } else { "s" }
        );
        let trouble = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many tries", why);
        Self { retry_s: Some(wait_s), ..trouble }
    }

    /// Too much is under way: why, and to come again.
    pub(super) fn busy(why: &str) -> Self {
        Self::not_now("Busy", why)
    }

    /// Too much of theirs is under way: what, and to come again.
    pub(super) fn too_many(why: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many at once", why)
    }

    /// Too much is looked at elsewhere, of everybody's or of theirs.
    pub(super) fn of_looks(taken: Taken) -> Self {
        match taken {
            Taken::All => {
                Self::busy("Too many look at registries and name servers. Try again in a moment.")
            }
            Taken::Own => Self::too_many(
                "Several looks of yours at registries or name servers are under way. Try again when \
                 they are done.",
            ),
        }
    }

    /// What works again in a moment.
    pub(super) fn not_now(what: &str, why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what, why)
    }

    /// The gateway itself fails; the log says at what.
    pub(super) fn failed(error: &dyn fmt::Display) -> Self {
        tracing::error!("a page could not be made: {error}");
        let why = "The gateway failed at this; its log says why. Pulls go on.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something broke", why)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Absent => Self::absent(),
            StoreError::Forbidden => Self::forbidden(),
            StoreError::Changed => Self::changed(),
            StoreError::Refused(words) => {
                Self::new(StatusCode::CONFLICT, "That does not work", words)
            }
            StoreError::Taken(field, words) => Self::from(StoreError::Refused(words)).at(field),
            StoreError::Database(_) | StoreError::Closed(_) | StoreError::Stopped => {
                tracing::error!("{error}");
                let why = "The accounts' database cannot be used; the gateway's log says why. Pulls \
                           go on. Try again in a moment.";
                Self::not_now("Not available", why)
            }
        }
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wrong(wrong) => {
                let why = wrong.iter().map(|Wrong { field, what, .. }| format!("{field}: {what}."));
                let why = why.collect::<Vec<_>>().join(" ");
                Self { wrong, ..Self::refused(why) }
            }
            Refused::Changed => Self::changed(),
            Refused::Overruled => {
                let why = "The gateway's configuration file has a package of this name by now, which \
                           comes first: what was made here can only be removed.";
                Self::new(StatusCode::CONFLICT, "The file comes first", why)
            }
            Refused::NotTheirs => {
                let why = "Whether there is a package, what it is called, at which domain, and what \
                           the counts know it by, is for an admin of its organisation to say.";
                Self::new(StatusCode::FORBIDDEN, "Not allowed", why)
            }
            Refused::Breaks(breaks) => {
                let why =
                    format!("{breaks} Nothing was changed: confirm it if that is what you want.");
                Self::new(StatusCode::CONFLICT, Refused::BREAKS, why)
            }
            Refused::Counted(domain) => {
                let why = format!(
                    "Pulls at {domain} were counted when it was another's: ask who runs the gateway to \
                     erase these (`pullgate erase --domain`), or to give you the domain with them."
                );
                Self::new(StatusCode::CONFLICT, "That does not work", why)
            }
            Refused::Left(_) => {
                let why = format!(
                    "{refused} Nothing was changed: say with `people=keep` that all of it comes with \
                     the package, or with `people=end` that it ends."
                );
                Self::new(StatusCode::CONFLICT, "Who comes with it?", why)
            }
            Refused::Configuration(words) => {
                let why = format!("Nothing was changed: {words}.");
                Self::not_now("Not now", &why)
            }
            Refused::Busy(Taken::All) => {
                let why =
                    "Too many changes are under way. Nothing was changed: try again in a moment.";
                Self::busy(why)
            }
            Refused::Busy(Taken::Own) => {
                let why = "Several changes of yours are under way. Nothing was changed: try again when they \
                           are done.";
                Self::too_many(why)
            }
            Refused::Draining => {
                let why = "The gateway is stopping. Nothing was changed: try again once it has \
                           started.";
                Self::not_now("Stopping", why)
            }
            Refused::Unheard { is_draining: true } => {
                let why = "It is written down, and in force when the gateway has started again: it is \
                           stopping.";
                Self::not_now("Stopping", why)
            }
            Refused::Unheard { is_draining: false } => {
                let why = "It is written down, but a worker has not said that it knows: the gateway's \
                           log says why.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something broke", why)
            }
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<Busy> for Trouble {
    fn from(Busy(taken): Busy) -> Self {
        match taken {
            Taken::All => {
                Self::busy("Too many people are signing in at once. Try again in a moment.")
            }
            Taken::Own => {
                let why = "Too many people are signing in at once from where you are. Try again in a \
                           moment.";
                Self::too_many(why)
            }
        }
    }
}

impl IntoResponse for Trouble {
    /// Without a page: who asks has one of their own, which [`manners`](super::manners) makes.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// What is answered where there is no page.
pub(super) async fn no_such_page() -> Trouble {
    Trouble::absent()
}

/// When to come again where nothing better is known.
const LATER_S: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_changed_it_meanwhile_it_is_said_in_words_for_people() {
        let [stored, made] =
            [Trouble::from(StoreError::Changed), Trouble::from(Refused::Changed)].map(|it| it.why);
        assert_eq!(stored, made);
        assert!(stored.contains("look again") && !stored.contains("ETag"), "{stored}");
    }
}
