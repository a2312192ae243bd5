//! A token server, as registries send their clients to (distribution, "Token Authentication").

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::ServerConfig;

use super::origin::{Origin, Request, Talk};

/// Somebody's name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: &'static str,
    /// The password.
    pub password: &'static str,
}

/// Who may pull what is private.
pub const RIGHT: Login = Login { user: "ada", password: "a-test-password" };
/// Who only says so.
pub const WRONG: Login = Login { user: "ada", password: "a-guess" };
/// Passed by `RIGHT` (bcrypt, the only kind that docker-registry takes).
pub const HTPASSWD: &str = "ada:$2b$04$uamrocSXWkKQcWcy2h458.8g7Gl7l/tdHfHYOqAbcGnTT5ImK/sB.\n";

/// A running token server. It gives a token for `…/public` to anybody, for anything else to `RIGHT`
/// alone; whoever says no name gets a token that allows nothing there. It knows GET only.
pub struct Tokens {
    origin: Origin,
    /// What signs; registries get its certificate.
    certificate: rcgen::Certificate,
    /// `http://host:port/token`.
    realm: String,
}

impl Tokens {
    /// Starts one on `ip`, which clients find under `host`.
    pub fn start(ip: impl Into<IpAddr>, host: &str) -> Self {
        Self::start_with(ip, host, LONG)
    }

    /// The same, of tokens that live as long as `life` says.
    pub fn start_with(ip: impl Into<IpAddr>, host: &str, life: Life) -> Self {
        let signer = Signer { life, ..Signer::new() };
        let certificate = signer.certificate.clone();
        let origin = Origin::start(ip, move |talk| signer.serve(talk));
        let realm = format!("http://{host}:{}/token", origin.address().port());
        Self { origin, certificate, realm }
    }

    /// The same over TLS.
    pub fn start_tls(ip: impl Into<IpAddr>, host: &str, tls: Arc<ServerConfig>) -> Self {
        let signer = Signer::new();
        let certificate = signer.certificate.clone();
        let origin = Origin::start_tls(ip, tls, move |talk| signer.serve(talk));
        let realm = format!("https://{host}:{}/token", origin.address().port());
        Self { origin, certificate, realm }
    }

    /// Where clients are sent to.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// The requests since this was asked last.
    pub fn requests(&self) -> Vec<Request> {
        self.origin.requests()
    }

    /// Writes what a registry trusts tokens by.
    pub fn write_certificate(&self, file: &Path) {
        fs::write(file, self.certificate.pem()).expect("the token server's certificate");
    }
}

/// How long tokens live, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// As clients are told: `expires_in`.
    pub told: u64,
    /// As the token itself says: `exp`. docker-registry believes it a minute longer.
    pub signed: u64,
}

/// What makes tokens (RFC 7515, ES256).
struct Signer {
    life: Life,
    key: EcdsaKeyPair,
    random: SystemRandom,
    certificate: rcgen::Certificate,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate().expect("a key");
        let names = vec!["tokens.test".to_owned()];
        let params = CertificateParams::new(names).expect("a name");
        let certificate = params.self_signed(&pair).expect("a certificate");
        let random = SystemRandom::new();
        let pkcs8 = pair.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random);
        Self { life: LONG, key: key.expect("a P-256 key"), random, certificate }
    }

    fn serve(&self, talk: &mut Talk) -> io::Result<()> {
        while let Some(request) = talk.request()? {
            if request.method != "GET" {
                talk.answer(&request, "405 Method Not Allowed", &["Allow: GET"], b"")?;
                continue;
            }
            let named = request.field("authorization").map(|words| words == basic(RIGHT));
            if named == Some(false) {
                let words = br#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#;
                talk.answer(&request, "401 Unauthorized", &[JSON], words)?;
                continue;
            }
            let (_, query) = request.target.split_once('?').unwrap_or_default();
            let token = self.token(&scopes(query), named.is_some());
            let body = format!(r#"{{"token":"{token}","expires_in":{}}}"#, self.life.told);
            talk.answer(&request, "200 OK", &[JSON], body.as_bytes())?;
        }
        Ok(())
    }

    fn token(&self, repositories: &[String], is_known: bool) -> String {
        let may = |name: &&String| is_known || name.ends_with("/public");
        let access: Vec<_> = repositories
            .iter()
            .filter(may)
            .map(
                |name| serde_json::json!({"type": "repository", "name": name, "actions": ["pull"]}),
            )
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let header = serde_json::json!({
            "typ": "JWT", "alg": "ES256",
            "x5c": [base64(self.certificate.der(), STANDARD, true)],
        });
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": "", "aud": SERVICE, "jti": "a-token",
            "iat": now, "nbf": now - 60, "exp": now + self.life.signed, "access": access,
        });
        let part = |json: serde_json::Value| base64(json.to_string().as_bytes(), URL_SAFE, false);
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", base64(signature.as_ref(), URL_SAFE, false))
    }
}

/// The value of an `Authorization` field (RFC 7617).
pub fn basic(login: Login) -> String {
    let pair = format!("{}:{}", login.user, login.password);
    format!("Basic {}", base64(pair.as_bytes(), STANDARD, true))
}

/// The repositories that a query asks for: `scope=repository:a/b:pull`, percent-encoded or not.
fn scopes(query: &str) -> Vec<String> {
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let values: Vec<String> =
        values.map(|value| value.replace("%3A", ":").replace("%2F", "/")).collect();
    let scopes = values.iter().flat_map(|value| value.split(['+', ' ']));
    scopes.filter_map(|scope| Some(scope.split(':').nth(1)?.to_owned())).collect()
}

/// RFC 4648, 4 and 5.
pub fn base64(bytes: &[u8], alphabet: &[u8; 64], is_padded: bool) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(alphabet[sextet as usize]));
        }
        if is_padded {
            let _ = write!(text, "{}", "=".repeat(3 - chunk.len()));
        }
    }
    text
}

/// Longer than a test.
const LONG: Life = Life { told: 300, signed: 300 };
/// What registries and tokens call the token server.
pub const ISSUER: &str = "tokens-of-the-tests";
/// What they call the registry.
pub const SERVICE: &str = "registry-of-the-tests";

/// The alphabet of RFC 4648, 4.
pub const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The alphabet of RFC 4648, 5.
pub const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const JSON: &str = "Content-Type: application/json";
