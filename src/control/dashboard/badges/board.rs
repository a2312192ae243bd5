//! What all badges say, in memory.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::aggregator::{Ask, By, Query, QueryError};
use crate::control::dashboard::Dashboard;
use crate::control::private_file;
use crate::messages::random::random;
use crate::pure::badge::figures::{Figures, id, version};
use crate::pure::period::Piece;

/// The badges of all packages.
pub(in crate::control::dashboard) struct Badges {
    key: [u8; 32],
    /// When it was made, and what it says. Whoever finds it too old makes it anew, and others wait.
    board: Mutex<Option<(Instant, Arc<Board>)>>,
}

/// By the identifier in the address.
pub(super) type Board = HashMap<String, Arc<Figures>>;

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

    /// The identifier of a package's badges.
    pub(in crate::control::dashboard) fn id(&self, package: &str) -> String {
        id(&self.key, package)
    }

    /// Makes them anew for whoever asks next: some were turned on or off.
    pub(in crate::control::dashboard) async fn forget(&self) {
        *self.board.lock().await = None;
    }

    /// What is said now.
    pub(super) async fn board(&self, at: &Dashboard) -> Result<Arc<Board>, String> {
        let mut held = self.board.lock().await;
        if let Some((made, board)) = &*held
            && made.elapsed() < FRESH
        {
            return Ok(Arc::clone(board));
        }
        let off = match at.accounts.run(|store| store.badges_off()).await {
            Ok(off) => off,
            // Whose badges are off is not known: none are shown.
            Err(error) => return Err(error.to_string()),
        };
        let query = at.query.clone();
        let snapshot = at.in_force.snapshot();
        let names: Vec<String> =
            snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}")).collect();
        let counted = tokio::task::spawn_blocking(move || figures(&query, names, Timestamp::now()));
        let figures = match counted.await {
            Ok(Ok(figures)) => figures,
            // What was said before is better than nothing.
            Ok(Err(error)) => match &*held {
                Some((_, board)) => return Ok(Arc::clone(board)),
                None => return Err(error.to_string()),
            },
            Err(error) => return Err(error.to_string()),
        };
        let on = figures.into_iter().filter(|(name, _)| !off.contains(name));
        let board = on.map(|(name, figures)| (self.id(&name), Arc::new(figures)));
        let board = Arc::new(board.collect());
        *held = Some((Instant::now(), Arc::clone(&board)));
        Ok(board)
    }
}

/// Asks for everything that badges say of all packages; of those `names` also where nothing was counted.
fn figures(
    query: &Query,
    names: Vec<String>,
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
    let mut all: HashMap<String, Figures> =
        names.into_iter().map(|name| (name, Figures::default())).collect();
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    for (number, answer) in query.all(&asks)?.into_iter().enumerate() {
        for row in answer?.rows {
            let figures = all.entry(row.package.to_string()).or_default();
            match number {
                0 => figures.pulls = row.measures.pulls,
                1 => figures.pulls_of_month = row.measures.pulls,
                2 => figures.companies = row.measures.monthly_companies,
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
/// Tags among which the version with the most pulls is looked for.
const TAGS: usize = 20;
