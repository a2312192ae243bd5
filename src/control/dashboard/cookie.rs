//! The one cookie. It holds 256 random bits: of somebody who has signed in they stand for their session;
//! of anybody else for nothing, and only tie forms to the browser that they were shown to.

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::trouble::Trouble;
use crate::messages::random::random;
use crate::pure::secret;

/// The cookie that a browser has, or is to get.
#[derive(Clone)]
pub(super) struct Cookie {
    /// What it holds.
    pub(super) text: String,
    is_new: bool,
    is_https: bool,
}

impl Cookie {
    /// Another one in place of this, so that what was known before signing in is worth nothing after.
    pub(super) fn renewed(&self) -> Result<Self, Trouble> {
        Self::new(self.is_https)
    }

    /// The one that came with these, or a new one.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Trouble> {
        let is_https = is_https(headers);
        match sent(headers) {
            Some(text) => Ok(Self { text: text.to_owned(), is_new: false, is_https }),
            None => Self::new(is_https),
        }
    }

    fn new(is_https: bool) -> Result<Self, Trouble> {
        let bytes = random::<32>().map_err(|error| Trouble::failed(&error))?;
        Ok(Self { text: secret::text(&bytes), is_new: true, is_https })
    }

    /// Has the browser keep it, if it does not.
    pub(super) fn keep(&self, mut response: Response) -> Response {
        if self.is_new {
            // Without an age it lasts as long as the browser runs; signing in makes it last.
            self.put(&mut response, "");
        }
        response
    }

    /// Has the browser keep it for as long as a session can last without being used.
    pub(super) fn keep_signed_in(&self, mut response: Response) -> Response {
        self.put(&mut response, "; Max-Age=1209600");
        response
    }

    /// Has the browser forget it.
    pub(super) fn forget(&self, mut response: Response) -> Response {
        let gone = Self { text: String::new(), ..self.clone() };
        gone.put(&mut response, "; Max-Age=0");
        response
    }

    fn put(&self, response: &mut Response, age: &str) {
        let (name, secure) = match self.is_https {
            true => (HTTPS_NAME, "; Secure"),
            false => (PLAIN_NAME, ""),
        };
        // Lax, not Strict: a link that somebody sends has to open for who is signed in.
        let text = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", self.text);
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Cookie {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Trouble> {
        Self::of(&parts.headers)
    }
}

/// What the browser's cookie holds.
pub(super) fn sent(headers: &HeaderMap) -> Option<&str> {
    let name = if is_https(headers) { HTTPS_NAME } else { PLAIN_NAME };
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    let first = pairs.next()?;
    let is_ours = first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Of two with one name nobody can tell which one is ours.
    (is_ours && pairs.next().is_none()).then_some(first)
}

/// Scheme and host by which the browser finds us, as it says.
pub(super) fn origin(headers: &HeaderMap) -> String {
    let scheme = if is_https(headers) { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// Whether the browser speaks https, to whoever passes its requests on to us. Who claims it without need
/// only keeps its own cookie from coming back.
fn is_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

/// With this prefix browsers take it over https only, and from this host alone.
const HTTPS_NAME: &str = "__Host-pullgate";
const PLAIN_NAME: &str = "pullgate";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(https: bool, cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if https {
            headers.append("x-forwarded-proto", HeaderValue::from_static("https"));
        }
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn the_cookie_is_found_under_the_name_of_its_scheme_and_once() {
        let ours = "ab".repeat(32);
        let (plain, https) = (format!("pullgate={ours}"), format!("a=b; __Host-pullgate={ours}"));
        for (is_https, cookies, expected) in [
            (false, vec![plain.as_str()], true),
            (true, vec![https.as_str()], true),
            (true, vec![plain.as_str()], false),
            (false, vec![https.as_str()], false),
            (false, vec!["a=b", plain.as_str()], true),
            (false, vec![plain.as_str(), plain.as_str()], false),
            (false, vec!["pullgate=short"], false),
            (false, vec!["pullgate"], false),
            (false, vec![], false),
        ] {
            let found = sent(&headers(is_https, &cookies)).map(str::to_owned);
            assert_eq!(found.is_some(), expected, "{is_https} {cookies:?}");
        }
    }
}
