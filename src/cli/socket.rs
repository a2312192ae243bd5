//! Questions to a running gateway, over the control socket in its `data_dir`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::pure::query::put_encoded;

/// What the gateway answers to a GET of `target`, or to a POST of JSON, or that nobody listens.
///
/// # Errors
/// Words, where the question cannot even be asked.
pub(super) fn ask(
    data: &Path,
    target: &str,
    json: Option<Vec<u8>>,
) -> Result<io::Result<(StatusCode, String)>, String> {
    let patience = if json.is_some() { PATIENCE_WITH_CHANGES } else { PATIENCE };
    let (socket, runtime) = (data.join(NAME), runtime()?);
    Ok(runtime.block_on(within(patience, async {
        let response = over_socket(&socket, target, json).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    })))
}

/// The lines that the gateway answers to a GET of `target`, one by one; or its refusal.
///
/// # Errors
/// As [`ask`].
pub(super) fn lines(data: &Path, target: &str) -> Result<io::Result<Begun>, String> {
    let (socket, runtime) = (data.join(NAME), runtime()?);
    let begun = runtime.block_on(within(PATIENCE, async {
        let response = over_socket(&socket, target, None).await?;
        if response.status() == StatusCode::OK {
            return Ok(Ok(response.into_body()));
        }
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Err(String::from_utf8_lossy(&body).into_owned()))
    }));
    Ok(begun.map(|begun| match begun {
        Ok(body) => Begun::Lines(Lines { runtime, body, came: Vec::new() }),
        Err(body) => Begun::Refused(body),
    }))
}

/// How an answer in lines begins.
pub(super) enum Begun {
    /// Each is read from here.
    Lines(Lines),
    /// What the body of a refusal is.
    Refused(String),
}

/// An answer that comes line by line.
pub(super) struct Lines {
    runtime: Runtime,
    body: Incoming,
    /// What has come, and was not given out yet.
    came: Vec<u8>,
}

impl Lines {
    /// The next line; `None` after the last.
    ///
    /// # Errors
    /// The gateway has ended, or says nothing for too long.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.came.iter().position(|byte| *byte == b'\n') {
                let rest = self.came.split_off(end + 1);
                let line = std::mem::replace(&mut self.came, rest);
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            let body = &mut self.body;
            let frame = async { body.frame().await.transpose().map_err(io::Error::other) };
            match self.runtime.block_on(within(PATIENCE, frame))? {
                None => return Ok(None),
                Some(frame) => self.came.extend(frame.data_ref().into_iter().flatten()),
            }
        }
    }
}

impl Lines {
    /// All that comes, whatever it is, written to `out`.
    ///
    /// # Errors
    /// It breaks off, or cannot be written.
    pub(super) fn copy(mut self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&self.came)?;
        loop {
            let body = &mut self.body;
            let frame = async { body.frame().await.transpose().map_err(io::Error::other) };
            match self.runtime.block_on(within(PATIENCE, frame))? {
                None => return out.flush(),
                Some(frame) => out.write_all(frame.data_ref().map_or(&[][..], |data| data))?,
            }
        }
    }
}

fn runtime() -> Result<Runtime, String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().map_err(|error| error.to_string())
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let told = tokio::time::timeout(patience, what).await;
    told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Adds a parameter to a question.
pub(super) fn add(target: &mut String, key: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(key);
    target.push('=');
    put_encoded(target, value);
}

/// Words for a gateway that was not heard.
pub(super) fn unheard(data: &Path, error: &io::Error) -> String {
    let socket = data.join(NAME);
    let remedy = if is_alone(error) {
        "no gateway runs on this data_dir: --data names it"
    } else {
        "is this the gateway's user?"
    };
    format!("{}: {error}: {remedy}", socket.display())
}

/// Whether nobody listens: no gateway runs, or it was killed.
pub(super) fn is_alone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn over_socket(
    socket: &Path,
    target: &str,
    json: Option<Vec<u8>>,
) -> io::Result<Response<Incoming>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let method = if json.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "pullgate")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json.unwrap_or_default())))
        .map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

const NAME: &str = "control.sock";
const PATIENCE: Duration = Duration::from_secs(30);
/// The whole store may be written.
const PATIENCE_WITH_CHANGES: Duration = Duration::from_secs(3600);
