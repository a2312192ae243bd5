//! The certificates that clients are shown, and what proves to authorities that domains are ours. Made
//! by control, read by every worker, swapped as a whole: connections that were made under the ones
//! before go on.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ALL_VERSIONS, ServerConfig};

use crate::messages::random::random;
use crate::pure::certificates::{Names, Shown};
use crate::pure::desk::OwnKeys;

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What it is shown for: host names in lower case, a star for a first label.
    pub names: Arc<[Box<str>]>,
    /// The chain that is shown, and what proves it.
    pub key: Arc<CertifiedKey>,
}

/// What proves a domain to an authority, while that takes place.
#[derive(Clone, Debug)]
pub enum Proof {
    /// What it is told in plain HTTP when it asks for this token (RFC 8555, 8.3).
    Text {
        /// What it asks for.
        token: Box<str>,
        /// What it is told.
        said: Box<str>,
    },
    /// What it is shown in a handshake that is for nothing else (RFC 8737).
    Handshake(Arc<CertifiedKey>),
}

/// All certificates.
#[derive(Debug, Default)]
pub struct Certificates {
    certificates: Vec<Certificate>,
    names: Names,
    /// By domain, what proves it.
    handshakes: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// What is shown for all other names, and to who names none: a client that does not insist learns
    /// then in words what is wrong.
    stand_in: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Of two for one name the first is shown. Domains are proven meanwhile by `proofs`.
    pub fn new<'p>(
        certificates: Vec<Certificate>,
        stand_in: Option<Arc<CertifiedKey>>,
        proofs: impl IntoIterator<Item = (&'p str, &'p Proof)>,
    ) -> Self {
        let (mut texts, mut handshakes) = (Vec::new(), HashMap::new());
        for (domain, proof) in proofs {
            match proof {
                Proof::Text { token, said } => texts.push((&**token, &**said)),
                Proof::Handshake(key) => drop(handshakes.insert(domain.into(), Arc::clone(key))),
            }
        }
        let names = Names::new(certificates.iter().map(|one| &*one.names)).proving(texts);
        Self { certificates, names, handshakes, stand_in }
    }

    /// The names that there are certificates for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What is shown to a client that `asked` for a host.
    pub fn shown(&self, asked: Option<&str>) -> Shown {
        Shown::new(asked, self.find(asked).map(|one| Arc::clone(&one.names)))
    }

    fn find(&self, asked: Option<&str>) -> Option<&Certificate> {
        self.certificates.get(self.names.find(asked?.as_bytes())?)
    }
}

/// How clients are spoken to over TLS 1.2 and 1.3.
pub struct Serving {
    config: ServerConfig,
    certificates: Arc<Certificates>,
}

impl Serving {
    /// Under `certificates`, with sessions that every worker resumes which has the same `keys`.
    pub fn new(certificates: &Arc<Certificates>, keys: &Arc<OwnKeys>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let mut config = match builder.with_protocol_versions(ALL_VERSIONS) {
            Ok(builder) => {
                let nobodys = Arc::new(Choice::among(certificates));
                builder.with_no_client_auth().with_cert_resolver(nobodys)
            }
            Err(error) => unreachable!("ring has cipher suites for every version of TLS: {error}"),
        };
        config.ticketer = Arc::new(Tickets(Arc::clone(keys)));
        // Kept by clients only: what workers keep they would have to share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Each connection that is resumed brings the next one.
        config.send_tls13_tickets = 1;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), PROVING.to_vec()];
        Self { config, certificates: Arc::clone(certificates) }
    }

    /// The same for one connection, and where it stands afterwards what its client was shown. rustls
    /// forgets the former with the handshake.
    pub fn for_one(&self) -> (Arc<ServerConfig>, Arc<Choice>) {
        let choice = Arc::new(Choice::among(&self.certificates));
        let mut config = self.config.clone();
        config.cert_resolver = Arc::<Choice>::clone(&choice);
        (Arc::new(config), choice)
    }
}

/// The certificate for one connection.
#[derive(Debug)]
pub struct Choice {
    certificates: Arc<Certificates>,
    shown: OnceLock<Shown>,
}

impl Choice {
    fn among(certificates: &Arc<Certificates>) -> Self {
        Self { certificates: Arc::clone(certificates), shown: OnceLock::new() }
    }

    /// What the client was shown; the stand-in where nothing was chosen.
    pub fn shown(&self) -> Shown {
        self.shown.get().cloned().unwrap_or_else(|| Shown::new(None, None))
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (certificates, asked) = (&self.certificates, hello.server_name());
        // Whoever offers this protocol offers no other (RFC 8737, 4), and asks for nothing afterwards.
        if hello.alpn().is_some_and(|offered| offered.eq([PROVING])) {
            return certificates.handshakes.get(asked?).map(Arc::clone);
        }
        // Said once in a handshake.
        let _ = self.shown.set(certificates.shown(asked));
        let found = certificates.find(asked).map(|one| &one.key);
        found.or(certificates.stand_in.as_ref()).map(Arc::clone)
    }
}

/// Sessions, sealed for their clients to keep.
struct Tickets(Arc<OwnKeys>);

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFE_S
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.0.seal_session(random().ok()?, state)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.open_session(ticket)
    }
}

impl fmt::Debug for Tickets {
    /// Shows nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// The protocol of an authority's handshake (RFC 8737, 6.2).
const PROVING: &[u8] = b"acme-tls/1";
/// How long a session can be resumed, in seconds: keys are known for a day after the day they are used
/// in.
const TICKET_LIFE_S: u32 = 12 * 60 * 60;
