//! `pullgate backup`: a copy of all that cannot be made anew, from the running gateway, else from its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, open, renameat_with};
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
    match to.symlink_metadata() {
        Ok(_) if !replace => return Err(there_already(to)),
        Ok(known) if !known.is_file() => {
            let to = to.display();
            return Err(format!(
                "{to}: is no regular file: --replace takes the place of one alone"
            ));
        }
        // What cannot be known is said where the file is made.
        Ok(_) | Err(_) => {}
    }
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    stands_apart(folder, to, data)?;
    let progress = Progress::start("copying");
    let unfinished = unfinished(to).map_err(|error| error.to_string())?;
    let (file, is_nameless) = match nameless(folder)? {
        Some(file) => (file, true),
        None => {
            let mut options = OpenOptions::new();
            // It holds keys, and what somebody else has put there is not written to.
            options.write(true).create_new(true).mode(0o600);
            let file = options.open(&unfinished);
            (file.map_err(|error| format!("{}: {error}", unfinished.display()))?, false)
        }
    };
    let copied = copied(data, &file, &progress).and_then(|()| {
        let bytes = file.sync_all().and_then(|()| file.metadata());
        let bytes = bytes.map_err(|error| format!("{}: {error}", to.display()))?.len();
        let named = match (is_nameless, replace) {
            (true, false) => linked(&file, to),
            // Only what has a name can take the place of another.
            (true, true) => linked(&file, &unfinished).and_then(|()| fs::rename(&unfinished, to)),
            (false, _) => named(&unfinished, to, *replace),
        };
        named.map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
            if is_taken { there_already(to) } else { format!("{}: {error}", to.display()) }
        })?;
        // That it has its name is on disk too; file systems that cannot say so do without.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(bytes)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied
}

/// A file of that folder's file system that has no name: where this is killed, nothing of it is left (`O_TMPFILE`,
/// open(2)). `None` where there are none.
fn nameless(folder: &Path) -> Result<Option<File>, String> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match open(folder, flags, Mode::RUSR | Mode::WUSR) {
        // Without /proc it could not be named later.
        Ok(file) => Ok(Some(File::from(file)).filter(|file| handle(file).exists())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(format!("{}: {}", folder.display(), io::Error::from(error))),
    }
}

/// Gives it a name that nobody has.
fn linked(file: &File, name: &Path) -> io::Result<()> {
    Ok(linkat(CWD, handle(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

fn handle(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn there_already(to: &Path) -> String {
    let to = to.display();
    format!("{to}: is there already: --to names a file to be made, unless --replace is said")
}

/// In the directory that is copied it would be copied too, and into each copy after it.
fn stands_apart(folder: &Path, to: &Path, data: &Path) -> Result<(), String> {
    // What cannot be resolved is said where the file is made.
    let (Ok(folder), Ok(data)) = (folder.canonicalize(), data.canonicalize()) else {
        return Ok(());
    };
    if folder.starts_with(&data) {
        let (to, data) = (to.display(), data.display());
        return Err(format!("{to}: is in {data}, which is to be copied: name a file elsewhere"));
    }
    Ok(())
}

/// Gives what is whole its name, which nobody else has taken meanwhile unless it is to `replace`.
fn named(unfinished: &Path, to: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(unfinished, to);
    }
    by_the_first(&[renamed, linked_anew, looked_and_renamed], unfinished, to)
}

/// How something gets a name that nobody has.
type Way = fn(&Path, &Path) -> io::Result<()>;

/// Of these ways, the first that the file system has.
fn by_the_first(ways: &[Way], from: &Path, to: &Path) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::Unsupported.into());
    for way in ways {
        outcome = way(from, to);
        let errno = outcome.as_ref().err().and_then(Errno::from_io_error);
        let has_it_not = [Errno::INVAL, Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP];
        if errno.is_none_or(|errno| !has_it_not.contains(&errno)) {
            break;
        }
    }
    outcome
}

fn renamed(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

fn linked_anew(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Somebody may take the name between the two: such file systems have nothing better.
fn looked_and_renamed(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
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
fn unfinished(to: &Path) -> io::Result<PathBuf> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", secret::text(&random::<8>()?)));
    Ok(to.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_put_there_meanwhile_is_left_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (unfinished, to) = (dir.path().join("unfinished"), dir.path().join("to"));
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        fs::write(&unfinished, "new").unwrap();
        fs::write(&to, "somebody's").unwrap();
        let refused = named(&unfinished, &to, false).unwrap_err();
        assert_eq!((refused.kind(), &*text(&to)), (io::ErrorKind::AlreadyExists, "somebody's"));
        named(&unfinished, &to, true).unwrap();
        assert_eq!((&*text(&to), unfinished.exists()), ("new", false));
        fs::write(&unfinished, "newer").unwrap();
        fs::remove_file(&to).unwrap();
        named(&unfinished, &to, false).unwrap();
        assert_eq!((&*text(&to), unfinished.exists()), ("newer", false));
    }

    #[test]
    fn where_a_file_system_has_none_of_the_better_ways_it_is_looked_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let ways: [Way; 3] =
            [|_, _| Err(Errno::INVAL.into()), |_, _| Err(Errno::PERM.into()), looked_and_renamed];
        fs::write(&from, "new").unwrap();
        fs::write(&to, "somebody's").unwrap();
        let refused = by_the_first(&ways, &from, &to).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "somebody's");
        fs::remove_file(&to).unwrap();
        by_the_first(&ways, &from, &to).unwrap();
        assert_eq!((fs::read_to_string(&to).unwrap(), from.exists()), ("new".to_owned(), false));
        // What another way would not make better is said.
        let ways: [Way; 2] = [|_, _| Err(Errno::NOSPC.into()), looked_and_renamed];
        fs::write(&from, "newer").unwrap();
        let refused = by_the_first(&ways, &from, &to).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_it_is_called_before_nobody_can_know() {
        let to = Path::new("/backups/pullgate.tar");
        let (one, other) = (unfinished(to).unwrap(), unfinished(to).unwrap());
        assert!(one != other && one.starts_with("/backups"), "{}", one.display());
    }
}
