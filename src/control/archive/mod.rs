//! Manifests on disk, so that they are there after a restart, also while their registry is not.
//!
//! A thread of its own does the files. Whatever goes wrong with them is as if nothing were kept: it is
//! said once, and counted. Files are not synced: one that a crash has torn does not open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::archive::{Archivist, Errand};
use crate::messages::clock::monotonic_us;
use crate::pure::backoff::Backoff;
use crate::pure::cache::{Held, Key, Record, Refused};
use crate::pure::limited::Limited;
use files::{Files, Reading};

mod files;

/// What the disk's thread says about itself: numbers with one writer.
#[derive(Debug, Default)]
pub struct Health {
    /// What the files take, in bytes.
    pub bytes: AtomicU64,
    /// How many there are.
    pub files: AtomicU64,
    /// How often a question was answered with a manifest.
    pub found_total: AtomicU64,
    /// How often with none.
    pub absent_total: AtomicU64,
    /// How often a file could not be written or read, or was damaged.
    pub failures_total: AtomicU64,
}

/// The thread at work.
pub struct Keeping {
    room: Room,
    done: Receiver<()>,
}

/// How much it may keep.
#[derive(Clone)]
pub struct Room {
    bytes_max: Arc<AtomicU64>,
    errands: Sender<Errand>,
}

/// Keeps manifests in `data_dir`, in `bytes_max` at the most.
///
/// # Errors
/// That the system gives no thread.
pub fn start(
    data_dir: &Path,
    bytes_max: u64,
    archivist: Archivist,
    health: Arc<Health>,
) -> io::Result<Keeping> {
    let room = Room { bytes_max: Arc::new(bytes_max.into()), errands: archivist.errands() };
    let mut archive = Archive {
        folder: data_dir.join(FOLDER),
        bytes_max,
        open: None,
        trouble: Trouble {
            health,
            is_said: false,
            retries: Backoff::default(),
            lines: Limited::per(LINES_US),
            damages: Limited::per(LINES_US),
        },
    };
    let (end, done) = bounded(1);
    let wanted = Arc::clone(&room.bytes_max);
    thread::Builder::new().name("manifests".into()).spawn(move || {
        archive.resize(bytes_max);
        loop {
            let errand = archivist.next();
            // Whatever it is: the errand that says so may have found no room.
            let bytes_max = wanted.load(Relaxed);
            if bytes_max != archive.bytes_max {
                archive.resize(bytes_max);
            }
            match errand {
                Errand::Find(question) => {
                    let record = archive.find(&question.key);
                    archivist.answer(&question, record);
                }
                Errand::Keep { key, held, since_s, good_s } => {
                    archive.keep(&key, &held, since_s, good_s);
                }
                Errand::Forget(key) => archive.forget(&key),
                Errand::Refuse(refused) => archive.refuse(&refused),
                Errand::Resize => {}
                Errand::End => break,
            }
            archive.clear_away();
        }
        let _ = end.send(());
    })?;
    Ok(Keeping { room, done })
}

impl Keeping {
    /// How much it may keep.
    pub fn room(&self) -> Room {
        self.room.clone()
    }

    /// Ends it once what was asked is done. A disk that does not answer is not waited for.
    pub fn stop(self) {
        let told = self.room.errands.send_timeout(Errand::End, PATIENCE);
        if told.is_err() || self.done.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("the disk is slow: not all manifests were kept");
        }
    }
}

impl Room {
    /// Changes it. A disk that takes no errands does so with the next that it does.
    pub fn resize(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
        let _ = self.errands.try_send(Errand::Resize);
    }
}

struct Archive {
    folder: PathBuf,
    bytes_max: u64,
    open: Option<Files>,
    trouble: Trouble,
}

/// What is wrong, said when it begins and when it is over.
struct Trouble {
    health: Arc<Health>,
    is_said: bool,
    retries: Backoff,
    lines: Limited,
    damages: Limited,
}

impl Archive {
    /// The files, if there are to be any. A folder that cannot be used is tried again later.
    fn opened(&mut self) -> Option<(&mut Files, &mut Trouble)> {
        if self.bytes_max == 0 {
            return None;
        }
        if self.open.is_none() && !self.trouble.retries.holds(monotonic_us()) {
            match Files::at(&self.folder) {
                Ok(mut files) => {
                    files.trim(self.bytes_max);
                    self.open = Some(files);
                    self.tell();
                }
                Err(error) => {
                    self.trouble.retries.step(monotonic_us());
                    self.trouble.begins(&self.folder, &error.to_string());
                }
            }
        }
        Some((self.open.as_mut()?, &mut self.trouble))
    }

