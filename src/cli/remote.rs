//! Questions to a gateway elsewhere, by its API (`/api/v1`).

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::args::Elsewhere;
use super::{say, socket};
use crate::control::outbound::{self, Call, Trust};
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::{Origin, Url};

/// A gateway elsewhere, and what it is shown.
pub(super) struct Remote {
    origin: Origin,
    token: Option<HeaderValue>,
    tls: Trust,
    runtime: Runtime,
}

/// Why it gives no answer.
struct Refused {
    /// Whether it says that there is no such thing for this token.
    is_absent: bool,
    words: String,
}

/// Why something did not come.
pub(super) enum Failure {
    /// Words for who asked.
    Words(String),
    /// It could not be written here.
    Output(std::io::Error),
}

impl Remote {
    /// The one that the command line names, if it does.
    ///
    /// # Errors
    /// Words, where what it says of it cannot be used.
    pub(super) fn of(args: &Elsewhere) -> Result<Option<Self>, String> {
        let Some(url) = &args.url else { return Ok(None) };
        let origin = origin(url)?;
        let token = token(args)?;
        if origin.scheme == Scheme::Http && token.is_some() && !is_here(&origin.host) {
            say(&format!("{origin}: the token is sent in the clear; is there no https there?"));
        }
        let tls = outbound::trust(args.ca_file.as_deref(), "--ca-file")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Some(Self { origin, token, tls, runtime }))
    }

    /// What is answered to a GET of `target`.
    ///
    /// # Errors
    /// Words that say what to do.
    pub(super) fn get(&self, target: &str) -> Result<String, String> {
        self.fetched(target).map_err(|refused| refused.words)
    }

    fn fetched(&self, target: &str) -> Result<String, Refused> {
        self.runtime.block_on(async {
            let answer = self.asked(target).await?;
            let body = outbound::read(answer, ANSWER_BYTES_MAX, PATIENCE).await;
            let body = body.map_err(|why| self.refused(&why))?;
            Ok(String::from_utf8_lossy(&body).into_owned())
        })
    }

    /// All of a list, which comes in parts; `None` where there is no such list, or not for this token.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) fn list(&self, target: &str) -> Result<Option<Vec<Value>>, String> {
        let mut all = Vec::new();
        let mut part = target.to_owned();
        loop {
            let text = match self.fetched(&part) {
                Ok(text) => text,
                Err(refused) if refused.is_absent => return Ok(None),
                Err(refused) => return Err(refused.words),
            };
            let mut answer: Value = serde_json::from_str(&text)
                .map_err(|_| self.words("its answer is not JSON: is it of the same version?"))?;
            if let Value::Array(items) = answer["items"].take() {
                all.extend(items);
            }
            let Some(next) = answer["next"].as_str() else { return Ok(Some(all)) };
            part = target.to_owned();
            socket::add(&mut part, "after", next);
        }
    }

    /// What [`Self::get`] is answered, written to `out` as it comes.
    pub(super) fn copy(&self, target: &str, out: &mut impl Write) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let answer = self.asked(target).await;
            let mut body = answer.map_err(|refused| Failure::Words(refused.words))?.into_body();
            loop {
                let early = |why: &str| {
                    Failure::Words(self.words(&format!("the answer has ended early: {why}")))
                };
                let frame = timeout(PATIENCE, body.frame()).await;
                match frame.map_err(|_| early("nothing came for too long"))? {
                    None => return out.flush().map_err(Failure::Output),
                    Some(Err(error)) => return Err(early(&error.to_string())),
                    Some(Ok(frame)) => {
                        let bytes = frame.data_ref().map_or(&[][..], |data| data);
                        out.write_all(bytes).map_err(Failure::Output)?;
                    }
                }
            }
        })
    }

    /// The head of an answer that is none of refusal.
    async fn asked(&self, target: &str) -> Result<Response<Incoming>, Refused> {
        let url = Url { origin: self.origin.clone(), target: target.to_owned() };
        let fields = self.token.iter().map(|token| (AUTHORIZATION, token.clone())).collect();
        let call = Call {
            method: Method::GET,
            url: &url,
            fields,
            body: Bytes::new(),
            tls: Arc::clone(&self.tls),
            may_dial: &|_| true,
            patience: PATIENCE,
            deadline: 2 * PATIENCE,
        };
        let answer = call.send().await.map_err(|why| {
            let remedy = match why.starts_with("TLS: ") {
                true => "; --ca-file names certificates to be trusted beside the system's",
                false => "; --url is where the gateway's dashboard is",
            };
            self.refused(&format!("{why}{remedy}"))
        })?;
        let (status, location) = (answer.status(), answer.headers().get(LOCATION).cloned());
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let body = outbound::read(answer, ANSWER_BYTES_MAX, PATIENCE).await.unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_absent = status == StatusCode::NOT_FOUND && problem["detail"].is_string();
        let why = refusal(status, &problem, location.as_ref(), self.token.is_some());
        Err(Refused { is_absent, words: self.words(&why) })
    }

    fn refused(&self, what: &str) -> Refused {
        Refused { is_absent: false, words: self.words(what) }
    }

    fn words(&self, what: &str) -> String {
        format!("{}: {what}", self.origin)
    }
}

