//! What an operation may answer beside what was asked for, as its description says it: each group of statuses is named
//! where an operation may give them.

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use super::problem::ProblemBody;

/// Groups of statuses, each with what it says.
macro_rules! refusals {
    ($($(#[$about:meta])* $name:ident { $($status:literal: $words:literal,)+ })+) => {$(
        $(#[$about])*
        pub(super) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status, $words)),+].map(|(status, words)| said(status, words)).into()
            }
        }
    )+};
}

refusals! {
    /// Of anything that is asked.
    Refusal {
        "400": "What was sent is not understood: the problem says what is, and which fields are wrong.",
        "401": "No token, or none that is known, or not any more.",
        "500": "The gateway failed at this; its log says why. Pulls go on.",
        "503": "Not now: too much is under way, or the gateway stops. `Retry-After` says when to come again.",
    }
    /// Of what is there, and for whom.
    Absent {
        "404": "There is no such thing, or not for this token: both look alike.",
    }
    /// Of what is seen by more than do it.
    Forbidden {
        "403": "It is seen, but the role or the token does not allow this.",
    }
    /// Of what changes something.
    InTheWay {
        "409": "Something that is there is in the way: the problem says what, and what to do first.",
    }
    /// Of what changes a state that somebody has seen.
    Stale {
        "412": "It is another by now than `If-Match` says: look at it again.",
        "428": "`If-Match` is missing: the ETag that a GET of it has.",
    }
    /// Of what has a body.
    TooLong {
        "413": "What was sent is longer than 64 KiB.",
    }
    /// Of what takes long.
    TooMany {
        "429": "Too much of this account, or from there, is under way: `Retry-After` says when to come again.",
    }
    /// Of what a caller may have already.
    Unchanged {
        "304": "It is what `If-None-Match` says.",
    }
}

/// A status and its words: with a problem, where it is one.
fn said(status: &str, words: &str) -> (String, RefOr<Response>) {
    let response = ResponseBuilder::new().description(words);
    let response = match status.starts_with('4') || status.starts_with('5') {
        true => {
            let problem = Ref::from_schema_name(ProblemBody::name());
            let content = ContentBuilder::new().schema(Some(problem)).build();
            response.content("application/problem+json", content)
        }
        false => response,
    };
    (status.to_owned(), RefOr::T(response.build()))
}