    fn find(&mut self, key: &Key) -> Option<Record> {
        let (files, trouble) = self.opened()?;
        let found = match files.read(key) {
            Ok(Reading::Found(record)) => Some(*record),
            Ok(Reading::Absent) => None,
            Ok(Reading::Damaged) => {
                trouble.damaged(&files.path(key));
                None
            }
            Err(error) => {
                trouble.begins(&files.path(key), &error.to_string());
                None
            }
        };
        let health = &self.trouble.health;
        let counter = if found.is_some() { &health.found_total } else { &health.absent_total };
        counter.fetch_add(1, Relaxed);
        self.tell();
        found
    }

    fn keep(&mut self, key: &Key, held: &Held, since_s: u64, good_s: u64) {
        let bytes_max = self.bytes_max;
        let Some((files, trouble)) = self.opened() else {
            return;
        };
        // Counts are worth more than manifests, which can be had again.
        if !files.has_room() {
            files.trim(files.bytes() / 2);
        }
        let written = match files.has_room() {
            true => files.write(key, held, since_s, good_s),
            false => Err(io::ErrorKind::StorageFull.into()),
        };
        match written {
            Ok(()) => {
                files.trim(bytes_max);
                trouble.ends();
            }
            Err(error) => {
                files.forget(key);
                if matches!(error.kind(), NO_SPACE | NO_QUOTA) {
                    files.trim(files.bytes() / 2);
                }
                trouble.begins(&files.path(key), &error.to_string());
            }
        }
        self.tell();
    }

    fn forget(&mut self, key: &Key) {
        if let Some((files, _)) = self.opened() {
            files.forget(key);
            self.tell();
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        let Some((files, _)) = self.opened() else {
            return;
        };
        match refused {
            Refused::These(these) => these.iter().for_each(|scope| files.forget_all_of(*scope)),
            Refused::All => files.trim(0),
        }
        self.tell();
    }

    /// What could not be removed is not read any more; the next process would.
    fn clear_away(&mut self) {
        let Self { open: Some(files), trouble, .. } = self else {
            return;
        };
        if !trouble.retries.holds(monotonic_us())
            && let Err((path, error)) = files.clear_away()
        {
            trouble.retries.step(monotonic_us());
            trouble.begins(&path, &format!("it cannot be removed: {error}"));
        }
    }

    fn resize(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
        match self.opened() {
            Some((files, _)) => files.trim(bytes_max),
            None if bytes_max == 0 => {
                self.open = None;
                // What is not to be kept does not stay either; mostly there is nothing.
                match fs::remove_dir_all(&self.folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        self.trouble
                            .begins(&self.folder, &format!("it cannot be removed: {error}"));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            None => {}
        }
        self.tell();
    }

    fn tell(&self) {
        let open = self.open.as_ref();
        let (bytes, files) = open.map_or((0, 0), |it| (it.bytes(), it.number() as u64));
        self.trouble.health.bytes.store(bytes, Relaxed);
        self.trouble.health.files.store(files, Relaxed);
    }
}

impl Trouble {
    fn begins(&mut self, path: &Path, what: &str) {
        self.health.failures_total.fetch_add(1, Relaxed);
        if self.is_said {
            return;
        }
        if let Some(repeats) = self.lines.pass(monotonic_us()) {
            self.is_said = true;
            let path = path.display();
            let without = "manifests are pulled as if none were kept on disk";
            tracing::warn!("{path}: {what}; {without}{repeats}");
        }
    }

    /// One file is damaged: the next may not be.
    fn damaged(&mut self, path: &Path) {
        self.health.failures_total.fetch_add(1, Relaxed);
        if let Some(repeats) = self.damages.pass(monotonic_us()) {
            let path = path.display();
            tracing::warn!("{path} is damaged; what it held is asked for again{repeats}");
        }
    }

    fn ends(&mut self) {
        if std::mem::take(&mut self.is_said) {
            tracing::info!("manifests are kept on disk again");
        }
    }
}

/// The folder in `data_dir`.
pub(super) const FOLDER: &str = "manifests";
const NO_SPACE: io::ErrorKind = io::ErrorKind::StorageFull;
const NO_QUOTA: io::ErrorKind = io::ErrorKind::QuotaExceeded;
/// How often is said what may be wrong again and again.
const LINES_US: u64 = 60_000_000;
/// How long is waited for the disk when the gateway stops.
const PATIENCE: Duration = Duration::from_secs(5);
