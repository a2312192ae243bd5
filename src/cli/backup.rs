//! `pullgate backup`: a copy of all that cannot be made anew, from the running gateway, else from its files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, open, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use serde_json::Value;

use super::args::BackupArgs;
use super::progress::Progress;
use super::socket::{self, Begun};
use super::{fail, print};
use crate::aggregator::kept_offline;
use crate::control::accounts::{FILE, Store};
use crate::control::{backup, while_busy};
use crate::messages::random::random;
use crate::pure::secret;

/// Writes it.
pub fn run(args: &BackupArgs) -> ExitCode {
    match written(args) {
        Ok(bytes) => print(&format!("{}: {bytes} bytes\n", args.to.display())),
        Err(words) => fail(&words),
    }
}

/// How long it is. Until it is whole and on disk it has no name, or another.
fn written(BackupArgs { to, replace, data }: &BackupArgs) -> Result<u64, String> {
    if !data.is_dir() {
        return Err(format!("{}: no such directory: --data is the data_dir", data.display()));
    }
    let place = Place::of(to)?;
    match place.kind() {
        Ok(_) if !replace => return Err(there_already(to)),
        Ok(kind) if kind != FileType::RegularFile => {
            let to = to.display();
            return Err(format!(
                "{to}: is no regular file: --replace takes the place of one alone"
            ));
        }
        // What cannot be known is said where the file is made.
        Ok(_) | Err(_) => {}
    }
    place.stands_apart(data)?;
    let progress = Progress::start("copying");
    let said = |error: io::Error| format!("{}: {error}", to.display());
    let unfinished = unfinished(place.name).map_err(said)?;
    let (file, is_nameless) = match place.nameless().map_err(said)? {
        Some(file) => (file, true),
        None => (place.create(&unfinished).map_err(said)?, false),
    };
    let copied = copied(data, &file, &progress).and_then(|()| {
        let bytes = file.sync_all().and_then(|()| file.metadata()).map_err(said)?.len();
        let named = match (is_nameless, replace) {
            (true, false) => place.link(&file, place.name),
            // Only what has a name can take the place of another.
            (true, true) => {
                place.link(&file, &unfinished).and_then(|()| place.give_name(&unfinished, true))
            }
            (false, _) => place.give_name(&unfinished, *replace),
        };
        named.map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
            if is_taken { there_already(to) } else { said(error) }
        })?;
        // That it has its name is on disk too; file systems that cannot say so do without.
        let _ = place.sync();
        Ok(bytes)
    });
    if copied.is_err() {
        let _ = unlinkat(&place.folder, &unfinished, AtFlags::empty());
    }
    copied
}

/// Where the copy is to be: a folder, which stays the one that was looked at, whatever stands at its name by
/// the time that something is made in it, and a name there.
struct Place<'t> {
    to: &'t Path,
    folder: OwnedFd,
    name: &'t OsStr,
}

impl<'t> Place<'t> {
    fn of(to: &'t Path) -> Result<Self, String> {
        let Some(name) = to.file_name() else {
            return Err(format!("{}: names no file: --to names one to be made", to.display()));
        };
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(folder, flags, Mode::empty()).map_err(|error| {
            format!("{}: {}: {}", to.display(), folder.display(), io::Error::from(error))
        })?;
        Ok(Self { to, folder: opened, name })
    }

