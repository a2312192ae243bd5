//! The files that manifests are kept in: which there are, by the folder of their repository, and what
//! they take.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::statvfs;

use crate::control::private_file;
use crate::messages::random::random;
use crate::pure::cache::{Held, Key, PLACE_BYTES, Place, RECORD_BYTES_MAX, Record, Scope, Seals};
use crate::pure::limits::MANIFESTS_ON_DISK_MAX;

/// The files of `data_dir/manifests`, as this process has found and made them.
pub(super) struct Files {
    folder: PathBuf,
    seals: Seals,
    /// By folder and name. No folder is here without a file.
    kept: HashMap<Name, HashMap<Name, Kept>>,
    /// Files that are not to be there, but could not be removed. Nothing is read of them any more.
    left: Vec<PathBuf>,
    bytes: u64,
    number: usize,
    uses: u64,
}

/// A folder's or a file's name, as bytes.
type Name = [u8; PLACE_BYTES];

/// A file.
struct Kept {
    bytes: u64,
    /// The measure of age.
    used: u64,
    /// A print of what it says, and since when, as far as this process has written it.
    says: Option<(u64, u64)>,
}

/// What came of reading a file.
pub(super) enum Reading {
    /// It says this.
    Found(Box<Record>),
    /// There is none.
    Absent,
    /// It did not open, and is gone.
    Damaged,
}

impl Files {
    /// Those in `folder`, which is made if it is not there. What a process before this one has not
    /// finished is removed, and everything that another secret has sealed.
    pub(super) fn at(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let (secret, is_new) = secret(folder)?;
        let mut files = Self {
            folder: folder.into(),
            seals: Seals::new(&secret),
            kept: HashMap::new(),
            left: Vec::new(),
            bytes: 0,
            number: 0,
            uses: 0,
        };
        let mut found = Vec::new();
        for (name, path) in inside(folder)? {
            let Some(of) = from_hex(&name) else {
                continue;
            };
            if is_new {
                // What stays all the same does not open.
                let _ = fs::remove_dir_all(&path);
                continue;
            }
            // What is no folder is none of ours, and what cannot be read holds nothing.
            for (name, path) in inside(&path).unwrap_or_default() {
                let metadata = fs::symlink_metadata(&path);
                let modified = metadata.and_then(|it| Ok((it.modified()?, it.len())));
                match (from_hex(&name), modified) {
                    (Some(file), Ok((modified, bytes))) => {
                        found.push((modified, Place { folder: of, file }, bytes));
                    }
                    _ => drop(fs::remove_file(path)),
                }
            }
        }
        found.sort_unstable_by_key(|(modified, ..)| *modified);
        for (_, place, bytes) in found {
            files.uses += 1;
            files.insert(place, bytes, None);
        }
        Ok(files)
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many there are.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Where the file of `key` is.
    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.path_of(self.seals.place(key))
    }

    /// What is kept under `key`.
    ///
    /// # Errors
    /// Why it could not be read.
    pub(super) fn read(&mut self, key: &Key) -> io::Result<Reading> {
        let place = self.seals.place(key);
        let path = self.path_of(place);
        let Some(kept) = self.kept.get_mut(&place.folder).and_then(|of| of.get_mut(&place.file))
        else {
            return Ok(Reading::Absent);
        };
        self.uses += 1;
        kept.used = self.uses;
        let Some(file) = read(&path)? else {
            self.remove(place);
            return Ok(Reading::Absent);
        };
        let Some(record) = self.seals.read(key, &file) else {
            self.remove(place);
            return Ok(Reading::Damaged);
        };
        // The next process knows by this what was used.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Reading::Found(Box::new(record)))
    }

