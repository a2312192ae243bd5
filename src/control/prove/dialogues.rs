//! Questions to registries that answer by a script, as dialogues.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_rustls::TlsAcceptor;

use super::ask::{Asker, is_for_all};
use super::{Answer, Facts};
use crate::control::keys;
use crate::control::tests::{compiled, scratch};
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::Origin;
use crate::pure::proof::Proof;

/// A server that answers each request, known by its target, as `script` says, and closes.
struct Scripted {
    address: SocketAddr,
    heads: Receiver<String>,
}

/// Lines of `target => answer`; `SELF` stands for the server's own origin, `\n` in an answer for a
/// new line, and its last line is the body.
async fn scripted(script: &str, tls: Option<TlsAcceptor>) -> Scripted {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = script.replace("SELF", &format!("http://{address}"));
    let (said, heads) = channel(100);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let head = match &tls {
                None => serve(stream, &script).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &script).await,
                    Err(refused) => refused.to_string(),
                },
            };
            said.send(head).await.unwrap();
        }
    });
    Scripted { address, heads }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            break;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let answers = script.lines().filter_map(|line| line.trim().split_once(" => "));
    let answers = answers.filter(|(asked, _)| *asked == target).map(|(_, answer)| answer);
    let answers: Vec<&str> = answers.collect();
    // With a token the second answer to the same target counts.
    let nth = if head.contains("authorization: ") { answers.last() } else { answers.first() };
    if let Some(answer) = nth {
        let (fields, body) = answer.rsplit_once("\\n").unwrap_or((*answer, ""));
        let fields = fields.replace("\\n", "\r\n");
        let length = body.len();
        let text = format!("HTTP/1.1 {fields}\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
    head
}

impl Scripted {
    /// What it was asked: `GET /v2/`, with what stood in `Authorization` behind it.
    fn asked(&mut self) -> Vec<String> {
        let heads = std::iter::from_fn(|| self.heads.try_recv().ok());
        heads
            .map(|head| {
                let mut lines = head.split("\r\n");
                let line = lines.next().unwrap_or_default().replace(" HTTP/1.1", "");
                let authorization = lines.filter_map(|line| line.strip_prefix("authorization: "));
                authorization.fold(line, |line, value| format!("{line} {value}"))
            })
            .collect()
    }
}

fn asker(backend: &str, more: &str) -> (Asker, String) {
    let text = format!(
        "{more}\n[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/rocket\"\n\
         backend = \"{backend}/acme/rocket\"\n"
    );
    let (config, snapshot) = compiled(&text);
    let keyring = keys::read("pullgate.toml", &config).unwrap().keyring(&snapshot.registries);
    let base = snapshot.registries[0].base.clone();
    (Asker::new(Arc::new(snapshot), Arc::new(keyring)), base)
}

/// What is made of a registry's script, and the requests that it took.
async fn check_asking(repository: Option<&str>, script: &str, answer: Answer, asked: &[&str]) {
    let mut registry = scripted(script, None).await;
    let (asker, base) = asker(&format!("http://{}", registry.address), ALLOWED);
    assert_eq!(asker.ask(&base, repository).await, answer, "{script}");
    assert_eq!(registry.asked(), asked, "{script}");
}

async fn check_base(script: &str, challenge: Option<&str>) {
    let challenge = challenge.map(str::to_owned);
    let answer = Answer::Base(Facts { challenge, is_for_all: false });
    check_asking(None, script, answer, &["GET /v2/"]).await;
}

async fn check_rocket(script: &str, answer: Answer, asked: &[&str]) {
    check_asking(Some("acme/rocket"), script, answer, asked).await;
}

#[tokio::test]
async fn a_base_says_whether_it_asks_for_a_login() {
    check_base(r"/v2/ => 200 OK\n{}", None).await;
    check_base(r"/v2/ => 404 Not Found\n", None).await;
    // Seen at old GCR.
    check_base(r"/v2/ => 401 Unauthorized\n", None).await;
    check_base(
        r#"/v2/ => 401 Unauthorized\nWWW-Authenticate: Bearer realm="https://a/t",service="s"\n{}"#,
        Some(r#"Bearer realm="https://a/t",service="s""#),
    )
    .await;
    check_base(
        r#"/v2/ => 401 Unauthorized\nWWW-Authenticate: Basic realm="r"\nWWW-Authenticate: X\n{}"#,
        Some(r#"Basic realm="r", X"#),
    )
    .await;
}

#[tokio::test]
async fn a_repository_that_serves_strangers_is_open() {
    let open = Answer::Repository(Proof::Open);
    check_rocket(r"/v2/acme/rocket/tags/list?n=1 => 200 OK\n{}", open.clone(), &[TAGS]).await;
    let page = r"/v2/acme/rocket/tags/list?n=1 => 200 OK\n<html>Log in</html>";
    check_rocket(page, Answer::Repository(Proof::Refused), &[TAGS]).await;
    check_rocket(
        r"/v2/acme/rocket/tags/list?n=1 => 307 Temporary Redirect\nLocation: /elsewhere\n
          /elsewhere => 200 OK\n{}",
        open,
        &[TAGS, "GET /elsewhere"],
    )
    .await;
}

#[tokio::test]
async fn a_repository_that_serves_those_with_an_anonymous_token_says_so() {
    check_rocket(
        r#"/v2/acme/rocket/tags/list?n=1 => 401 Unauthorized\nWWW-Authenticate: Bearer realm="SELF/token",service="r",scope="repository:user/image:pull"\n
           /v2/acme/rocket/tags/list?n=1 => 200 OK\n{}
           /token?service=r&scope=repository%3Aacme%2Frocket%3Apull => 200 OK\n{"token":"t0k3n"}"#,
        Answer::Repository(Proof::WithToken),
        &[
            TAGS,
            "GET /token?service=r&scope=repository%3Aacme%2Frocket%3Apull",
            "GET /v2/acme/rocket/tags/list?n=1 Bearer t0k3n",
        ],
    )
    .await;
}

#[tokio::test]
async fn everything_else_is_refused() {
    let refused = || Answer::Repository(Proof::Refused);
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let script = format!(r"/v2/acme/rocket/tags/list?n=1 => {status}\n{{}}");
        check_rocket(&script, refused(), &[TAGS]).await;
    }
    check_rocket(
        r#"/v2/acme/rocket/tags/list?n=1 => 401 Unauthorized\nWWW-Authenticate: Basic realm="r"\n"#,
        refused(),
        &[TAGS],
    )
    .await;
    // A realm that is not the registry's hears nothing.
    check_rocket(
        r#"/v2/acme/rocket/tags/list?n=1 => 401 Unauthorized\nWWW-Authenticate: Bearer realm="http://127.0.0.9:1/token"\n"#,
        refused(),
        &[TAGS],
    )
    .await;
    // A token service that leads elsewhere is not followed, and one that denies is believed.
    for status in [r"307 Temporary Redirect\nLocation: /v2/\n", r"403 Forbidden\n{}"] {
        check_rocket(
            &format!(
                r#"/v2/acme/rocket/tags/list?n=1 => 401 Unauthorized\nWWW-Authenticate: Bearer realm="SELF/token"\n
                   /token?scope=repository%3Aacme%2Frocket%3Apull => {status}"#
            ),
            refused(),
            &[TAGS, "GET /token?scope=repository%3Aacme%2Frocket%3Apull"],
        )
        .await;
    }
}

#[tokio::test]
async fn what_a_registry_cannot_answer_is_no_answer() {
    let pause = Some(Duration::from_secs(7));
    let script = r"/v2/acme/rocket/tags/list?n=1 => 429 Too Many Requests\nRetry-After: 7\n{}";
    check_rocket(script, Answer::Failed(pause), &[TAGS]).await;
    let script = r"/v2/acme/rocket/tags/list?n=1 => 503 Service Unavailable\n";
    check_rocket(script, Answer::Failed(None), &[TAGS]).await;
    // It closes without a word.
    check_rocket("", Answer::Failed(None), &[TAGS]).await;
    let script = format!(r"/v2/acme/rocket/tags/list?n=1 => 200 OK\nX: {}\n", "x".repeat(99_999));
    check_rocket(&script, Answer::Failed(None), &[TAGS]).await;
    let script =
        r"/v2/acme/rocket/tags/list?n=1 => 302 Found\nLocation: /v2/acme/rocket/tags/list?n=1\n";
    check_rocket(script, Answer::Failed(None), &[TAGS; 5]).await;
}

#[tokio::test]
async fn a_redirect_to_an_address_that_may_not_be_dialled_leads_nowhere() {
    let mut inside = scripted(r"/secret => 200 OK\n{}", None).await;
    let script = format!(
        r"/v2/acme/rocket/tags/list?n=1 => 302 Found\nLocation: http://{}/secret\n",
        inside.address
    );
    let mut registry = scripted(&script, None).await;
    // The registry is written as an address, which allows that very address and port.
    let (asker, base) = asker(&format!("http://{}", registry.address), "");
    assert_eq!(asker.ask(&base, Some("acme/rocket")).await, Answer::Failed(None));
    assert_eq!((registry.asked(), inside.asked()), (vec![TAGS.to_owned()], vec![]));
}

#[tokio::test]
async fn a_registry_with_a_certificate_of_its_own_is_trusted_by_its_ca_file() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(server));
    let mut registry = scripted(r"/v2/ => 200 OK\n{}", Some(tls)).await;
    let backend = format!("https://{}", registry.address);
    let (stranger, base) = asker(&backend, "");
    assert_eq!(stranger.ask(&base, None).await, Answer::Failed(None));

    let dir = scratch();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, certified.cert.pem()).unwrap();
    let more = format!(
        "[[registries]]\nhost = \"{}\"\nca_file = \"{}\"\n",
        registry.address,
        ca_file.display()
    );
    let (friend, base) = asker(&backend, &more);
    let facts = Facts { challenge: None, is_for_all: false };
    assert_eq!(friend.ask(&base, None).await, Answer::Base(facts));
    assert_eq!(registry.asked().last().unwrap(), "GET /v2/");
}

#[test]
fn clients_are_sent_to_https_and_public_addresses_alone() {
    let check = |scheme, addresses: &[&str], expected| {
        let origin = Origin::new(scheme, "registry.example.net").unwrap();
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(is_for_all(&origin, &addresses), expected, "{origin} {addresses:?}");
    };
    check(Scheme::Https, &["140.82.121.33"], true);
    check(Scheme::Https, &["140.82.121.33", "2606:50c0:8000::153"], true);
    check(Scheme::Http, &["140.82.121.33"], false);
    check(Scheme::Https, &["140.82.121.33", "10.0.0.1"], false);
    check(Scheme::Https, &["127.0.0.1"], false);
    check(Scheme::Https, &["::ffff:192.168.0.1"], false);
    check(Scheme::Https, &[], false);
}

const TAGS: &str = "GET /v2/acme/rocket/tags/list?n=1";
const ALLOWED: &str = "[upstream]\nallow_private = [\"127.0.0.0/8\"]\n";
