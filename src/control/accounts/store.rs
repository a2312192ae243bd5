//! The database itself: how it is opened, and its tables. What is in them is read and written by the
//! files beside this one, each of which adds to [`Store`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::COPY;
use crate::messages::clock::monotonic_us;
use crate::pure::limited::Limited;

/// The open database. Times are in seconds since 1970.
pub struct Store {
    pub(super) connection: Connection,
    /// That it cannot be noted who was here.
    unseen: Limited,
    /// How many rows had been written when it was counted what is to be told, and how many that were.
    pub(super) waiting: Option<(u64, u64)>,
}

/// Why a job of the store came to nothing.
#[derive(Debug)]
pub enum StoreError {
    /// There is no such thing, or not for who asks.
    Absent,
    /// It is not for who asks to do, or not any more.
    Forbidden,
    /// It is another by now than who asks means.
    Changed,
    /// It is against a rule: words for the person who asked, as a sentence.
    Refused(String),
    /// Somebody has what this is to be called: which field of a form says that, and words as for [`Self::Refused`].
    Taken(&'static str, String),
    /// The database fails.
    Database(rusqlite::Error),
    /// The database cannot be opened: words that name the file.
    Closed(String),
    /// The gateway is stopping, or the job panicked.
    Stopped,
}

impl Store {
    /// Opens or makes the file at `path`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Closed`], also for one that a newer pullgate has written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let closed = |what: &dyn fmt::Display| {
            let words = format!("{} cannot be opened: {what}", path.display());
            StoreError::Closed(words)
        };
        // Made here, because SQLite would let others read it; its other files inherit the mode.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| closed(&error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let attempt = || {
            let mut connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            // What goes is overwritten, and not only forgotten.
            connection.pragma_update(None, "secure_delete", true)?;
            let version = migrate(&mut connection)?;
            Ok::<_, rusqlite::Error>((connection, version))
        };
        match attempt() {
            Ok((connection, version)) if version as usize <= MIGRATIONS.len() => {
                Ok(Self { connection, waiting: None, unseen: Limited::per(UNSEEN_SAID_US) })
            }
            Ok((_, version)) => {
                let words = format!("a newer pullgate has written it (version {version})");
                Err(closed(&words))
            }
            Err(error) => Err(closed(&error)),
        }
    }

    /// A copy of the database as it is now, without what was deleted. Its file goes when it is closed.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn copy(&self) -> Result<File, StoreError> {
        let failed = |what: &dyn fmt::Display| {
            StoreError::Closed(format!("the accounts' database cannot be copied: {what}"))
        };
        let path = Path::new(self.connection.path().unwrap_or_default()).with_file_name(COPY);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        // SQLite takes a file that is empty.
        let attempt = || {
            options.open(&path)?;
            let to = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            let copied = self.connection.execute("VACUUM INTO ?1", [to]);
            copied.map_err(io::Error::other)?;
            File::open(&path)
        };
        let copy = attempt();
        // Open, it can still be read.
        let _ = fs::remove_file(&path);
        copy.map_err(|error| failed(&error))
    }

    /// Notes that somebody was here, by this row of `sessions` or `tokens`. Where nothing can be written, on a full
    /// disk for one, that is said in the log: who reads is not locked out by it.
    pub(super) fn saw(&mut self, table: &str, row: i64, now_s: i64) {
        let sql = format!("UPDATE {table} SET seen_s = ?1 WHERE id = ?2");
        let noted =
            self.connection.prepare_cached(&sql).and_then(|mut it| it.execute([now_s, row]));
        if let Err(error) = noted
            && let Some(repeats) = self.unseen.pass(monotonic_us())
        {
            tracing::warn!(
                "the accounts' database: when somebody was here is not noted: {error}{repeats}"
            );
        }
    }

    /// What is done by it is done as a whole, once it is committed.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if matches!(error, rusqlite::Error::QueryReturnedNoRows) {
            return Self::Absent;
        }
        Self::Database(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such thing"),
            Self::Forbidden => f.write_str("who asks may not do this, or not any more"),
            Self::Changed => f.write_str("it is another by now"),
            Self::Refused(words) | Self::Taken(_, words) | Self::Closed(words) => {
                f.write_str(words)
            }
            Self::Database(error) => write!(f, "the accounts' database: {error}"),
            Self::Stopped => f.write_str("the gateway is stopping, or failed at it: see its log"),
        }
    }
}

/// Whether a write failed because what has to be unique is there already.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        )
    })
}

/// Brings the tables up to date; says which version they have.
fn migrate(connection: &mut Connection) -> rusqlite::Result<u32> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    let before = version(connection)?;
    for (number, sql) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > before) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    version(connection)
}

/// How long another process (`pullgate account`, a backup) may hold the database.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is said that it cannot be noted who was here.
const UNSEEN_SAID_US: u64 = 60_000_000;

/// Each step from one version of the tables to the next. What was released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("tables-1.sql"),
    include_str!("tables-2.sql"),
    include_str!("tables-3.sql"),
    include_str!("tables-4.sql"),
    include_str!("tables-5.sql"),
    include_str!("tables-6.sql"),
    include_str!("tables-7.sql"),
    include_str!("tables-8.sql"),
    include_str!("tables-9.sql"),
    include_str!("tables-10.sql"),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn it_is_its_owners_and_opens_again() {
        let dir = scratch();
        let path = dir.path().join("accounts.sqlite");
        for _ in 0..2 {
            let store = Store::open(&path).unwrap();
            store.connection.execute("DELETE FROM accounts", []).unwrap();
            for entry in fs::read_dir(dir.path()).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{:?}", entry.path());
            }
        }
    }

    #[test]
    fn a_copy_is_a_whole_database_and_leaves_no_file() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("accounts.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 7).unwrap();
        fs::write(dir.path().join(COPY), "left by a crash").unwrap();
        let mut copy = store.copy().unwrap();
        assert!(!dir.path().join(COPY).exists());
        let path = dir.path().join("restored.sqlite");
        io::copy(&mut copy, &mut File::create(&path).unwrap()).unwrap();
        assert!(Store::open(&path).unwrap().has_accounts().unwrap());
    }

    #[test]
    fn what_is_damaged_or_newer_is_refused_and_left() {
        let dir = scratch();
        let path = dir.path().join("accounts.sqlite");
        fs::write(&path, "no database, but long enough to be looked at").unwrap();
        let words = Store::open(&path).err().unwrap().to_string();
        assert!(words.contains("accounts.sqlite cannot be opened: file is not a data"), "{words}");
        let path = dir.path().join("newer.sqlite");
        let store = Store::open(&path).unwrap();
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        let words = Store::open(&path).err().unwrap().to_string();
        assert!(words.contains("a newer pullgate"), "{words}");
    }
}