    /// Keeps `held`, which was asked for at `since_s`, unless the file says so already, of less than
    /// `good_s` before.
    ///
    /// # Errors
    /// Why it could not be written. Then nothing is kept under `key`.
    pub(super) fn write(
        &mut self,
        key: &Key,
        held: &Held,
        since_s: u64,
        good_s: u64,
    ) -> io::Result<()> {
        let (place, print) = (self.seals.place(key), print(held));
        self.uses += 1;
        let kept = self.kept.get_mut(&place.folder).and_then(|of| of.get_mut(&place.file));
        if let Some(kept) = kept {
            kept.used = self.uses;
            if let Some((says, said_since_s)) = kept.says
                && says == print
                && since_s.abs_diff(said_since_s) < good_s
            {
                return Ok(());
            }
        }
        let file = self.seals.write(key, held, since_s);
        let path = self.path_of(place);
        let written = make_folder(path.parent().unwrap_or(&self.folder))
            .and_then(|()| private_file::replace(&path, &file));
        match written {
            Ok(()) => self.insert(place, file.len() as u64, Some((print, since_s))),
            Err(_) => self.remove(place),
        }
        written
    }

    /// Removes the file of `key`.
    pub(super) fn forget(&mut self, key: &Key) {
        self.remove(self.seals.place(key));
    }

    /// Removes all files of `scope`.
    pub(super) fn forget_all_of(&mut self, scope: Scope) {
        let folder = self.seals.folder(scope);
        let files = self.kept.get(&folder).into_iter().flat_map(HashMap::keys);
        let gone: Vec<Place> = files.map(|&file| Place { folder, file }).collect();
        gone.into_iter().for_each(|place| self.remove(place));
    }

    /// Removes what was not used for longest until no more is left than `bytes_max`: an eighth at a
    /// time, so that looking for it is seldom.
    pub(super) fn trim(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max || self.number > MANIFESTS_ON_DISK_MAX {
            let mut ages: Vec<u64> = self.all().map(|(_, kept)| kept.used).collect();
            let nth = ages.len() / 8;
            let (_, &mut newest_to_go, _) = ages.select_nth_unstable(nth);
            let goes = |(place, kept): (Place, &Kept)| (kept.used <= newest_to_go).then_some(place);
            let gone: Vec<Place> = self.all().filter_map(goes).collect();
            gone.into_iter().for_each(|place| self.remove(place));
        }
    }

    /// Tries again to remove what could not be removed.
    ///
    /// # Errors
    /// Which one still cannot, and why.
    pub(super) fn clear_away(&mut self) -> Result<(), (PathBuf, io::Error)> {
        while let Some(path) = self.left.pop() {
            if let Err(error) = remove_file(&path) {
                self.left.push(path.clone());
                return Err((path, error));
            }
        }
        Ok(())
    }

    /// Whether the file system has room for more, and beside it for whatever else is kept there, the
    /// counts above all. One that does not say has.
    pub(super) fn has_room(&self) -> bool {
        let Ok(said) = statvfs(&self.folder) else {
            return true;
        };
        leaves_room(said.f_bavail, said.f_blocks, RESERVE_BYTES_MAX / said.f_frsize.max(1))
            && leaves_room(said.f_favail, said.f_files, RESERVE_FILES_MAX)
    }

    fn all(&self) -> impl Iterator<Item = (Place, &Kept)> {
        self.kept.iter().flat_map(|(&folder, files)| {
            files.iter().map(move |(&file, kept)| (Place { folder, file }, kept))
        })
    }

    fn path_of(&self, place: Place) -> PathBuf {
        self.folder.join(hex(&place.folder)).join(hex(&place.file))
    }

    fn insert(&mut self, place: Place, bytes: u64, says: Option<(u64, u64)>) {
        let path = self.path_of(place);
        self.left.retain(|left| *left != path);
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let files = self.kept.entry(place.folder).or_default();
        // A folder takes room too.
        let folder = if files.is_empty() { BLOCK_BYTES } else { 0 };
        let before = files.insert(place.file, Kept { bytes, used: self.uses, says });
        self.number += usize::from(before.is_none());
        self.bytes = self.bytes + folder + bytes - before.map_or(0, |before| before.bytes);
    }

