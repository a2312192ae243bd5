//! Answers with an `ETag`, lists in parts, and changes of what somebody has seen.

use std::cmp::Ordering;
use std::str::FromStr;

use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Part;
use super::problem::Problem;
use crate::control::accounts::StoreError;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::secret;

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct List<T> {
    /// These.
    items: Vec<T>,
    /// What to send as `after` for those that follow; null where there are none.
    next: Option<String>,
}

impl<T> List<T> {
    /// The part that is asked for of all `items`, in the order of their `key`s: behind the key that `after` names,
    /// whether what had it is still there or not.
    ///
    /// # Errors
    /// What `after` says is no such key.
    pub(super) fn part<K: Ord + FromStr + ToString>(
        mut items: Vec<T>,
        part: &Part,
        order: Order,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem> {
        items.sort_by(|one, other| order.of(&key(one), &key(other)));
        if !part.after.is_empty() {
            let after: K = part.after.parse().map_err(|_| no_next())?;
            items.retain(|item| order.of(&key(item), &after) == Ordering::Greater);
        }
        let has_more = items.len() > part.limit;
        items.truncate(part.limit);
        let next = items.last().filter(|_| has_more).map(|last| key(last).to_string());
        Ok(Self { items, next })
    }
}

/// In which order a list is.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// The least key first.
    Rising,
    /// The greatest first: of numbers that are given out one after another the newest.
    Falling,
}

impl Order {
    fn of<K: Ord>(self, one: &K, other: &K) -> Ordering {
        match self {
            Self::Rising => one.cmp(other),
            Self::Falling => other.cmp(one),
        }
    }
}

/// That `after` is nothing that a list has said.
pub(super) fn no_next() -> Problem {
    Problem(Trouble::refused("after: is the `next` of the part before."))
}

/// The one of a list that is meant.
///
/// # Errors
/// [`StoreError::Absent`] where it is not there.
pub(super) fn one_of<T>(list: Vec<T>, is_it: impl Fn(&T) -> bool) -> Result<T, StoreError> {
    list.into_iter().find(is_it).ok_or(StoreError::Absent)
}

/// The answer to a GET: 304 where the caller has it already.
pub(super) fn tagged(headers: &HeaderMap, body: &impl Serialize) -> Result<Response, Problem> {
    let (text, tag) = written(body)?;
    if is_among(headers, IF_NONE_MATCH.as_str(), &tag) == Some(true) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, value(&tag))]).into_response());
    }
    Ok(whole(text, &tag))
}

/// The answer that has more than the `state` by which it is changed: that it is the same tells nothing of the
/// rest, so it is whole each time.
pub(super) fn tagged_by(
    body: &impl Serialize,
    state: &impl Serialize,
) -> Result<Response, Problem> {
    let ((text, _), (_, tag)) = (written(body)?, written(state)?);
    Ok(whole(text, &tag))
}

fn whole(text: String, tag: &str) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind), (ETAG, value(tag))], text).into_response()
}

/// Which state of a thing a caller means to change: what `If-Match` says.
pub(super) struct Meant(HeaderMap);

impl Meant {
    /// What it says.
    ///
    /// # Errors
    /// 428 where it is not there.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut meant = HeaderMap::new();
        for line in headers.get_all(IF_MATCH) {
            meant.append(IF_MATCH, line.clone());
        }
        match meant.is_empty() {
            false => Ok(Self(meant)),
            true => {
                let why = "Send in If-Match the ETag that a GET of it has, so that nobody's change is lost.";
                let status = StatusCode::PRECONDITION_REQUIRED;
                Err(Problem(Trouble::new(status, "Which one?", why)))
            }
        }
    }

    /// That it is the state that is there, which the answer to a GET is tagged by. To be asked in the job that
    /// changes it: between two jobs others change it too.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where it is another.
    pub(super) fn is(&self, state: &impl Serialize) -> Result<(), StoreError> {
        let tag = written(state).map(|(_, tag)| tag);
        match tag.is_ok_and(|tag| is_among(&self.0, IF_MATCH.as_str(), &tag) == Some(true)) {
            true => Ok(()),
            false => Err(StoreError::Changed),
        }
    }
}

/// That a caller means the state that is there now, where who changes it is told what that was.
///
/// # Errors
/// 428 where they do not say what they mean, 412 where it is something else by now.
pub(super) fn is_meant(headers: &HeaderMap, state: &impl Serialize) -> Result<(), Problem> {
    Ok(Meant::of(headers)?.is(state)?)
}

fn written(body: &impl Serialize) -> Result<(String, String), Problem> {
    let text = serde_json::to_string(body).map_err(|error| Problem(Trouble::failed(&error)))?;
    let digest = secret::text(&secret::kept(&text));
    let tag = format!("\"{}\"", &digest[..32]);
    Ok((text, tag))
}

/// Whether the tag is in this field, or that is `*`; `None` without the field.
fn is_among(headers: &HeaderMap, field: &str, tag: &str) -> Option<bool> {
    let mut lines = headers.get_all(field).iter().peekable();
    lines.peek()?;
    Some(lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    }))
}

fn value(tag: &str) -> HeaderValue {
    HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(limit: usize, after: &str) -> Part {
        Part { limit, after: after.to_owned() }
    }

    #[test]
    fn parts_make_the_whole() {
        let of = |order, limit, after: &str| {
            let all = vec!["b".to_owned(), "a".to_owned(), "d".to_owned()];
            let list = List::part(all, &part(limit, after), order, String::clone).ok().unwrap();
            (list.items.concat(), list.next)
        };
        let next = |key: &str| Some(key.to_owned());
        assert_eq!(of(Order::Rising, 2, ""), ("ab".to_owned(), next("b")));
        assert_eq!(of(Order::Rising, 2, "b"), ("d".to_owned(), None));
        assert_eq!(of(Order::Rising, 3, ""), ("abd".to_owned(), None));
        assert_eq!(of(Order::Rising, 3, "d"), (String::new(), None));
        // What the part before ended in is gone.
        assert_eq!(of(Order::Rising, 3, "c"), ("d".to_owned(), None));
        assert_eq!(of(Order::Falling, 1, "c"), ("b".to_owned(), next("b")));
        // Numbers are no texts: 9 is less than 10.
        let numbers = List::part(vec![9, 11, 10], &part(9, "10"), Order::Falling, |one| *one);
        assert_eq!(numbers.ok().unwrap().items, [9]);
        assert!(List::part(vec![9], &part(9, "x"), Order::Falling, |one| *one).is_err());
    }

    #[test]
    fn tags_are_compared() {
        let mut headers = HeaderMap::new();
        let first = tagged(&headers, &"one").ok().unwrap();
        let tag = first.headers()[ETAG].clone();
        let refused = is_meant(&headers, &"one").err().unwrap();
        assert_eq!(refused.0.status, StatusCode::PRECONDITION_REQUIRED);
        headers.insert(IF_MATCH, tag.clone());
        assert!(is_meant(&headers, &"one").is_ok());
        let refused = is_meant(&headers, &"two").err().unwrap();
        assert_eq!(refused.0.status, StatusCode::PRECONDITION_FAILED);
        headers.insert(IF_NONE_MATCH, tag);
        let status = |body| tagged(&headers, body).ok().unwrap().status();
        assert_eq!(status(&"one"), StatusCode::NOT_MODIFIED);
        assert_eq!(status(&"two"), StatusCode::OK);
    }
}
