//! A read-only registry in this process: the demo's backend, and an origin for tests.
//!
//! It serves images from memory as the OCI distribution specification says for pulls, without
//! asking who pulls.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::image::{Content, Image};

/// A running registry, on a thread of its own. Dropping it stops it at once.
pub struct Registry {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a registry holds of one repository.
pub struct Repository {
    tags: Vec<String>,
    manifests: HashMap<String, Content>,
    blobs: HashMap<String, Content>,
}

/// One request, as the registry saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `HEAD` and so on.
    pub method: String,
    /// The request target, query included.
    pub target: String,
    /// Empty when there was none.
    pub user_agent: String,
    /// Whether there was an `Authorization`; what it said is not kept.
    pub authorized: bool,
}

impl Registry {
    /// Serves `repositories`, by name, on `address` (port 0 for any), and shows each request to
    /// `watch` before it is answered.
    ///
    /// # Errors
    /// What binding the address or starting the thread says.
    pub fn start(
        address: SocketAddr,
        repositories: HashMap<String, Repository>,
        watch: impl Fn(Seen) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let shelf = Arc::new((repositories, watch));
        let router = Router::new().fallback(move |request: Request| {
            let shelf = Arc::clone(&shelf);
            async move {
                let (repositories, watch) = &*shelf;
                watch(Seen::of(&request));
                answer(repositories, &request)
            }
        });
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("registry".into()).spawn(move || {
            // Leaving the runtime drops its connections with it.
            runtime.block_on(async {
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

impl Repository {
    /// A repository that holds `image` under each of `tags`.
    pub fn of(image: &Image, tags: &[&str]) -> Self {
        let by_digest = |content: &Content| (content.digest.clone(), content.clone());
        let mut manifests: HashMap<_, _> = image.manifests().map(by_digest).collect();
        manifests.extend(tags.iter().map(|&tag| (tag.to_owned(), image.index.clone())));
        Self {
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            manifests,
            blobs: image.blobs().map(by_digest).collect(),
        }
    }
}

impl Seen {
    fn of(request: &Request) -> Self {
        let user_agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
        Self {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            user_agent: String::from_utf8_lossy(user_agent.unwrap_or_default()).into_owned(),
            authorized: request.headers().contains_key(header::AUTHORIZATION),
        }
    }
}

/// OCI distribution specification, "Pull". The body of an answer to HEAD is dropped by the server
/// below, its length kept.
fn answer(repositories: &HashMap<String, Repository>, request: &Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only");
    }
    let Some(path) = request.uri().path().strip_prefix("/v2") else {
        return refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "the API is below /v2/");
    };
    if matches!(path, "" | "/") {
        return of_json(StatusCode::OK, &json!({}));
    }
    let Some((name, kind, last)) = split(path) else {
        return refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such path");
    };
    let Some(repository) = repositories.get(name) else {
        return refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    };
    match kind {
        Kind::Manifests => match repository.manifests.get(last) {
            Some(manifest) => whole(manifest),
            None => refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest"),
        },
        Kind::Blobs => match repository.blobs.get(last) {
            Some(blob) => whole_or_part(blob, request.headers()),
            None => refuse(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob"),
        },
        Kind::Tags => of_json(StatusCode::OK, &json!({ "name": name, "tags": repository.tags })),
        Kind::Referrers => of_json(
            StatusCode::OK,
            &json!({ "schemaVersion": 2, "mediaType": MEDIA_TYPE_INDEX, "manifests": [] }),
        ),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Manifests,
    Blobs,
    Tags,
    Referrers,
}

/// `/<name>/<kind>/<reference>`, where the name may have slashes.
fn split(path: &str) -> Option<(&str, Kind, &str)> {
    let (front, last) = path.strip_prefix('/')?.rsplit_once('/')?;
    let (name, kind) = front.rsplit_once('/')?;
    let kind = match (kind, last) {
        ("manifests", _) => Kind::Manifests,
        ("blobs", _) => Kind::Blobs,
        ("tags", "list") => Kind::Tags,
        ("referrers", _) => Kind::Referrers,
        _ => return None,
    };
    Some((name, kind, last))
}

fn whole(content: &Content) -> Response {
    of_bytes(StatusCode::OK, content, content.bytes.clone())
}

fn whole_or_part(content: &Content, headers: &HeaderMap) -> Response {
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let length = content.bytes.len();
    let mut response = match asked.map(|asked| part(asked, length)) {
        None | Some(Part::Whole) => whole(content),
        Some(Part::Bytes(range)) => {
            let mark = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let bytes = content.bytes.get(range).unwrap_or_default().to_vec();
            let mut response = of_bytes(StatusCode::PARTIAL_CONTENT, content, bytes);
            set(&mut response, header::CONTENT_RANGE, &mark);
            response
        }
        Some(Part::Outside) => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let mut response = refuse(status, "UNSUPPORTED", "the blob has no such range");
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            response
        }
    };
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Bytes(Range<usize>),
    Outside,
}

/// Reads a `Range` (RFC 9110, 14.2). What is not one range of bytes is ignored, as it allows.
fn part(asked: &str, length: usize) -> Part {
    let Some((first, last)) = asked.strip_prefix("bytes=").and_then(|spec| spec.split_once('-'))
    else {
        return Part::Whole;
    };
    let range = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Part::Whole,
    };
    if range.is_empty() { Part::Outside } else { Part::Bytes(range) }
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response =
        of_json(status, &json!({ "errors": [{ "code": code, "message": message }] }));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        set(&mut response, header::ALLOW, "GET, HEAD");
    }
    response
}

fn of_json(status: StatusCode, value: &serde_json::Value) -> Response {
    respond(status, "application/json", value.to_string().into_bytes())
}

fn of_bytes(status: StatusCode, content: &Content, bytes: Vec<u8>) -> Response {
    let mut response = respond(status, content.media_type, bytes);
    set(&mut response, DOCKER_CONTENT_DIGEST, &content.digest);
    response
}

fn respond(status: StatusCode, media_type: &str, bytes: Vec<u8>) -> Response {
    let length = bytes.len().to_string();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, media_type);
    set(&mut response, header::CONTENT_LENGTH, &length);
    set(&mut response, DOCKER_API_VERSION, "registry/2.0");
    response
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

const DOCKER_CONTENT_DIGEST: header::HeaderName =
    header::HeaderName::from_static("docker-content-digest");
const DOCKER_API_VERSION: header::HeaderName =
    header::HeaderName::from_static("docker-distribution-api-version");
const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn serves_what_a_pull_asks_for() {
        let image = Image::hello().unwrap();
        let (registry, _) = registry(&image);
        let index = &image.index;
        let blob = &image.platforms[0].layers[2];

        assert!(ask(&registry, "GET /v2/", "").contains("registry/2.0"));
        let by_tag = ask(&registry, "GET /v2/demo/hello/manifests/latest", "");
        assert!(by_tag.contains(&format!("content-type: {}\r\n", index.media_type)), "{by_tag}");
        assert!(by_tag.contains(&format!("docker-content-digest: {}\r\n", index.digest)));
        assert!(by_tag.ends_with(std::str::from_utf8(&index.bytes).unwrap()));
        let by_digest = format!("GET /v2/demo/hello/manifests/{}", index.digest);
        assert!(ask(&registry, &by_digest, "").starts_with("HTTP/1.1 200 OK\r\n"));
        let head = ask(&registry, "HEAD /v2/demo/hello/manifests/latest", "");
        assert!(head.contains(&format!("content-length: {}\r\n", index.bytes.len())), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let part = format!("GET /v2/demo/hello/blobs/{}", blob.digest);
        let part = ask(&registry, &part, "Range: bytes=2-5\r\n");
        assert!(part.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{part}");
        let range = format!("content-range: bytes 2-5/{}\r\n", blob.bytes.len());
        assert!(part.contains(&range), "{part}");
        assert!(part.contains("content-length: 4\r\n"), "{part}");
    }

    #[test]
    fn refuses_in_the_specifications_words() {
        let (registry, _) = registry(&Image::hello().unwrap());
        for (request, status, code) in [
            ("GET /v2/demo/other/manifests/latest", "404", "NAME_UNKNOWN"),
            ("GET /v2/demo/hello/manifests/none", "404", "MANIFEST_UNKNOWN"),
            ("GET /v2/demo/hello/blobs/sha256:00", "404", "BLOB_UNKNOWN"),
            ("PUT /v2/demo/hello/manifests/latest", "405", "UNSUPPORTED"),
        ] {
            let answer = ask(&registry, request, "");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
            assert!(answer.contains(code), "{request}: {answer}");
        }
    }

    #[test]
    fn shows_each_request() {
        let (registry, seen) = registry(&Image::hello().unwrap());
        ask(&registry, "HEAD /v2/a?n=1", "User-Agent: curl/8\r\nAuthorization: Basic eA==\r\n");
        let seen = seen.recv().unwrap();
        assert_eq!(seen.method, "HEAD");
        assert_eq!(seen.target, "/v2/a?n=1");
        assert_eq!(seen.user_agent, "curl/8");
        assert!(seen.authorized);
    }

    #[test]
    fn is_gone_when_dropped() {
        let (registry, _) = registry(&Image::hello().unwrap());
        let address = registry.address();
        let mut idle = TcpStream::connect(address).unwrap();
        drop(registry);
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_part_is_one_range_of_bytes() {
        for (asked, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=4-", Part::Bytes(4..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=8-99", Part::Bytes(8..10)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(asked, 10), expected, "{asked}");
        }
    }

    fn registry(image: &Image) -> (Registry, mpsc::Receiver<Seen>) {
        let repositories =
            HashMap::from([("demo/hello".to_owned(), Repository::of(image, &["latest"]))]);
        let (send, seen) = mpsc::channel();
        let watch = move |request| drop(send.send(request));
        (Registry::start((Ipv4Addr::LOCALHOST, 0).into(), repositories, watch).unwrap(), seen)
    }

    fn ask(registry: &Registry, request: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(registry.address()).unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
