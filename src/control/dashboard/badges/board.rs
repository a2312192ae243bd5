//! What all badges say, in memory: each for a minute, and then until somebody asks for it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::renewed::Renewed;
use crate::aggregator::{Ask, By, Query, QueryError};
use crate::control::accounts::people::Owners;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::counted::{Asker, counted};
use crate::control::private_file;
use crate::messages::random::random;
use crate::pure::badge::figures::{About, Companies, Figures, id, version};
use crate::pure::period::Piece;

/// The badges of all packages.
pub(in crate::control::dashboard) struct Badges {
    key: [u8; 32],
    /// What they say, but the versions.
    board: Renewed<Arc<Board>>,
    /// The version of each package of which somebody has asked for that badge, by the package's name.
    versions: Mutex<HashMap<Arc<str>, Arc<Version>>>,
    /// Whose turn it is to ask for a version: all of them together take one of the places that there are for
    /// questions.
    turn: Mutex<()>,
}

/// What is known of the version of one package, which may have none.
type Version = Renewed<Option<String>>;

/// By the identifier in the address.
type Board = HashMap<String, Entry>;

/// One badge.
struct Entry {
    about: About,
    package: Arc<str>,
    /// Without the version.
    figures: Arc<Figures>,
}

impl Badges {
    /// With the key that `data_dir` has, or a new one. Should it not be readable, or not be kept, that is
    /// said: then addresses are others after a restart.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub(in crate::control::dashboard) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        let held = std::fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok());
        let key = match held {
            Some(key) => key,
            None => {
                let key = random()?;
                if let Err(error) = private_file::replace_synced(&path, &key) {
                    let path = path.display();
                    tracing::warn!(
                        "{path} cannot be written: {error}; the addresses of badges end with the process"
                    );
                }
                key
            }
        };
        let (board, versions) = (Renewed::new(), Mutex::default());
        Ok(Self { key, board, versions, turn: Mutex::default() })
    }

    /// The identifier of one of the badges of a package, whose owner is among these.
    pub(in crate::control::dashboard) fn id(
        &self,
        owners: &Owners,
        package: &str,
        about: About,
    ) -> String {
        let domain = package.split('/').next().unwrap_or_default();
        id(&self.key, (owners.of_domain(domain), package), about)
    }

    /// Makes them anew for whoever asks next: some were turned on or off, or have another owner.
    pub(in crate::control::dashboard) async fn forget(&self) {
        self.board.forget().await;
    }

    /// What the badge with this identifier says; `None` where there is none, or that cannot be found out,
    /// which the log says.
    pub(super) async fn figures(
        &self,
        at: &Dashboard,
        id: &str,
        about: About,
    ) -> Option<Arc<Figures>> {
        let board = self.board.get(self.made(at)).await?;
        let Entry { package, figures, .. } = board.get(id).filter(|one| one.about == about)?;
        if about != About::Version {
            return Some(Arc::clone(figures));
        }
        let version = self.version(at, package).await;
        Some(Arc::new(Figures { version, ..(**figures).clone() }))
    }

    /// The version of a package that was pulled most. Only who asks for that badge has all tags of the package
    /// read, and those of no other.
    async fn version(&self, at: &Dashboard, package: &Arc<str>) -> Option<String> {
        let renewed = {
            let mut versions = self.versions.lock().await;
            let renewed = versions.entry(Arc::clone(package));
            Arc::clone(renewed.or_insert_with(|| Arc::new(Renewed::new())))
        };
        let find = async {
            let _turn = self.turn.lock().await;
            let name = package.to_string();
            let found = counted(at, Asker::Versions, move |query| {
                version_of(query, name, Timestamp::now())
            });
            found.await.map_err(|trouble| trouble.why)
        };
        renewed.get(find).await.flatten()
    }

    async fn made(&self, at: &Dashboard) -> Result<Arc<Board>, String> {
        // Where it is not known whose badges are off, and whose packages are, none are shown.
        let known = at.accounts.run(|store| Ok((store.badges_off()?, store.owners()?))).await;
        let (off, owners) = known.map_err(|error| error.to_string())?;
        let k_public = at.in_force.snapshot().k_public as u64;
        let names = at.packages();
        let figures = counted(at, Asker::Badges, move |query| {
            figures(query, names, k_public, Timestamp::now())
        });
        let figures = figures.await.map_err(|trouble| trouble.why)?;
        self.versions.lock().await.retain(|name, _| figures.contains_key(&**name));
        let on = figures.into_iter().filter(|(name, _)| !off.contains(name));
        let badges = on.flat_map(|(name, figures)| {
            let (package, figures): (Arc<str>, _) = (name.into(), Arc::new(figures));
            About::EVERY.map(|about| {
                let (package, figures) = (Arc::clone(&package), Arc::clone(&figures));
                (self.id(&owners, &package, about), Entry { about, package, figures })
            })
        });
        Ok(Arc::new(badges.collect()))
    }
}

/// Asks for what badges say of all packages but the versions, a row for each: of `names` also where nothing was
/// counted.
fn figures(
    query: &Query,
    names: Vec<String>,
    k_public: u64,
    now: Timestamp,
) -> Result<HashMap<String, Figures>, QueryError> {
    let month = Piece::Month.begin(now);
    let before = Piece::Month.begin(month - SignedDuration::from_secs(1));
    let asks = [
        Ask::default(),
        lately(now),
        Ask { from: Some(before), to: Some(month), ..Ask::default() },
    ];
    let none = Figures { companies: Companies::shown(0, k_public), ..Figures::default() };
    let mut all: HashMap<String, Figures> =
        names.into_iter().map(|name| (name, none.clone())).collect();
    for (number, answer) in query.all(&asks)?.into_iter().enumerate() {
        for row in answer?.rows {
            let figures = all.entry(row.package.to_string());
            let figures = figures.or_insert_with(|| none.clone());
            match number {
                0 => figures.pulls = row.measures.pulls,
                1 => figures.pulls_of_month = row.measures.pulls,
                _ => figures.companies = Companies::shown(row.measures.monthly_companies, k_public),
            }
        }
    }
    Ok(all)
}

/// Asks for the version of a package that was pulled most.
fn version_of(
    query: &Query,
    package: String,
    now: Timestamp,
) -> Result<Option<String>, QueryError> {
    let ask = Ask { package: Some(package), by: vec![By::Tag], top: Some(TAGS), ..lately(now) };
    // Tags of one package are as many as `counting.max_tags` says, however many that is.
    let rows = query.clone().bounded(usize::MAX).rows(&ask)?.rows;
    let tags: Vec<String> = rows.into_iter().flat_map(|row| row.keys).map(|(_, tag)| tag).collect();
    Ok(version(tags.iter().map(String::as_str)).map(str::to_owned))
}

/// The last thirty days, today among them.
fn lately(now: Timestamp) -> Ask {
    let today = Piece::Day.end(now);
    let days = today - SignedDuration::from_hours(24 * 30);
    Ask { from: Some(days), to: Some(today), ..Ask::default() }
}

const NAME: &str = "badges.key";
/// Tags among which the version with the most pulls is looked for.
const TAGS: usize = 20;
