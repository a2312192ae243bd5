//! The access log: lines from the workers, written by a thread of its own to a file or to standard
//! output. There is never an address in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use serde::Serialize;

use super::status::Status;
use crate::messages::access::{AccessLine, AccessReceiver};
use crate::pure::limited::Limited;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// The combined format of web servers, with `-` where the address would be.
    Combined,
}

/// The writer at work.
pub struct AccessLog {
    words: Sender<Word>,
    ended: Receiver<()>,
}

/// Asks the writer to open its file again.
#[derive(Clone)]
pub struct Reopen(Sender<Word>);

enum Word {
    Reopen,
    Stop,
}

/// Begins writing what `receivers` bring to `file`, or to standard output without one. Fails where
/// the file cannot be opened. Lines that cannot be written later are counted in `status`.
pub fn start(
    format: Format,
    file: Option<PathBuf>,
    receivers: Vec<AccessReceiver>,
    status: Arc<Status>,
) -> io::Result<AccessLog> {
    let out = open(file.as_deref())?;
    let (words, to_hear) = bounded(WORDS_WAITING);
    let writer = Writer {
        format,
        file,
        receivers,
        status,
        out,
        batch: Vec::with_capacity(BATCH_BYTES + LINE_BYTES),
        batch_lines: 0,
        started: Instant::now(),
        complaints: Limited::per(10_000_000),
    };
    let (end, ended) = bounded(1);
    std::thread::Builder::new().name("access-log".into()).spawn(move || {
        writer.run(&to_hear);
        drop(end);
    })?;
    Ok(AccessLog { words, ended })
}

impl AccessLog {
    /// A handle that asks for the file to be opened again, after it was rotated away.
    pub fn reopen(&self) -> Reopen {
        Reopen(self.words.clone())
    }

    /// Writes what waits and ends. The workers must have stopped. A file or pipe that takes nothing
    /// is waited for only so long.
    pub fn stop(self) {
        let _ = self.words.send_timeout(Word::Stop, PATIENCE);
        match self.ended.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("the end of the access log is lost: nobody takes its lines");
            }
            // Its end of the channel is gone, and so is the writer.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
        }
    }
}

impl Reopen {
    /// Asks. Never blocks: while one such word waits another adds nothing.
    pub fn ask(&self) {
        let _ = self.0.try_send(Word::Reopen);
    }
}

struct Writer {
    format: Format,
    file: Option<PathBuf>,
    receivers: Vec<AccessReceiver>,
    status: Arc<Status>,
    out: Box<dyn Write + Send>,
    batch: Vec<u8>,
    batch_lines: u64,
    started: Instant,
    complaints: Limited,
}

impl Writer {
    fn run(mut self, words: &Receiver<Word>) {
        loop {
            let word = words.recv_timeout(LOOK_EVERY);
            self.drain();
            match word {
                Ok(Word::Reopen) => self.reopen(),
                Ok(Word::Stop) => return,
                Err(error) if error.is_timeout() => {}
                Err(_) => return,
            }
        }
    }

    /// Writes all that waits.
    fn drain(&mut self) {
        for at in 0..self.receivers.len() {
            while let Some(line) = self.receivers[at].try_take() {
                match self.format {
                    Format::Json => write_json(&line, &mut self.batch),
                    Format::Combined => write_combined(&line, &mut self.batch),
                }
                self.batch_lines += 1;
                if self.batch.len() >= BATCH_BYTES {
                    self.write_batch();
                }
            }
        }
        self.write_batch();
    }

    fn write_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Err(error) = self.out.write_all(&self.batch).and_then(|()| self.out.flush()) {
            self.status.count_access_lines_lost(self.batch_lines);
            self.complain(&format!("access log lines are lost: {error}"));
        }
        self.batch.clear();
        self.batch_lines = 0;
    }

    fn reopen(&mut self) {
        match open(self.file.as_deref()) {
            Ok(out) => self.out = out,
            Err(error) => self.complain(&format!("the access log goes on where it was: {error}")),
        }
    }

    fn complain(&mut self, words: &str) {
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(repeats) = self.complaints.pass(now_us) {
            tracing::error!("{words}{repeats}");
        }
    }
}

fn open(file: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    let Some(path) = file else {
        return Ok(Box::new(io::stdout()));
    };
    let file: File =
        OpenOptions::new().create(true).append(true).mode(0o640).open(path).map_err(|error| {
            let words = format!("log.access_file {} cannot be opened: {error}", path.display());
            io::Error::new(error.kind(), words)
        })?;
    Ok(Box::new(file))
}

fn write_json(line: &AccessLine, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Line<'l> {
        time: String,
        host: &'l str,
        method: &'l str,
        path: &'l str,
        version: &'l str,
        status: u16,
        bytes: u64,
        duration_us: u64,
        user_agent: &'l str,
        referer: &'l str,
    }
    let text = String::from_utf8_lossy;
    let line = Line {
        time: time(line).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        host: &text(line.host.as_bytes()),
        method: &text(line.method.as_bytes()),
        path: &text(line.path.as_bytes()),
        version: line.version,
        status: line.status,
        bytes: line.bytes,
        duration_us: line.duration_us,
        user_agent: &text(line.user_agent.as_bytes()),
        referer: &text(line.referer.as_bytes()),
    };
    if let Err(error) = serde_json::to_writer(&mut *out, &line) {
        unreachable!("numbers and texts are JSON, and memory takes them: {error}");
    }
    out.push(b'\n');
}

