//! What a registry says of where somebody is about to send people: asked at once and for them, by the
//! rules by which the prover asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::ask::{Asker, Failed, How, Listed};
use crate::control::seats::Taken;
use crate::control::turns::Turns;
use crate::messages::keyring::Keyring;
use crate::pure::config::values::Credentials;
use crate::pure::oci::backend::authority_of;
use crate::pure::oci::basic::basic;
use crate::pure::oci::name::Name;
use crate::pure::route::table::Match;
use crate::pure::snapshot::Snapshot;

/// What is known of one home of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its registry, as it is written: `ghcr.io`.
    pub registry: String,
    /// The repository there; for a collection what stands before the star.
    pub repository: String,
    /// What is there.
    pub found: Found,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A repository that can be pulled.
    Repository {
        /// Its tags, as far as they were asked for.
        tags: Tags,
        /// By whom.
        by: How,
    },
    /// A registry that answers; whether it has what is asked for, only the client's own login says, or
    /// the name that is asked for.
    Registry,
    /// The registry says no.
    Refused(StatusCode),
    /// What is answered is no list of tags: it may be somebody's page for signing in.
    NoList,
    /// It could not be asked: why.
    Failed(String),
}

/// So many tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// That were listed.
    pub many: usize,
    /// Whether there are more.
    pub and_more: bool,
}

/// Looks, a few at once, and for each account one after the other.
pub struct Onlooker {
    turns: Turns<i64>,
    deadline: Duration,
}

impl Default for Onlooker {
    fn default() -> Self {
        let turns = Turns::new(LOOKS_MAX, (HERE_MAX, OF_ACCOUNT_MAX), DEADLINE);
        Self { turns, deadline: DEADLINE }
    }
}

impl Onlooker {
    /// What the registries say of everywhere that this domain and name lead to by `snapshot`, for who asks from
    /// this account.
    ///
    /// # Errors
    /// While too many ask.
    pub async fn look(
        &self,
        account: i64,
        snapshot: &Arc<Snapshot>,
        keyring: &Arc<Keyring>,
        (domain, name): (&str, &str),
    ) -> Result<Vec<Sight>, Taken> {
        let _turn = self.turns.take(account).await?;
        let end = Instant::now() + self.deadline;
        let Some(rule) = snapshot.routes.of(domain, name) else {
            return Ok(Vec::new());
        };
        let asker = Asker::new(Arc::clone(snapshot), Arc::clone(keyring));
        let Match { registry, location, base_length, credentials, others, .. } = rule;
        let is_collection = Name::parse(name.as_bytes()).is_err();
        let others = others.iter().map(|it| (it.registry, it.location.as_str(), it.base_length));
        let mut sights = Vec::new();
        for (registry, location, base_length) in
            std::iter::once((registry, location, base_length)).chain(others)
        {
            let repository = location.get(base_length..).unwrap_or_default();
            let asked = sight(&asker, registry, repository, is_collection, credentials);
            let found = match timeout_at(end.min(Instant::now() + PATIENCE), asked).await {
                Ok(Ok(found)) => found,
                Ok(Err(Failed { why, .. })) => Found::Failed(why),
                Err(_) => Found::Failed("no answer in time".to_owned()),
            };
            let registry = authority_of(location).to_owned();
            sights.push(Sight { registry, repository: repository.to_owned(), found });
        }
        Ok(sights)
    }
}

async fn sight(
    asker: &Asker,
    registry: usize,
    repository: &str,
    is_collection: bool,
    credentials: Credentials,
) -> Result<Found, Failed> {
    if is_collection || credentials == Credentials::Client {
        return asker.base(registry).await.map(|_| Found::Registry);
    }
    let account = asker.keyring.registries.get(registry).and_then(|key| key.account.as_ref());
    let account = account.filter(|_| credentials == Credentials::Registry);
    let account = account.map(|account| basic(&account.username, &account.password));
    Ok(match asker.listed(registry, repository, TAGS_MAX, account.as_deref()).await? {
        Listed::Shown(by, response) => match response.json::<TagList>() {
            Some(TagList { tags }) => {
                let (many, and_more) = (tags.map_or(0, |tags| tags.len()), response.has_more());
                Found::Repository { tags: Tags { many, and_more }, by }
            }
            None => Found::NoList,
        },
        Listed::Refused(status) => Found::Refused(status),
    })
}

