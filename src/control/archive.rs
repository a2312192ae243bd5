//! Manifests on disk, so that they are there after a restart, also while their registry is not.
//!
//! A thread of its own does the files. Whatever goes wrong with them is as if nothing were kept: it is
//! said once, and counted. Files are not synced: one that a crash has torn does not open.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::private_file;
use crate::messages::archive::{Archivist, Errand};
use crate::messages::random::random;
use crate::pure::backoff::Backoff;
use crate::pure::cache::{Held, Key, PLACE_BYTES, Place, RECORD_BYTES_MAX, Record, Scope, Seals};
use crate::pure::limited::Limited;
use crate::pure::limits::MANIFESTS_ON_DISK_MAX;

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
    errands: Sender<Errand>,
    done: Receiver<()>,
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
    let mut archive = Archive {
        folder: data_dir.join(FOLDER),
        bytes_max,
        open: None,
        trouble: Trouble {
            health,
            is_said: false,
            retries: Backoff::default(),
            damages: Limited::per(DAMAGES_US),
        },
    };
    let (end, done) = bounded(1);
    let errands = archivist.errands();
    thread::Builder::new().name("manifests".into()).spawn(move || {
        archive.resize(bytes_max);
        loop {
            match archivist.next() {
                Errand::Find(question) => {
                    let record = archive.find(&question.key);
                    archivist.answer(&question, record);
                }
                Errand::Keep { key, held, since_s } => archive.keep(&key, &held, since_s),
                Errand::Forget(key) => archive.forget(&key),
                Errand::Revoke(scope) => archive.revoke(scope),
                Errand::Resize(bytes_max) => archive.resize(bytes_max),
                Errand::End => break,
            }
        }
        let _ = end.send(());
    })?;
    Ok(Keeping { errands, done })
}

impl Keeping {
    /// What gives errands beside the workers.
    pub fn errands(&self) -> Sender<Errand> {
        self.errands.clone()
    }

    /// Ends it once what was asked is done. A disk that does not answer is not waited for.
    pub fn stop(self) {
        let told = self.errands.send_timeout(Errand::End, PATIENCE);
        if told.is_err() || self.done.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("the disk is slow: not all manifests were kept");
        }
    }
}

struct Archive {
    folder: PathBuf,
    bytes_max: u64,
    open: Option<Open>,
    trouble: Trouble,
}

/// The folder's files, as this process has found and made them.
struct Open {
    folder: PathBuf,
    seals: Seals,
    files: HashMap<Place, Kept>,
    bytes: u64,
    uses: u64,
}

/// A file.
struct Kept {
    bytes: u64,
    /// The measure of age.
    used: u64,
    /// A print of what it says, and since when, as far as this process has written it.
    says: Option<(u64, u64)>,
}

/// What is wrong, said when it begins and when it is over.
struct Trouble {
    health: Arc<Health>,
    is_said: bool,
    retries: Backoff,
    damages: Limited,
}

impl Archive {
    /// The files, if there are to be any. A folder that cannot be used is tried again later.
    fn opened(&mut self) -> Option<(&mut Open, &mut Trouble)> {
        if self.bytes_max == 0 {
            return None;
        }
        if self.open.is_none() && !self.trouble.retries.holds(now_us()) {
            match Open::at(&self.folder) {
                Ok(mut open) => {
                    open.trim(self.bytes_max);
                    self.open = Some(open);
                    self.tell();
                }
                Err(error) => {
                    self.trouble.retries.step(now_us());
                    self.trouble.begins(&self.folder, &error.to_string());
                }
            }
        }
        Some((self.open.as_mut()?, &mut self.trouble))
    }

    fn find(&mut self, key: &Key) -> Option<Record> {
        let (open, trouble) = self.opened()?;
        let place = open.seals.place(key);
        let path = open.path(place);
        let read = if open.files.contains_key(&place) { read(&path) } else { Ok(None) };
        let record = read.map(|file| file.map(|file| open.seals.read(key, &file)));
        let found = match record {
            Ok(Some(Some(record))) => {
                open.uses += 1;
                let uses = open.uses;
                open.files.entry(place).and_modify(|kept| kept.used = uses);
                // The next process knows by this what was used.
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(record)
            }
            Ok(None) => None,
            Ok(Some(None)) => {
                trouble.damaged(&path);
                open.remove(place);
                None
            }
            Err(error) => {
                trouble.begins(&path, &error.to_string());
                None
            }
        };
        let health = &self.trouble.health;
        let counter = if found.is_some() { &health.found_total } else { &health.absent_total };
        counter.fetch_add(1, Relaxed);
        self.tell();
        found
    }

    fn keep(&mut self, key: &Key, held: &Held, since_s: u64) {
        let bytes_max = self.bytes_max;
        let Some((open, trouble)) = self.opened() else {
            return;
        };
        let (place, print) = (open.seals.place(key), print(held));
        open.uses += 1;
        if let Some(kept) = open.files.get_mut(&place) {
            kept.used = open.uses;
            if let Some((says, said_since_s)) = kept.says
                && says == print
                && since_s.abs_diff(said_since_s) < RENEW_AFTER_S
            {
                return;
            }
        }
        let file = open.seals.write(key, held, since_s);
        let path = open.path(place);
        let written = make_folder(path.parent().unwrap_or(&open.folder))
            .and_then(|()| private_file::replace(&path, &file));
        match written {
            Ok(()) => {
                open.insert(place, file.len() as u64, Some((print, since_s)));
                open.trim(bytes_max);
                trouble.ends();
            }
            Err(error) => {
                open.remove(place);
                trouble.begins(&path, &error.to_string());
            }
        }
        self.tell();
    }

