//! A copy of all that cannot be made anew: counts, accounts, certificates, keys. One tar file, whose members
//! are the files of a `data_dir`: unpacked into an empty one, a gateway starts from it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Dir, Mode, OFlags, open, openat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::accounts;
use super::archive;
use crate::aggregator::{Kept, is_of_store};

/// Writes a copy of `data_dir` to `out`: `counts`, the database in `accounts`, and every other file but what
/// is only kept for speed.
///
/// # Errors
/// Something cannot be read, or `out` takes no more.
pub fn write(
    data_dir: &Path,
    counts: &[Kept],
    accounts: Option<&File>,
    out: impl Write,
) -> io::Result<()> {
    let mut tar = Builder::new(out);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for kept in counts {
        put(&mut tar, Path::new(&kept.name), now_s, kept.bytes, kept.reader())?;
    }
    if let Some(file) = accounts {
        let bytes = file.metadata()?.len();
        put(&mut tar, Path::new(accounts::FILE), now_s, bytes, file)?;
    }
    let is_other = |name: &str| {
        let is_database = name.starts_with(accounts::FILE) || name == accounts::COPY;
        !is_database && !is_of_store(name) && name != archive::FOLDER
    };
    let folder = open(data_dir, A_FOLDER, Mode::empty())?;
    for name in sorted(&folder)? {
        if is_other(&name) {
            still_there(put_below(&mut tar, Path::new(&name), &folder, &name, now_s))?;
        }
    }
    tar.into_inner()?.flush()
}

/// What comes of copying something. A gateway that runs may have removed it since its name was read: then it is
/// not to be copied. Nothing of it is in the archive then, for it is opened before its head is written.
fn still_there(copied: io::Result<()>) -> io::Result<()> {
    match copied {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied,
    }
}

/// What is called `of` in `folder`, as the member `name`: a file, or a folder with all that is in it. What is
/// neither, such as a socket, is left out, as is what is just being replaced.
fn put_below(
    tar: &mut Builder<impl Write>,
    name: &Path,
    folder: &OwnedFd,
    of: &str,
    now_s: u64,
) -> io::Result<()> {
    match opened(folder, of)? {
        Some(Opened::Folder(folder)) => {
            let inside = sorted(&folder)?;
            let mut header = header(now_s, 0, 0o700);
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, name, io::empty())?;
            for below in inside {
                still_there(put_below(tar, &name.join(&below), &folder, &below, now_s))?;
            }
        }
        Some(Opened::File(file, bytes)) if !of.ends_with(".new") => {
            put(tar, name, now_s, bytes, file)?;
        }
        Some(Opened::File(..)) | None => {}
    }
    Ok(())
}

/// What was there when it was opened, whatever has its name since.
enum Opened {
    /// A file, and how long it is.
    File(File, u64),
    /// A folder.
    Folder(OwnedFd),
}

/// What is called `name` in `folder`; `None` for what is neither file nor folder. Links are not followed out of
/// the directory, and nothing is waited for, such as the other end of a pipe.
fn opened(folder: &OwnedFd, name: &str) -> io::Result<Option<Opened>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A link, or a socket (open(2)).
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let known = file.metadata()?;
    Ok(match known.is_dir() {
        true => Some(Opened::Folder(file.into())),
        false => known.is_file().then(|| Opened::File(file, known.len())),
    })
}

/// One member, of exactly so many bytes.
fn put(
    tar: &mut Builder<impl Write>,
    name: &Path,
    now_s: u64,
    bytes: u64,
    from: impl Read,
) -> io::Result<()> {
    let mut counted = Counted { from: from.take(bytes), left: bytes };
    tar.append_data(&mut header(now_s, bytes, 0o600), name, &mut counted)?;
    match counted.left {
        0 => Ok(()),
        left => {
            let words = format!("{}: {left} bytes of {bytes} are missing", name.display());
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, words))
        }
    }
}

/// What is read, and how much of it is still to come.
struct Counted<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let many = self.from.read(room)?;
        self.left = self.left.saturating_sub(many as u64);
        Ok(many)
    }
}

fn header(now_s: u64, bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(now_s);
    header
}

