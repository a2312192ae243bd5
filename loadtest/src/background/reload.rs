//! The configuration changes ten times a second: a package comes and goes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Stop;
use crate::pause;
use crate::target::Target;
use crate::target::packages::DOMAIN;

pub(super) struct Reload {
    file: PathBuf,
    text: String,
    process: Pid,
}

impl Reload {
    pub(super) fn of(target: &Target) -> io::Result<Self> {
        let file = target.config_file();
        let text = fs::read_to_string(&file).map_err(|_| {
            io::Error::other(format!("{} has no configuration that is read again", target.name))
        })?;
        let id = i32::try_from(target.id()).ok().and_then(Pid::from_raw);
        let process = id.ok_or_else(|| io::Error::other("no process"))?;
        Ok(Self { file, text, process })
    }

    /// Says how often it was.
    pub(super) fn run(self, stop: &Stop) -> io::Result<String> {
        let more = format!(
            "{}\n[[packages]]\ndomain = \"{DOMAIN}\"\nname = \"acme/guest\"\nbackend = \
             \"http://127.0.0.1:9/acme/guest\"\ndelivery = \"redirect\"\n",
            self.text
        );
        let mut changes = 0_u32;
        let new = self.file.with_extension("new");
        while !stop.is_asked_for() {
            changes += 1;
            fs::write(&new, if changes % 2 == 1 { &more } else { &self.text })?;
            fs::rename(&new, &self.file)?;
            kill_process(self.process, Signal::HUP)?;
            pause(APART);
        }
        fs::write(&new, &self.text)?;
        fs::rename(&new, &self.file)?;
        Ok(format!("the configuration changed {changes} times meanwhile"))
    }
}

const APART: Duration = Duration::from_millis(100);