    /// What has that name.
    fn kind(&self) -> io::Result<FileType> {
        let known = statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(known.st_mode))
    }

    /// In the directory that is copied it would be copied too, and into each copy after it.
    fn stands_apart(&self, data: &Path) -> Result<(), String> {
        // Without /proc nobody knows where the folder is by now.
        let (Ok(folder), Ok(data)) = (handle(&self.folder).read_link(), data.canonicalize()) else {
            return Ok(());
        };
        if folder.starts_with(&data) {
            let (to, data) = (self.to.display(), data.display());
            return Err(format!(
                "{to}: is in {data}, which is to be copied: name a file elsewhere"
            ));
        }
        Ok(())
    }

    /// A file of that folder's file system that has no name: where this is killed, nothing of it is left
    /// (`O_TMPFILE`, open(2)). `None` where there are none.
    fn nameless(&self) -> io::Result<Option<File>> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(&self.folder, ".", flags, OURS) {
            // Without /proc it could not be named later.
            Ok(file) => Ok(Some(File::from(file)).filter(|file| handle(file).exists())),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// One of this name. What somebody else has put there is not written to.
    fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(openat(&self.folder, name, flags, OURS)?.into())
    }

    /// Gives a file without one a name that nobody has.
    fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        Ok(linkat(CWD, handle(file), &self.folder, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Gives what is whole its name, which nobody else has taken meanwhile unless it is to `replace`.
    fn give_name(&self, unfinished: &OsStr, replace: bool) -> io::Result<()> {
        let folder = self.folder.as_fd();
        if replace {
            return Ok(renameat(folder, unfinished, folder, self.name)?);
        }
        by_the_first(&[renamed, linked_anew, looked_and_renamed], folder, unfinished, self.name)
    }

    fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(openat(&self.folder, ".", flags, Mode::empty())?).sync_all()
    }
}

/// For its owner alone: it holds keys.
const OURS: Mode = Mode::RUSR.union(Mode::WUSR);

fn handle(file: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

fn there_already(to: &Path) -> String {
    let to = to.display();
    format!("{to}: is there already: --to names a file to be made, unless --replace is said")
}

/// How something in a folder gets a name there that nobody has.
type Way = fn(BorrowedFd<'_>, &OsStr, &OsStr) -> io::Result<()>;

/// Of these ways, the first that the file system has.
fn by_the_first(ways: &[Way], folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::Unsupported.into());
    for way in ways {
        outcome = way(folder, from, to);
        let errno = outcome.as_ref().err().and_then(Errno::from_io_error);
        let has_it_not = [Errno::INVAL, Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP];
        if errno.is_none_or(|errno| !has_it_not.contains(&errno)) {
            break;
        }
    }
    outcome
}

fn renamed(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE)?)
}

fn linked_anew(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    linkat(folder, from, folder, to, AtFlags::empty())?;
    Ok(unlinkat(folder, from, AtFlags::empty())?)
}

/// Somebody may take the name between the two: such file systems have nothing better.
fn looked_and_renamed(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => Ok(renameat(folder, from, folder, to)?),
    }
}

fn copied(data: &Path, file: &File, progress: &Progress) -> Result<(), String> {
    match socket::lines(data, "/backup")? {
        Ok(Begun::Lines(lines)) => {
            let out = BufWriter::new(file);
            lines.copy(out).map_err(|error| format!("the copy has ended early: {error}"))
        }
        Ok(Begun::Refused(body)) => {
            let said: Value = serde_json::from_str(&body).unwrap_or_default();
            Err(said["error"].as_str().unwrap_or("is the gateway of the same version?").to_owned())
        }
        Err(error) if socket::is_alone(&error) => {
            progress.say("copying the files of a gateway that does not run");
            offline(data, file)
        }
        Err(error) => Err(socket::unheard(data, &error)),
    }
}

/// Of a gateway that does not run, which is kept so meanwhile.
fn offline(data: &Path, file: &File) -> Result<(), String> {
    if !data.join("lock").exists() {
        let data = data.display();
        return Err(format!(
            "{data}: no gateway has kept anything here: --data is the data_dir of its configuration"
        ));
    }
    let (counts, _lock) =
        while_busy(|| kept_offline(data)).map_err(|error| format!("the counts: {error}"))?;
    let accounts = data.join(FILE);
    let database = match accounts.exists() {
        true => {
            let copy = Store::open(&accounts).and_then(|store| store.copy());
            Some(copy.map_err(|error| error.to_string())?)
        }
        false => None,
    };
    backup::write(data, &counts, database.as_ref(), BufWriter::new(file))
        .map_err(|error| format!("{}: {error}", data.display()))
}

