//! Questions to a gateway elsewhere, and what is changed there, by its API (`/api/v1`).

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, LOCATION};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::elsewhere::{Elsewhere, Pass};
use super::plain::plain;
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

/// What is answered about one thing.
pub(super) struct Told {
    /// Which state of it that is.
    pub(super) tag: Option<HeaderValue>,
    /// Null where nothing is said.
    pub(super) said: Value,
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
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl Remote {
    /// The one that the command line names, if it does.
    ///
    /// # Errors
    /// Words, where what it says of it cannot be used.
    pub(super) fn of(args: &Elsewhere) -> Result<Option<Self>, String> {
        args.url.as_ref().map(|url| Self::at(url, &args.pass)).transpose()
    }

    /// The one at this address.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn at(url: &str, pass: &Pass) -> Result<Self, String> {
        let origin = origin(url)?;
        let token = token(pass)?;
        if origin.scheme == Scheme::Http && token.is_some() && !is_here(&origin.host) {
            say(&format!("{origin}: the token is sent in the clear; is there no https there?"));
        }
        let tls = outbound::trust(pass.ca_file.as_deref(), "--ca-file")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Self { origin, token, tls, runtime })
    }

    /// What is answered to a GET of `target`.
    ///
    /// # Errors
    /// Words that say what to do.
    pub(super) fn get(&self, target: &str) -> Result<String, String> {
        self.fetched(target).map_err(|refused| refused.words)
    }

    /// What is answered to a request about one thing, of which `tag` says the state that is meant.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) fn tell(
        &self,
        method: Method,
        target: &str,
        tag: Option<HeaderValue>,
        body: Option<&Value>,
    ) -> Result<Told, String> {
        let body = body.map(|body| body.to_string().into());
        let told = self.runtime.block_on(async {
            let answer = self.asked_by((method, target), tag, body).await?;
            let tag = answer.headers().get(ETAG).cloned();
            Ok((tag, self.whole(answer).await?))
        });
        let (tag, text) = told.map_err(|refused: Refused| refused.words)?;
        let said = match text.is_empty() {
            true => Value::Null,
            false => self.json(&text)?,
        };
        Ok(Told { tag, said })
    }

    fn fetched(&self, target: &str) -> Result<String, Refused> {
        self.runtime.block_on(async {
            let answer = self.asked(target).await?;
            self.whole(answer).await
        })
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<String, Refused> {
        let body = outbound::read(answer, ANSWER_BYTES_MAX, PATIENCE).await;
        let body = body.map_err(|why| self.refused(&why))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn json(&self, text: &str) -> Result<Value, String> {
        serde_json::from_str(text)
            .map_err(|_| self.words("its answer is not JSON: is it of the same version?"))
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
            let mut answer = self.json(&text)?;
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
            let answer = self.asked(target).await.map_err(|refused| refused.words)?;
            self.copied(answer, out).await
        })
    }

    /// What is answered to a request about what `tag` says the state of, with this JSON as its body, written to `out`
    /// as it comes; where that is wanted, behind its head.
    pub(super) fn pass(
        &self,
        request: (Method, &str),
        tag: Option<HeaderValue>,
        json: Option<Bytes>,
        with_head: bool,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let answer =
                self.asked_by(request, tag, json).await.map_err(|refused| refused.words)?;
            if with_head {
                writeln!(out, "{:?} {}", answer.version(), answer.status())?;
                for (name, value) in answer.headers() {
                    writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
                }
                writeln!(out)?;
            }
            self.copied(answer, out).await
        })
    }

    async fn copied(
        &self,
        answer: Response<Incoming>,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let early =
            |why: &str| Failure::Words(self.words(&format!("the answer has ended early: {why}")));
        let mut body = answer.into_body();
        loop {
            let frame = timeout(PATIENCE, body.frame()).await;
            match frame.map_err(|_| early("nothing came for too long"))? {
                None => return Ok(out.flush()?),
                Some(Err(error)) => return Err(early(&error.to_string())),
                Some(Ok(frame)) => out.write_all(frame.data_ref().map_or(&[][..], |data| data))?,
            }
        }
    }

    /// The head of an answer that is none of refusal.
    async fn asked(&self, target: &str) -> Result<Response<Incoming>, Refused> {
        self.asked_by((Method::GET, target), None, None).await
    }

    async fn asked_by(
        &self,
        (method, target): (Method, &str),
        tag: Option<HeaderValue>,
        json: Option<Bytes>,
    ) -> Result<Response<Incoming>, Refused> {
        let url = Url { origin: self.origin.clone(), target: target.to_owned() };
        let kind =
            json.as_ref().map(|_| (CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let fields = self.token.iter().map(|token| (AUTHORIZATION, token.clone()));
        let fields: Vec<_> = fields.chain(tag.map(|tag| (IF_MATCH, tag))).chain(kind).collect();
        let body = json.unwrap_or_default();
        let call = Call {
            method,
            url: &url,
            fields,
            body,
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
        if status.is_success() {
            return Ok(answer);
        }
        let body = outbound::read(answer, ANSWER_BYTES_MAX, PATIENCE).await.unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_absent = status == StatusCode::NOT_FOUND && problem["detail"].is_string();
        let why = match is_absent {
            true => absent(target),
            false => refusal(status, &problem, location.as_ref(), self.token.is_some()),
        };
        Err(Refused { is_absent, words: self.words(&why) })
    }

    /// That there is no such thing.
    pub(super) fn absent(&self, target: &str) -> String {
        self.words(&absent(target))
    }

    fn refused(&self, what: &str) -> Refused {
        Refused { is_absent: false, words: self.words(what) }
    }

    /// Whatever it says of itself, it does not steer the terminal.
    fn words(&self, what: &str) -> String {
        format!("{}: {}", self.origin, plain(what))
    }
}

/// That there is nothing at this target, or not for who asks.
fn absent(target: &str) -> String {
    // What is not there of a package may be the package.
    let (path, of) = target.split_once('?').unwrap_or((target, ""));
    let what = match path.rsplit('/').next().is_some_and(|last| last.parse::<i64>().is_ok()) {
        true => "thing of this number",
        false if of.contains("organisation=") => "organisation",
        false if of.contains("package=") => "package",
        false => "thing",
    };
    format!("there is no such {what}, or the token does not reach it")
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
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
fn token(args: &Pass) -> Result<Option<HeaderValue>, String> {
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
    fn what_is_not_there_is_said_by_what_was_asked_for() {
        for (target, what) in [
            ("/api/v1/package?package=a.b/c", "no such package"),
            ("/api/v1/people?organisation=acme", "no such organisation"),
            ("/api/v1/alerts/3?package=a.b/c", "no such thing of this number"),
            ("/api/v1/explain", "no such thing, or"),
        ] {
            assert!(absent(target).contains(what), "{}", absent(target));
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let problem = json!({ "detail": "from: is the earlier time" });
        for (status, problem, has_token, words) in [
            (401, &problem, true, "does not know the token"),
            (401, &problem, false, "PULLGATE_TOKEN"),
            (403, &problem, true, "from: is"),
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
