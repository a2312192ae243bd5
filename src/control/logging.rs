//! Where log lines go: to standard error, by a thread of their own, so that a slow terminal makes
//! nobody wait.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::pure::config::values::{Log, LogFormat, LogLevel};

/// Logging under way. What waits is written when this is dropped.
pub struct Logging {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Begins logging for the whole process as `log` says; once per process.
pub fn start(log: &Log) -> Logging {
    let (lines, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let logging = Logging { dropped: lines.error_counter(), _writer: writer };
    let subscriber = subscriber(log.level, log.format, io::stderr().is_terminal(), lines);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging was started twice; the first one stays");
        return logging;
    }
    // What panics is said where everything else is, in its form.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    logging
}

impl Logging {
    /// Counts the lines that were dropped because standard error took none.
    pub fn dropped(&self) -> Dropped {
        Dropped(self.dropped.clone())
    }
}

/// How many log lines were dropped.
#[derive(Clone)]
pub struct Dropped(ErrorCounter);

impl Dropped {
    /// So many until now.
    pub fn lines(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

fn subscriber<W>(
    level: LogLevel,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let common =
        tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(writer);
    match format {
        LogFormat::Text => Box::new(common.with_ansi(colours).finish()),
        LogFormat::Json => Box::new(common.json().flatten_event(true).finish()),
    }
}

/// Log lines that wait for standard error; more are dropped and counted.
const LINES_WAITING: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// What `say` logs.
    fn logged(level: LogLevel, format: LogFormat, say: fn()) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        tracing::subscriber::with_default(subscriber(level, format, false, Arc::clone(&file)), say);
        let mut text = String::new();
        io::Seek::rewind(&mut &*file).unwrap();
        io::Read::read_to_string(&mut &*file, &mut text).unwrap();
        text
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let text = logged(LogLevel::Info, LogFormat::Json, || {
            tracing::info!(path = "a\"b\nc", "two\nlines");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(line["path"], "a\"b\nc");
    }

    #[test]
    fn what_is_less_important_than_the_level_is_not_logged() {
        let text = logged(LogLevel::Warn, LogFormat::Text, || {
            tracing::info!("small");
            tracing::error!("great");
        });
        assert!(text.contains("ERROR great") && !text.contains("small"), "{text}");
    }
}
