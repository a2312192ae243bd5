//! The configuration changes ten times a second: a package comes and goes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Stop;
use crate::pause;
use crate::target::packages::DOMAIN;
use crate::target::{Metrics, Target};

pub(super) struct Reload {
    file: PathBuf,
    text: String,
    process: Pid,
    metrics: Metrics,
}

impl Reload {
    pub(super) fn of(target: &Target) -> io::Result<Self> {
        let file = target.config_file();
        let text = fs::read_to_string(&file).map_err(|_| {
            io::Error::other(format!("{} has no configuration that is read again", target.name))
        })?;
        let id = i32::try_from(target.id()).ok().and_then(Pid::from_raw);
        let process = id.ok_or_else(|| io::Error::other("no process"))?;
        Ok(Self { file, text, process, metrics: target.metrics() })
    }

    /// Says how often it was. That most of it was not put in force is an error: then nothing is known of what
    /// it costs.
    pub(super) fn run(self, stop: &Stop) -> io::Result<String> {
        let more = format!(
            "{}\n[[packages]]\ndomain = \"{DOMAIN}\"\nname = \"acme/guest\"\nbackend = \
             \"http://127.0.0.1:9/acme/guest\"\ndelivery = \"redirect\"\n",
            self.text
        );
        let before = self.metrics.value(APPLIED)?;
        let mut changes = 0_u64;
        let new = self.file.with_extension("new");
        while !stop.is_asked_for() {
            changes += 1;
            fs::write(&new, if changes % 2 == 1 { &more } else { &self.text })?;
            fs::rename(&new, &self.file)?;
            kill_process(self.process, Signal::HUP)?;
            pause(APART);
        }
        let applied = self.metrics.value(APPLIED)?.saturating_sub(before);
        fs::write(&new, &self.text)?;
        fs::rename(&new, &self.file)?;
        let words = format!(
            "the configuration changed {changes} times meanwhile, of which {applied} were put in force"
        );
        // The last one may still be read.
        match applied * 4 + 4 >= changes * 3 {
            true => Ok(words),
            false => Err(io::Error::other(words)),
        }
    }
}

const APPLIED: &str = "pullgate_reloads_total{outcome=\"applied\"}";
const APART: Duration = Duration::from_millis(100);
