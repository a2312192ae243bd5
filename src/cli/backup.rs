//! `pullgate backup`: a copy of all that cannot be made anew, from the running gateway, else from its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::args::BackupArgs;
use super::progress::Progress;
use super::socket::{self, Begun};
use super::{fail, print};
use crate::aggregator::kept_offline;
use crate::control::accounts::{FILE, Store};
use crate::control::{backup, while_busy};

/// Writes it.
pub fn run(args: &BackupArgs) -> ExitCode {
    match written(args) {
        Ok(bytes) => print(&format!("{}: {bytes} bytes\n", args.to.display())),
        Err(words) => fail(&words),
    }
}

/// How long it is. Until it is whole and on disk it has another name.
fn written(BackupArgs { to, data }: &BackupArgs) -> Result<u64, String> {
    if !data.is_dir() {
        return Err(format!("{}: no such directory: --data is the data_dir", data.display()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(format!("{}: is there already: --to names a file to be made", to.display()));
    }
    let progress = Progress::start("copying");
    let unfinished = unfinished(to);
    let failed = |error: &io::Error| format!("{}: {error}", unfinished.display());
    let mut options = OpenOptions::new();
    // It holds keys.
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&unfinished).map_err(|error| failed(&error))?;
    let copied = copied(data, &file, &progress).and_then(|()| {
        let bytes = file.sync_all().and_then(|()| file.metadata());
        fs::rename(&unfinished, to).map_err(|error| failed(&error))?;
        bytes.map(|file| file.len()).map_err(|error| failed(&error))
    });
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied
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

/// What it is called until it is whole.
fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}