/// A refusal, and what to do.
fn refusal(
    status: StatusCode,
    problem: &Value,
    location: Option<&HeaderValue>,
    has_token: bool,
) -> String {
    let said = problem["detail"].as_str();
    let code = status.as_u16();
    match (code, said) {
        (401, Some(_)) if has_token => {
            "it does not know the token, or not any more: its page `API tokens` makes one"
                .to_owned()
        }
        (401, Some(_)) => {
            "it wants an API token: in the variable PULLGATE_TOKEN, or in the file of --token-file"
                .to_owned()
        }
        (404, Some(_)) => "there is no such package, or the token does not reach it".to_owned(),
        (_, Some(said)) => said.to_owned(),
        (300..=399, None) => {
            let to = location.and_then(|to| to.to_str().ok()).unwrap_or_default();
            format!("it answers {code} and leads to {to:?}: --url is where the dashboard itself is")
        }
        (_, None) => {
            format!(
                "it answers {code}, and not as a pullgate does: --url is where its dashboard is"
            )
        }
    }
}

/// Where a gateway is, as it is typed.
fn origin(text: &str) -> Result<Origin, String> {
    let url = Url::parse(text.as_bytes())
        .map_err(|why| format!("--url {text:?}: {why}; it is like https://counts.acme.com"))?;
    match url.target.as_str() {
        "/" => Ok(url.origin),
        more => Err(format!("--url {text:?}: without {more:?}: host and port are enough")),
    }
}

/// The token that is typed, or in the file, or in the variable.
fn token(args: &Elsewhere) -> Result<Option<HeaderValue>, String> {
    let from_file = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (text, origin) = match (&args.token, &args.token_file) {
        (Some(token), _) => (token.clone(), "--token".to_owned()),
        (None, Some(path)) => (from_file(path)?, path.display().to_string()),
        (None, None) => match std::env::var(VARIABLE) {
            Ok(token) => (token, VARIABLE.to_owned()),
            Err(_) => return Ok(None),
        },
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{origin}: holds no token: one is like pullgate_0a1b…"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {text}"))
        .map_err(|_| format!("{origin}: holds no token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Whether that is this machine.
fn is_here(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

const VARIABLE: &str = "PULLGATE_TOKEN";
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer that is taken as a whole: a table of many thousand rows.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gateway_is_a_host_and_nothing_behind_it() {
        for (typed, expected) in [
            ("https://counts.acme.com", "https://counts.acme.com"),
            ("https://Counts.acme.com/", "https://counts.acme.com"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ] {
            assert_eq!(origin(typed).unwrap().to_string(), expected);
        }
        for (typed, words) in [
            ("counts.acme.com", "it is like https://counts.acme.com"),
            ("https://a.b/packages", "without \"/packages\""),
            ("https://ada:secret@a.b/", "it is like"),
        ] {
            let refused = origin(typed).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let problem = json!({ "detail": "from: is the earlier time" });
        for (status, problem, has_token, words) in [
            (401, &problem, true, "does not know the token"),
            (401, &problem, false, "PULLGATE_TOKEN"),
            (403, &problem, true, "from: is"),
            (404, &problem, true, "no such package"),
            (404, &Value::Null, true, "not as a pullgate does"),
            (302, &Value::Null, true, "leads to \"/login\""),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let location = HeaderValue::from_static("/login");
            let said = refusal(status, problem, Some(&location), has_token);
            assert!(said.contains(words), "{status}: {said}");
        }
    }
}