    fn remove(&mut self, place: Place) {
        let Some(files) = self.kept.get_mut(&place.folder) else {
            return;
        };
        let Some(kept) = files.remove(&place.file) else {
            return;
        };
        let is_last = files.is_empty();
        self.bytes -= kept.bytes;
        self.number -= 1;
        let path = self.path_of(place);
        if remove_file(&path).is_err() {
            self.left.push(path.clone());
        }
        if is_last {
            self.bytes -= BLOCK_BYTES;
            self.kept.remove(&place.folder);
            // One that is not empty stays.
            let _ = path.parent().map(fs::remove_dir);
        }
    }
}

/// Whether of `all` that there is so much is available that a tenth, or `reserve_max`, is left. Some
/// file systems do not count files: they say that there are 0.
fn leaves_room(available: u64, all: u64, reserve_max: u64) -> bool {
    all == 0 || available > reserve_max.min(all / 10)
}

/// The names and paths in `folder`; of what cannot be read nothing is known.
fn inside(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok);
    let named = entries.map(|it| (it.file_name().to_string_lossy().into_owned(), it.path()));
    Ok(named.collect())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The secret in `folder`, or a new one, and whether it is: then nothing that was kept opens any more.
fn secret(folder: &Path) -> io::Result<([u8; 32], bool)> {
    let path = folder.join(SECRET);
    match fs::read(&path) {
        Ok(bytes) if bytes.len() == 32 => {
            Ok((bytes.first_chunk().copied().unwrap_or_default(), false))
        }
        Ok(_) => new_secret(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_secret(&path),
        Err(error) => Err(error),
    }
}

fn new_secret(path: &Path) -> io::Result<([u8; 32], bool)> {
    let secret: [u8; 32] = random()?;
    private_file::replace_synced(path, &secret)?;
    Ok((secret, true))
}

/// Makes `folder` for its owner alone, if it is not there: private manifests may lie in it.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A whole file; `None` where there is none. Of a longer one than any of ours, the beginning.
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

fn from_hex(text: &str) -> Option<Name> {
    if text.len() != 2 * PLACE_BYTES {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// What names and seals are made with, in the folder.
const SECRET: &str = "secret";
/// What a file takes at the least, and in multiples of.
const BLOCK_BYTES: u64 = 4096;
/// What a large file system keeps free of manifests, in bytes: more than the counts ever take at once.
const RESERVE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The same in files.
const RESERVE_FILES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::pure::cache::{Body, Sought};
    use crate::pure::oci::sha256::sha256_of;
    use crate::pure::tokens::Identity;

    fn key(repository: &str, tag: &str) -> Key {
        Key::of(&Sought {
            base: "https://ghcr.io/v2/".into(),
            repository: repository.into(),
            reference: tag.into(),
            identity: Identity::Anonymous,
            accept: "".into(),
            is_head: false,
            has_others: false,
        })
    }

    fn scope(repository: &str) -> Scope {
        key(repository, "any").scope()
    }

    fn held(body: &[u8]) -> Held {
        Held::new(200, b"", &sha256_of(body), Some(Body::new(body.into())), b"")
    }

    /// A folder with files of two repositories.
    fn filled() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::at(&dir.path().join("manifests")).unwrap();
        for (repository, tag) in [("one", "a"), ("one", "b"), ("two", "a")] {
            files.write(&key(repository, tag), &held(tag.as_bytes()), 5, 1).unwrap();
        }
        (dir, files)
    }

    fn has(files: &mut Files, repository: &str, tag: &str) -> bool {
        matches!(files.read(&key(repository, tag)), Ok(Reading::Found(_)))
    }

    #[test]
    fn what_is_refused_goes_and_nothing_else() {
        let (_dir, mut files) = filled();
        assert_eq!((files.number(), files.bytes()), (3, 5 * BLOCK_BYTES));
        files.forget_all_of(scope("three"));
        files.forget_all_of(scope("one"));
        assert_eq!((files.number(), files.bytes()), (1, 2 * BLOCK_BYTES));
        assert!(!has(&mut files, "one", "a") && has(&mut files, "two", "a"));
        files.forget(&key("two", "a"));
        assert_eq!((files.number(), files.bytes()), (0, 0));
        let left = inside(&files.folder).unwrap();
        assert_eq!(left.len(), 1, "{left:?} has more than the secret");
    }

    #[test]
    fn what_was_used_last_stays() {
        let (_dir, mut files) = filled();
        assert!(has(&mut files, "one", "a"));
        files.trim(4 * BLOCK_BYTES);
        assert!(!has(&mut files, "one", "b") && has(&mut files, "two", "a"));
        files.trim(0);
        assert_eq!((files.number(), files.bytes()), (0, 0));
    }

    #[test]
    fn a_file_in_anothers_place_does_not_open() {
        let (_dir, mut files) = filled();
        let (one, other) = (files.path(&key("one", "a")), files.path(&key("two", "a")));
        let bytes = [fs::read(&one).unwrap(), fs::read(&other).unwrap()];
        fs::write(&one, &bytes[1]).unwrap();
        fs::write(&other, &bytes[0]).unwrap();
        for repository in ["one", "two"] {
            let read = files.read(&key(repository, "a"));
            assert!(matches!(read, Ok(Reading::Damaged)), "{repository}");
            assert!(matches!(files.read(&key(repository, "a")), Ok(Reading::Absent)));
        }
        assert!(has(&mut files, "one", "b"));
    }

    #[test]
    fn the_next_process_finds_what_is_ours_whatever_else_lies_there() {
        let (_dir, files) = filled();
        let folder = files.folder.clone();
        fs::write(folder.join("0".repeat(32)), "no folder").unwrap();
        fs::write(folder.join("notes"), "of somebody's").unwrap();
        fs::write(files.path(&key("one", "a")).with_extension("new"), "not finished").unwrap();
        let mut files = Files::at(&folder).unwrap();
        assert_eq!((files.number(), files.bytes()), (3, 5 * BLOCK_BYTES));
        assert!(has(&mut files, "one", "a") && has(&mut files, "two", "a"));
        // Without the secret nothing opens, and nothing stays.
        fs::write(folder.join(SECRET), "short").unwrap();
        fs::remove_file(folder.join("0".repeat(32))).unwrap();
        let files = Files::at(&folder).unwrap();
        assert_eq!((files.number(), files.bytes()), (0, 0));
        let mut left: Vec<String> = inside(&folder).unwrap().into_iter().map(|it| it.0).collect();
        left.sort();
        assert_eq!(left, ["notes", SECRET]);
    }

    #[test]
    fn what_is_said_already_is_written_anew_when_it_is_over() {
        let (_dir, mut files) = filled();
        let mut since = |since_s| {
            files.write(&key("one", "a"), &held(b"a"), since_s, 100).unwrap();
            match files.read(&key("one", "a")) {
                Ok(Reading::Found(record)) => record.since_s,
                _ => panic!("it is there"),
            }
        };
        // Also where the clock was put back, far enough.
        assert_eq!([104, 105, 204, 205, 106, 105].map(&mut since), [5, 105, 105, 205, 205, 105]);
    }

    #[test]
    fn what_cannot_be_removed_is_not_read_any_more_and_tried_again() {
        let (_dir, mut files) = filled();
        // A folder in its place cannot be removed as a file can, whoever tries.
        let path = files.path(&key("two", "a"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        files.forget_all_of(scope("two"));
        assert!(!has(&mut files, "two", "a"));
        assert_eq!(files.clear_away().unwrap_err().0, path);
        fs::remove_dir(&path).unwrap();
        files.clear_away().unwrap();
        assert!(files.left.is_empty());
        // What is written there anew is to be there.
        files.left.push(path.clone());
        files.write(&key("two", "a"), &held(b"new"), 5, 1).unwrap();
        files.clear_away().unwrap();
        assert!(has(&mut files, "two", "a"));
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_tenth_is_left_to_others_and_of_much_less() {
        for (available, all, leaves) in [
            (11, 100, true),
            (10, 100, false),
            (0, 0, true),
            (1_001, 1_000_000, true),
            (1_000, 1_000_000, false),
        ] {
            assert_eq!(leaves_room(available, all, 1_000), leaves, "{available} of {all}");
        }
        let (_dir, files) = filled();
        let _ = files.has_room();
    }
}