/// What is in a folder, by name.
fn sorted(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        // All names are the gateway's own.
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            found.push(name.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

const A_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn a_copy_has_what_cannot_be_made_anew_and_nothing_else() {
        let dir = scratch();
        let folders = ["acme/le", "counts", "counts.damaged.1", archive::FOLDER];
        for folder in folders {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in [
            "acme/le/account.key",
            "acme/le/a.crt.new",
            "badges.key",
            "counts/db",
            "lock",
            "accounts.sqlite",
            "accounts.sqlite-wal",
            "journal.00000000000000000001",
        ] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("control.sock"));
        let database = File::open(dir.path().join("accounts.sqlite")).unwrap();
        let mut bytes = Vec::new();
        write(dir.path(), &[], Some(&database), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name, (mode, text));
        }
        let file = |text: &str| (0o600, text.to_owned());
        let folder = (0o700, String::new());
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [
                ("accounts.sqlite".to_owned(), file("accounts.sqlite")),
                ("acme".to_owned(), folder.clone()),
                ("acme/le".to_owned(), folder),
                ("acme/le/account.key".to_owned(), file("acme/le/account.key")),
                ("badges.key".to_owned(), file("badges.key")),
                ("lock".to_owned(), file("lock")),
            ]
        );
    }

    #[test]
    fn what_is_no_file_is_not_read_nor_waited_for() {
        let dir = scratch();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let (fifo, mode) = (rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, mode, 0).unwrap();
        let folder = open(dir.path(), A_FOLDER, Mode::empty()).unwrap();
        assert!(matches!(opened(&folder, "file").unwrap(), Some(Opened::File(_, 4))));
        for name in ["link", "socket", "pipe"] {
            assert!(opened(&folder, name).unwrap().is_none(), "{name}");
        }
        let gone = opened(&folder, "nowhere").map(|_| ()).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_is_read_no_further_than_what_it_was() {
        let (dir, elsewhere) = (scratch(), scratch());
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("acme")).unwrap();
        fs::write(at("acme/account.key"), "ours").unwrap();
        fs::write(elsewhere.path().join("shadow"), "theirs").unwrap();
        let folder = open(dir.path(), A_FOLDER, Mode::empty()).unwrap();
        let Some(Opened::Folder(acme)) = opened(&folder, "acme").unwrap() else {
            panic!("it is a folder");
        };
        fs::rename(at("acme"), at("moved")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), at("acme")).unwrap();
        // What was opened is what it was.
        assert_eq!(sorted(&acme).unwrap(), ["account.key"]);
        let mut tar = Builder::new(Vec::new());
        put_below(&mut tar, Path::new("acme/account.key"), &acme, "account.key", 0).unwrap();
        // And what stands there now is a link, which leads nowhere.
        put_below(&mut tar, Path::new("acme"), &folder, "acme", 0).unwrap();
        let bytes = tar.into_inner().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("ours") && !text.contains("theirs") && !text.contains("shadow"));
    }

    #[test]
    fn what_vanishes_meanwhile_is_left_out_and_the_rest_is_whole() {
        let dir = scratch();
        fs::create_dir(dir.path().join("kept")).unwrap();
        for number in 0..50 {
            fs::write(dir.path().join(format!("kept/{number:02}")), [7; 5000]).unwrap();
        }
        // Somebody makes and removes files and folders all the time.
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, at) = (Arc::clone(&is_over), dir.path().to_owned());
        let restless = std::thread::spawn(move || {
            let mut rounds = 0u64;
            while !over.load(Relaxed) {
                let folder = at.join("folder");
                fs::create_dir(&folder).unwrap();
                for name in ["kept/gone", "first", "folder/inside"] {
                    fs::write(at.join(name), "x").unwrap();
                    fs::remove_file(at.join(name)).unwrap();
                }
                fs::remove_dir(&folder).unwrap();
                rounds += 1;
            }
            rounds
        });
        let names = || {
            let mut bytes = Vec::new();
            write(dir.path(), &[], None, &mut bytes).unwrap();
            let mut archive = tar::Archive::new(&bytes[..]);
            let name = |entry: io::Result<tar::Entry<'_, _>>| {
                entry.unwrap().path().unwrap().display().to_string()
            };
            archive.entries().unwrap().map(name).collect::<BTreeSet<String>>()
        };
        for _ in 0..300 {
            let names = names();
            let kept = names
                .iter()
                .filter(|name| name.strip_prefix("kept/").is_some_and(|name| name.len() == 2));
            assert_eq!(kept.count(), 50);
        }
        is_over.store(true, Relaxed);
        assert!(restless.join().unwrap() > 0);
        // And for certain, whatever the other thread did.
        let (mut tar, gone) = (Builder::new(Vec::new()), "nowhere");
        let folder = open(dir.path(), A_FOLDER, Mode::empty()).unwrap();
        let copied = put_below(&mut tar, Path::new(gone), &folder, gone, 0);
        still_there(copied).unwrap();
        let nothing = Builder::new(Vec::new()).into_inner().unwrap();
        assert_eq!(tar.into_inner().unwrap(), nothing);
    }
}