fn write_combined(line: &AccessLine, out: &mut Vec<u8>) {
    let time = time(line).strftime("%d/%b/%Y:%H:%M:%S +0000");
    let method = Quoted(line.method.as_bytes());
    let path = Quoted(line.path.as_bytes());
    let referer = Quoted(or_dash(line.referer.as_bytes()));
    let agent = Quoted(or_dash(line.user_agent.as_bytes()));
    let (version, status, bytes) = (line.version, line.status, line.bytes);
    let written = writeln!(
        out,
        "- - - [{time}] \"{method} {path} {version}\" {status} {bytes} \"{referer}\" \"{agent}\"",
    );
    if let Err(error) = written {
        unreachable!("memory takes it: {error}");
    }
}

/// Text between quotes, as nginx writes it: what could end the quotes or the line, or steer a
/// terminal, is `\xHH`.
struct Quoted<'t>(&'t [u8]);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        for byte in self.0 {
            match byte {
                b'"' | b'\\' | 0..0x20 | 0x7f.. => write!(f, "\\x{byte:02X}")?,
                _ => f.write_char(char::from(*byte))?,
            }
        }
        Ok(())
    }
}

fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

fn time(line: &AccessLine) -> Timestamp {
    let us = i64::try_from(line.at_unix_us).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX)
}

/// How often the writer looks for lines: a worker never pays for waking it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// Room for the line that goes past the batch.
const LINE_BYTES: usize = 8 * 1024;
/// A word to reopen and one to stop.
const WORDS_WAITING: usize = 2;
/// How long the end of the log may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::access::{Text, channel};
    use crate::messages::meters::Meters;

    fn line() -> AccessLine {
        AccessLine {
            at_unix_us: 971_211_336_789_000,
            method: Text::cut(b"GET"),
            host: Text::cut(b"registry.acme.com"),
            path: Text::cut(b"/v2/acme/rocket/manifests/latest"),
            version: "HTTP/1.1",
            status: 307,
            bytes: 0,
            duration_us: 12,
            user_agent: Text::cut(b"docker/28.5.2"),
            referer: Text::cut(b""),
        }
    }

    fn written(format: Format, line: &AccessLine) -> String {
        let mut out = Vec::new();
        match format {
            Format::Json => write_json(line, &mut out),
            Format::Combined => write_combined(line, &mut out),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn combined_has_a_dash_for_the_address_and_escapes_what_would_break_out() {
        let hostile = AccessLine { user_agent: Text::cut(b"a\" 200 0\r\n\x1b[2J\\\xff"), ..line() };
        assert_eq!(
            written(Format::Combined, &hostile),
            "- - - [10/Oct/2000:20:55:36 +0000] \"GET /v2/acme/rocket/manifests/latest HTTP/1.1\" \
             307 0 \"-\" \"a\\x22 200 0\\x0D\\x0A\\x1B[2J\\x5C\\xFF\"\n"
        );
    }

    #[test]
    fn a_json_line_is_one_line_whatever_the_client_sent() {
        let hostile = AccessLine { path: Text::cut(b"/\"\r\n\x00\xff"), ..line() };
        let text = written(Format::Json, &hostile);
        assert_eq!(text.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["path"], "/\"\r\n\u{0}\u{fffd}");
        assert_eq!(read["time"], "2000-10-10T20:55:36.789Z");
        assert_eq!(read["status"], 307);
        assert!(read.as_object().unwrap().keys().all(|key| !key.contains("addr")));
    }

    #[test]
    fn a_rotated_file_is_left_alone_after_reopening_and_stopping_writes_all() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let (sender, receiver) = channel();
        let meters = Meters::new();
        let log = start(Format::Json, Some(path.clone()), vec![receiver], Status::new()).unwrap();
        sender.offer(line(), &meters);
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
        crate::control::tests::eventually("the first line", || lines(&path) == 1);
        std::fs::rename(&path, &rotated).unwrap();
        log.reopen().ask();
        crate::control::tests::eventually("the new file", || path.exists());
        sender.offer(line(), &meters);
        sender.offer(line(), &meters);
        log.stop();
        assert_eq!((lines(&rotated), lines(&path)), (1, 2));
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted() {
        let (sender, receiver) = channel();
        let status = Status::new();
        let full = Some(PathBuf::from("/dev/full"));
        let log = start(Format::Combined, full, vec![receiver], Arc::clone(&status)).unwrap();
        sender.offer(line(), &Meters::new());
        log.stop();
        assert_eq!(status.access_lines_lost(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let refused = start(
            Format::Json,
            Some(PathBuf::from("/nonexistent/access.log")),
            Vec::new(),
            Status::new(),
        );
        let words = refused.err().unwrap().to_string();
        assert!(words.starts_with("log.access_file /nonexistent/access.log cannot"), "{words}");
    }
}
