//! A copy of all that cannot be made anew: counts, accounts, certificates, keys. One tar file, whose members
//! are the files of a `data_dir`: unpacked into an empty one, a gateway starts from it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, open};
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
    for (name, path) in sorted(data_dir)? {
        if is_other(&name) {
            still_there(put_below(&mut tar, Path::new(&name), &path, now_s))?;
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

/// A file, or a folder with all that is in it. What is no file, such as a socket, is left out, as is what is
/// just being replaced.
fn put_below(
    tar: &mut Builder<impl Write>,
    name: &Path,
    path: &Path,
    now_s: u64,
) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        let inside = sorted(path)?;
        let mut header = header(now_s, 0, 0o700);
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, name, io::empty())?;
        for (below, path) in inside {
            still_there(put_below(tar, &name.join(below), &path, now_s))?;
        }
    } else if kind.is_file()
        && path.extension().is_none_or(|ending| ending != "new")
        && let Some((file, bytes)) = opened(path)?
    {
        put(tar, name, now_s, bytes, file)?;
    }
    Ok(())
}

/// A file and how long it is; `None` for what is no file by now. Links are not followed out of the directory,
/// and nothing is waited for, such as the other end of a pipe.
fn opened(path: &Path) -> io::Result<Option<(File, u64)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A link, or a socket (open(2)).
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let known = file.metadata()?;
    Ok(known.is_file().then_some((file, known.len())))
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
fn sorted(folder: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // All names are the gateway's own.
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            found.push((name.to_owned(), path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
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
        fs::create_dir(at("folder")).unwrap();
        assert_eq!(opened(&at("file")).unwrap().unwrap().1, 4);
        for name in ["link", "socket", "pipe", "folder"] {
            assert!(opened(&at(name)).unwrap().is_none(), "{name}");
        }
        let gone = opened(&at("nowhere")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
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
        let (mut tar, gone) = (Builder::new(Vec::new()), dir.path().join("nowhere"));
        let copied = put_below(&mut tar, Path::new("nowhere"), &gone, 0);
        still_there(copied).unwrap();
        let nothing = Builder::new(Vec::new()).into_inner().unwrap();
        assert_eq!(tar.into_inner().unwrap(), nothing);
    }
}