    fn forget(&mut self, key: &Key) {
        if let Some((open, _)) = self.opened() {
            let place = open.seals.place(key);
            open.remove(place);
            self.tell();
        }
    }

    fn revoke(&mut self, scope: Scope) {
        if let Some((open, _)) = self.opened() {
            let folder = open.seals.folder(scope);
            let gone: Vec<Place> =
                open.files.keys().filter(|place| place.folder == folder).copied().collect();
            gone.into_iter().for_each(|place| open.remove(place));
            self.tell();
        }
    }

    fn resize(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
        match self.opened() {
            Some((open, _)) => open.trim(bytes_max),
            None if bytes_max == 0 => {
                self.open = None;
                // What is not to be kept does not stay either; mostly there is nothing.
                let _ = fs::remove_dir_all(&self.folder);
            }
            None => {}
        }
        self.tell();
    }

    fn tell(&self) {
        let open = self.open.as_ref();
        let (bytes, files) = open.map_or((0, 0), |open| (open.bytes, open.files.len() as u64));
        self.trouble.health.bytes.store(bytes, Relaxed);
        self.trouble.health.files.store(files, Relaxed);
    }
}

impl Open {
    /// Opens `folder`, which is made if it is not there. What a process before this one has not
    /// finished is removed.
    fn at(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let seals = Seals::new(&secret(folder)?);
        let mut open =
            Self { folder: folder.into(), seals, files: HashMap::new(), bytes: 0, uses: 0 };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(of) = from_hex(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            for entry in fs::read_dir(entry.path())? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                match from_hex(&entry.file_name().to_string_lossy()) {
                    Some(file) => {
                        let place = Place { folder: of, file };
                        found.push((metadata.modified()?, place, metadata.len()));
                    }
                    None => drop(fs::remove_file(entry.path())),
                }
            }
        }
        found.sort_unstable_by_key(|(modified, ..)| *modified);
        for (_, place, bytes) in found {
            open.uses += 1;
            open.insert(place, bytes, None);
        }
        Ok(open)
    }

    fn path(&self, place: Place) -> PathBuf {
        self.folder.join(hex(&place.folder)).join(hex(&place.file))
    }

    fn insert(&mut self, place: Place, bytes: u64, says: Option<(u64, u64)>) {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let kept = Kept { bytes, used: self.uses, says };
        let before = self.files.insert(place, kept);
        self.bytes = self.bytes + bytes - before.map_or(0, |before| before.bytes);
    }

    fn remove(&mut self, place: Place) {
        let Some(kept) = self.files.remove(&place) else {
            return;
        };
        self.bytes -= kept.bytes;
        let path = self.path(place);
        // One that stays is found by the next process, and counts there.
        let _ = fs::remove_file(&path);
        if let Some(folder) = path.parent() {
            // Only an empty one goes.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Lets go what was not used for longest: an eighth at a time, so that looking for it is seldom.
    fn trim(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max || self.files.len() > MANIFESTS_ON_DISK_MAX {
            let mut ages: Vec<u64> = self.files.values().map(|kept| kept.used).collect();
            let nth = ages.len() / 8;
            let (_, &mut newest_to_go, _) = ages.select_nth_unstable(nth);
            let goes =
                |(place, kept): (&Place, &Kept)| (kept.used <= newest_to_go).then_some(*place);
            let gone: Vec<Place> = self.files.iter().filter_map(goes).collect();
            gone.into_iter().for_each(|place| self.remove(place));
        }
    }
}

impl Trouble {
    fn begins(&mut self, path: &Path, what: &str) {
        self.health.failures_total.fetch_add(1, Relaxed);
        if !std::mem::replace(&mut self.is_said, true) {
            let path = path.display();
            tracing::warn!("{path}: {what}; manifests are pulled as if none were kept on disk");
        }
    }

    /// One file is damaged: the next may not be.
    fn damaged(&mut self, path: &Path) {
        self.health.failures_total.fetch_add(1, Relaxed);
        if let Some(repeats) = self.damages.pass(now_us()) {
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

/// The secret in `folder`, or a new one. With a new one nothing that was kept opens any more.
fn secret(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join(SECRET);
    match fs::read(&path) {
        Ok(bytes) if bytes.len() == 32 => Ok(bytes.first_chunk().copied().unwrap_or_default()),
        Ok(_) => new_secret(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_secret(&path),
        Err(error) => Err(error),
    }
}

fn new_secret(path: &Path) -> io::Result<[u8; 32]> {
    let secret: [u8; 32] = random()?;
    private_file::replace_synced(path, &secret)?;
    Ok(secret)
}

/// Makes `folder` for its owner alone, if it is not there: private manifests may lie in it.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A whole file; `None` where there is none, or a longer one than any of ours.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn print(held: &Held) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&held.digest, &held.fields).hash(&mut hasher);
    hasher.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; PLACE_BYTES]> {
    if text.len() != 2 * PLACE_BYTES {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

fn now_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The folder in `data_dir`.
const FOLDER: &str = "manifests";
/// What names and seals are made with, in it.
const SECRET: &str = "secret";
/// What a file takes at the least, and in multiples of.
const BLOCK_BYTES: u64 = 4096;
/// How long what a tag stands for, and still does, is not written anew: after a restart it may count
/// as older by so much than it is.
const RENEW_AFTER_S: u64 = 15 * 60;
/// How often damage is said.
const DAMAGES_US: u64 = 60_000_000;
/// How long is waited for the disk when the gateway stops.
const PATIENCE: Duration = Duration::from_secs(5);
