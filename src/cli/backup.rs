//! `pullgate backup`: a copy of all that cannot be made anew, from the running gateway, else from its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{CWD, RenameFlags, renameat_with};
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

/// How long it is. Until it is whole and on disk it has another name.
fn written(BackupArgs { to, replace, data }: &BackupArgs) -> Result<u64, String> {
    if !data.is_dir() {
        return Err(format!("{}: no such directory: --data is the data_dir", data.display()));
    }
    if !replace && to.symlink_metadata().is_ok() {
        return Err(there_already(to));
    }
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    stands_apart(folder, to, data)?;
    let progress = Progress::start("copying");
    let unfinished = unfinished(to).map_err(|error| error.to_string())?;
    let failed = |error: &io::Error| format!("{}: {error}", unfinished.display());
    let mut options = OpenOptions::new();
    // It holds keys, and what somebody else has put there is not written to.
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&unfinished).map_err(|error| failed(&error))?;
    let copied = copied(data, &file, &progress).and_then(|()| {
        let bytes = file.sync_all().and_then(|()| file.metadata());
        let bytes = bytes.map_err(|error| failed(&error))?.len();
        named(&unfinished, to, *replace).map_err(|error| {
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
    match renameat_with(CWD, unfinished, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do that (renameat2(2)); most of them have links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(unfinished, to)?;
            fs::remove_file(unfinished)
        }
        outcome => Ok(outcome?),
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
    fn what_it_is_called_before_nobody_can_know() {
        let to = Path::new("/backups/pullgate.tar");
        let (one, other) = (unfinished(to).unwrap(), unfinished(to).unwrap());
        assert!(one != other && one.starts_with("/backups"), "{}", one.display());
    }
}
