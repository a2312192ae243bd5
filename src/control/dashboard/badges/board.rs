//! What all badges say, in memory.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::aggregator::{Ask, By, Query, QueryError};
use crate::control::accounts::people::Owners;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::counted::counted;
use crate::control::private_file;
use crate::messages::random::random;
use crate::pure::badge::figures::{About, Companies, Figures, id, version};
use crate::pure::period::Piece;

/// The badges of all packages.
pub(in crate::control::dashboard) struct Badges {
    key: [u8; 32],
    /// What they say. Whoever finds it too old makes it anew, and others wait.
    board: Mutex<Option<Held>>,
}

/// What badges say.
struct Held {
    /// Until when they do.
    until: Instant,
    /// `None` where that could not be found out.
    board: Option<Arc<Board>>,
}

/// By the identifier in the address.
pub(super) type Board = HashMap<String, (About, Arc<Figures>)>;

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
        Ok(Self { key, board: Mutex::new(None) })
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
        *self.board.lock().await = None;
    }

    /// What is said now; `None` where that cannot be found out, which the log says.
    pub(super) async fn board(&self, at: &Dashboard) -> Option<Arc<Board>> {
        let mut held = self.board.lock().await;
        if let Some(Held { until, board }) = &*held
            && Instant::now() < *until
        {
            return board.clone();
        }
        let (board, fresh) = match self.made(at).await {
            Ok(board) => (Some(Arc::new(board)), FRESH),
            Err(words) => {
                tracing::warn!("badges cannot be made: {words}");
                // What was said before is better than nothing. Whoever asks for a badge is anybody, and is
                // not to have what failed tried again each time.
                (held.take().and_then(|held| held.board), FAILED)
            }
        };
        *held = Some(Held { until: Instant::now() + fresh, board: board.clone() });
        board
    }

    async fn made(&self, at: &Dashboard) -> Result<Board, String> {
        // Where it is not known whose badges are off, and whose packages are, none are shown.
        let known = at.accounts.run(|store| Ok((store.badges_off()?, store.owners()?))).await;
        let (off, owners) = known.map_err(|error| error.to_string())?;
        let snapshot = at.in_force.snapshot();
        let names: Vec<String> =
            snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}")).collect();
        let k_public = snapshot.k_public as u64;
        let figures =
            counted(&at.query, move |query| figures(query, names, k_public, Timestamp::now()));
        let figures = figures.await.map_err(|trouble| trouble.why)?;
        let on = figures.into_iter().filter(|(name, _)| !off.contains(name));
        let badges = on.flat_map(|(name, figures)| {
            let figures = Arc::new(figures);
            About::EVERY
                .map(|about| (self.id(&owners, &name, about), (about, Arc::clone(&figures))))
        });
        Ok(badges.collect())
    }
}

/// Asks for everything that badges say of all packages; of those `names` also where nothing was counted.
fn figures(
    query: &Query,
    names: Vec<String>,
    k_public: u64,
    now: Timestamp,
) -> Result<HashMap<String, Figures>, QueryError> {
    let today = Piece::Day.end(now);
    let month = Piece::Month.begin(now);
    let before = Piece::Month.begin(month - SignedDuration::from_secs(1));
    let days = today - SignedDuration::from_hours(24 * 30);
    let lately = Ask { from: Some(days), to: Some(today), ..Ask::default() };
    let asks = [
        Ask::default(),
        lately.clone(),
        Ask { from: Some(before), to: Some(month), ..Ask::default() },
        Ask { by: vec![By::Tag], top: Some(TAGS), ..lately },
    ];
    let none = Figures { companies: Companies::shown(0, k_public), ..Figures::default() };
    let mut all: HashMap<String, Figures> =
        names.into_iter().map(|name| (name, none.clone())).collect();
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    for (number, answer) in query.all(&asks)?.into_iter().enumerate() {
        for row in answer?.rows {
            let figures = all.entry(row.package.to_string());
            let figures = figures.or_insert_with(|| none.clone());
            match number {
                0 => figures.pulls = row.measures.pulls,
                1 => figures.pulls_of_month = row.measures.pulls,
                2 => figures.companies = Companies::shown(row.measures.monthly_companies, k_public),
                _ => {
                    let tags = tags.entry(row.package.to_string()).or_default();
                    tags.extend(row.keys.into_iter().map(|(_, tag)| tag));
                }
            }
        }
    }
    for (package, tags) in tags {
        let most = version(tags.iter().map(String::as_str)).map(str::to_owned);
        if let Some(figures) = all.get_mut(&package) {
            figures.version = most;
        }
    }
    Ok(all)
}

const NAME: &str = "badges.key";
/// How old what a badge says may be.
const FRESH: Duration = Duration::from_secs(60);
/// How long what failed is not tried again.
const FAILED: Duration = Duration::from_secs(10);
/// Tags among which the version with the most pulls is looked for.
const TAGS: usize = 20;
