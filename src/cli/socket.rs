//! Questions to a running gateway, over the control socket in its `data_dir`.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// What the gateway answers to a GET of `target`, or to a POST of JSON, or that nobody listens.
///
/// # Errors
/// Words, where the question cannot even be asked.
pub(super) fn ask(
    data: &Path,
    target: &str,
    json: Option<Vec<u8>>,
) -> Result<io::Result<(StatusCode, String)>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let socket = data.join(NAME);
    let patience = if json.is_some() { PATIENCE_WITH_CHANGES } else { PATIENCE };
    Ok(runtime.block_on(async {
        tokio::time::timeout(patience, over_socket(&socket, target, json))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }))
}

/// Adds a parameter to a question.
pub(super) fn add(target: &mut String, key: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(key);
    target.push('=');
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                target.push(char::from(byte));
            }
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
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
) -> io::Result<(StatusCode, String)> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let method = if json.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "pullgate")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json.unwrap_or_default())))
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

const NAME: &str = "control.sock";
const PATIENCE: Duration = Duration::from_secs(30);
/// The whole store may be written.
const PATIENCE_WITH_CHANGES: Duration = Duration::from_secs(3600);
