//! Answers with an `ETag`, lists in parts, and changes of what somebody has seen.

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
    /// The part of all `items`, which are in the order of their `key`s, that is asked for.
    pub(super) fn part(items: Vec<T>, part: &Part, key: impl Fn(&T) -> String) -> Self {
        let behind = |item: &T| part.after.is_empty() || key(item) == part.after;
        let from = match items.iter().position(behind) {
            Some(at) => at + usize::from(!part.after.is_empty()),
            None => items.len(),
        };
        let rest = items.len() - from;
        let items: Vec<T> = items.into_iter().skip(from).take(part.limit).collect();
        let next = items.last().filter(|_| rest > part.limit).map(key);
        Self { items, next }
    }
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
        let all = || vec!["a", "b", "c"];
        let of = |limit, after: &str| {
            let list = List::part(all(), &part(limit, after), |one| (*one).to_owned());
            (list.items.concat(), list.next)
        };
        assert_eq!(of(2, ""), ("ab".to_owned(), Some("b".to_owned())));
        assert_eq!(of(2, "b"), ("c".to_owned(), None));
        assert_eq!(of(3, ""), ("abc".to_owned(), None));
        assert_eq!(of(3, "c"), (String::new(), None));
        assert_eq!(of(3, "gone"), (String::new(), None));
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