/// Distribution specification, "Listing Tags".
#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<serde::de::IgnoredAny>>,
}

impl Sight {
    /// Whether people could pull, as far as that can be known.
    pub fn works(&self) -> bool {
        match &self.found {
            Found::Repository { tags, .. } => tags.many > 0,
            Found::Registry => true,
            Found::Refused(_) | Found::NoList | Found::Failed(_) => false,
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, repository, found } = self;
        match found {
            Found::Repository { tags, by } => {
                write!(f, "{registry}/{repository} exists: ")?;
                match tags {
                    Tags { many: 0, .. } => f.write_str("it has no tag yet; ")?,
                    Tags { many: 1, and_more: false } => f.write_str("1 tag; ")?,
                    Tags { many, and_more: false } => write!(f, "{many} tags; ")?,
                    Tags { many, and_more: true } => write!(f, "more than {many} tags; ")?,
                }
                f.write_str(match by {
                    How::Open => "anybody can pull it",
                    How::WithToken => "anybody can pull it, with an anonymous token",
                    How::ByAccount => "the gateway's account can pull it",
                })
            }
            Found::Registry => {
                write!(f, "{registry} answers; what it has is seen when somebody pulls")
            }
            Found::Refused(StatusCode::NOT_FOUND) => {
                write!(f, "{registry} has no {repository}, or does not show it to everybody")
            }
            Found::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                write!(f, "{registry} does not show {repository} to who is asking for it")
            }
            Found::Refused(status) => {
                write!(f, "{registry} answers {} for {repository}", status.as_u16())
            }
            Found::NoList => write!(f, "{registry} answers with something that is no list of tags"),
            Found::Failed(why) => write!(f, "{registry} could not be asked: {why}"),
        }
    }
}

/// Looks at once, and those that are or wait, of all accounts and of one.
const LOOKS_MAX: usize = 4;
const HERE_MAX: usize = 32;
const OF_ACCOUNT_MAX: usize = 4;
/// How long all questions to one registry may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a look may take at all registries of a package, and before that how long it may wait.
const DEADLINE: Duration = Duration::from_secs(20);
/// Tags that are asked for.
const TAGS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::time::timeout;

    use super::*;
    use crate::control::keys;
    use crate::control::tests::compiled;

    #[test]
    fn a_look_has_an_end_however_many_registries_say_nothing() {
        // Takes connections, for the kernel does, and never answers.
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = |name| format!("\"http://{}/{name}\"", deaf.local_addr().unwrap());
        let text = format!(
            "[upstream]\nallow_private = [\"127.0.0.0/8\"]\n[[packages]]\ndomain = \"a.b\"\n\
             name = \"x\"\nbackends = [{}, {}]\n",
            backend("one"),
            backend("two")
        );
        let (config, snapshot) = compiled(&text);
        let keyring = keys::read("pullgate.toml", &config).unwrap().keyring(&snapshot.registries);
        let deadline = Duration::from_millis(50);
        let onlooker = Onlooker { deadline, ..Onlooker::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (snapshot, keyring) = (Arc::new(snapshot), Arc::new(keyring));
        let looked = onlooker.look(1, &snapshot, &keyring, ("a.b", "x"));
        let looked = runtime.block_on(async { timeout(PATIENCE, looked).await });
        let sights = looked.expect("sooner than one registry may take").unwrap();
        let failed = Found::Failed("no answer in time".to_owned());
        assert_eq!(sights.len(), 2);
        assert!(sights.iter().all(|one| one.found == failed), "{sights:?}");
    }
}