/// What it is called until it is whole: nobody knows that before.
fn unfinished(name: &OsStr) -> io::Result<OsString> {
    let mut name = name.to_owned();
    name.push(format!(".{}.unfinished", secret::text(&random::<8>()?)));
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    const NEW: &str = "unfinished";

    #[test]
    fn what_somebody_has_put_there_meanwhile_is_left_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (unfinished, to) = (dir.path().join(NEW), dir.path().join("to"));
        let place = Place::of(&to).unwrap();
        let named = |replace| place.give_name(NEW.as_ref(), replace);
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        fs::write(&unfinished, "new").unwrap();
        fs::write(&to, "somebody's").unwrap();
        let refused = named(false).unwrap_err();
        assert_eq!((refused.kind(), &*text(&to)), (io::ErrorKind::AlreadyExists, "somebody's"));
        named(true).unwrap();
        assert_eq!((&*text(&to), unfinished.exists()), ("new", false));
        fs::write(&unfinished, "newer").unwrap();
        fs::remove_file(&to).unwrap();
        named(false).unwrap();
        assert_eq!((&*text(&to), unfinished.exists()), ("newer", false));
    }

    #[test]
    fn where_a_file_system_has_none_of_the_better_ways_it_is_looked_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join(NEW), dir.path().join("to"));
        let place = Place::of(&to).unwrap();
        let named =
            |ways: &[Way]| by_the_first(ways, place.folder.as_fd(), NEW.as_ref(), place.name);
        let ways: [Way; 3] = [
            |_, _, _| Err(Errno::INVAL.into()),
            |_, _, _| Err(Errno::PERM.into()),
            looked_and_renamed,
        ];
        fs::write(&from, "new").unwrap();
        fs::write(&to, "somebody's").unwrap();
        let refused = named(&ways).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "somebody's");
        fs::remove_file(&to).unwrap();
        named(&ways).unwrap();
        assert_eq!((fs::read_to_string(&to).unwrap(), from.exists()), ("new".to_owned(), false));
        // What another way would not make better is said.
        let ways: [Way; 2] = [|_, _, _| Err(Errno::NOSPC.into()), looked_and_renamed];
        fs::write(&from, "newer").unwrap();
        let refused = named(&ways).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        fs::remove_file(&to).unwrap();
        linked_anew(place.folder.as_fd(), NEW.as_ref(), place.name).unwrap();
        assert_eq!((fs::read_to_string(&to).unwrap(), from.exists()), ("newer".to_owned(), false));
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_stays_the_one_that_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["backups", "data"] {
            fs::create_dir(at(folder)).unwrap();
        }
        let to = at("backups/pullgate.tar");
        let place = Place::of(&to).unwrap();
        place.stands_apart(&at("data")).unwrap();
        fs::rename(at("backups"), at("moved")).unwrap();
        symlink(at("data"), at("backups")).unwrap();
        // By each way in which it is made.
        for (name, replace) in [("nameless", true), ("unfinished", true), ("first", false)] {
            let unfinished = unfinished(place.name).unwrap();
            match name {
                "nameless" => {
                    let mut file = place.nameless().unwrap().expect("a file system that has them");
                    file.write_all(name.as_bytes()).unwrap();
                    place.link(&file, &unfinished).unwrap();
                }
                _ => place.create(&unfinished).unwrap().write_all(name.as_bytes()).unwrap(),
            }
            place.give_name(&unfinished, replace).unwrap();
            place.sync().unwrap();
            assert_eq!(fs::read_to_string(at("moved/pullgate.tar")).unwrap(), name);
            assert_eq!(place.kind().unwrap(), FileType::RegularFile);
            assert_eq!(fs::read_dir(at("moved")).unwrap().count(), 1);
            assert_eq!(fs::read_dir(at("data")).unwrap().count(), 0);
            fs::remove_file(at("moved/pullgate.tar")).unwrap();
        }
        // A link that was there before is followed to where it leads, and that is what is looked at.
        let place = Place::of(&to).unwrap();
        assert!(place.stands_apart(&at("data")).unwrap_err().contains("which is to be copied"));
    }

    #[test]
    fn what_it_is_called_before_nobody_can_know() {
        let to = OsStr::new("pullgate.tar");
        let (one, other) = (unfinished(to).unwrap(), unfinished(to).unwrap());
        assert!(one != other && one.len() > to.len());
    }
}
