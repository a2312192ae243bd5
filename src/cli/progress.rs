//! One line on standard error that says what takes long. Only where a person watches: nothing is
//! written when standard error is not a terminal.

use std::io::{self, IsTerminal as _, Write};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Shows what goes on until it is dropped, which wipes the line.
pub struct Progress(Option<Line>);

struct Line {
    words: Sender<String>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Shows nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Begins to show `words`, soon: what is done in no time shows nothing.
    pub fn start(words: &str) -> Self {
        if io::stderr().is_terminal() { Self::on(io::stderr(), words) } else { Self(None) }
    }

    /// Shows `words` from now on. Never waits.
    pub fn say(&self, words: &str) {
        if let Some(line) = &self.0 {
            // Full: the line has newer words to show than it can keep up with.
            let _ = line.words.try_send(words.to_owned());
        }
    }

    /// Shows that `done` of `of` are done.
    pub fn portion(&self, done: usize, of: usize, what: &str) {
        if self.0.is_some() {
            let filled = (done * BAR_WIDTH).checked_div(of).unwrap_or(BAR_WIDTH).min(BAR_WIDTH);
            let (full, left) = ("#".repeat(filled), "-".repeat(BAR_WIDTH - filled));
            self.say(&format!("[{full}{left}] {done} of {of} {what}"));
        }
    }

    fn on(out: impl Write + Send + 'static, words: &str) -> Self {
        let (sender, receiver) = bounded(WORDS_WAITING_MAX);
        let words = words.to_owned();
        let thread = thread::Builder::new()
            .name("progress".into())
            .spawn(move || drop(spin(out, words, &receiver)));
        // Without a thread to draw it there is no line, and nothing else is amiss.
        Self(thread.ok().map(|thread| Line { words: sender, thread }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Line { words, thread }) = self.0.take() {
            drop(words);
            let _ = thread.join();
        }
    }
}

fn spin(mut out: impl Write, mut words: String, receiver: &Receiver<String>) -> io::Result<()> {
    let mut shown = false;
    for frame in FRAMES.iter().cycle() {
        match receiver.recv_timeout(FRAME_TIME) {
            Ok(newer) => words = newer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        write!(out, "{WIPE}{frame} {words}")?;
        out.flush()?;
        shown = true;
    }
    if shown {
        write!(out, "{WIPE}")?;
        out.flush()?;
    }
    Ok(())
}

/// Words are a line long and shown within a frame's time: more waiting would be stale.
const WORDS_WAITING_MAX: usize = 4;
const FRAME_TIME: Duration = Duration::from_millis(120);
/// Columns of a bar.
const BAR_WIDTH: usize = 24;
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];
/// To the line's first column, and erase to its end (ECMA-48, EL).
const WIPE: &str = "\r\x1b[K";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_latest_words_and_wipes_them() {
        let (pipe, out) = io::pipe().unwrap();
        let progress = Progress::on(out, "opening the store");
        progress.say("replaying the journal");
        drop(progress);
        let screen = io::read_to_string(pipe).unwrap();
        assert_eq!(screen, format!("{WIPE}| replaying the journal{WIPE}"));
    }

    #[test]
    fn a_bar_shows_how_much_is_done() {
        let (pipe, out) = io::pipe().unwrap();
        let progress = Progress::on(out, "");
        progress.portion(3, 6, "packages");
        drop(progress);
        let screen = io::read_to_string(pipe).unwrap();
        assert_eq!(screen, format!("{WIPE}| [############------------] 3 of 6 packages{WIPE}"));
    }

    #[test]
    fn short_work_shows_nothing() {
        let (pipe, out) = io::pipe().unwrap();
        drop(Progress::on(out, "nothing to do"));
        assert_eq!(io::read_to_string(pipe).unwrap(), "");
    }
}
