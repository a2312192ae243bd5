//! The side of the gateway that takes over.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::{ANSWERING, Hello, Wire, Word, path};
use crate::aggregator::lock::Lock;
use crate::aggregator::succession::{self, Before, Beginning, Lanes};
use crate::cli::inherited::{Handed, Inherited};
use crate::control::while_busy;

/// The gateway that runs.
pub struct Predecessor {
    wire: Wire,
    hello: Hello,
}

/// What counting goes on with, once the other has let go.
pub struct Estate {
    beginning: Beginning,
    lanes: Lanes,
}

impl Predecessor {
    /// The one that runs on `data_dir`, and its listening sockets.
    ///
    /// # Errors
    /// In words, also that there is none.
    pub fn find(data_dir: &Path) -> Result<(Self, Inherited), String> {
        let path = path(data_dir);
        let stream = while_there(|| UnixStream::connect(&path)).map_err(|error| {
            format!(
                "{}: {error}: no gateway runs there that could be upgraded; start this one without \
                 --upgrade",
                path.display()
            )
        })?;
        let mut wire = Wire::agree(stream)?;
        let word = wire.hear(ANSWERING).map_err(gone)?;
        let Word::Hello(hello) = word else {
            return Err(refusal(word));
        };
        let sockets = wire.take(hello.sockets.len()).map_err(gone)?;
        let handed = hello.sockets.iter().cloned().zip(sockets);
        let handed: Vec<Handed> = handed
            .map(|(name, socket)| Handed::new(name, socket))
            .collect::<io::Result<_>>()
            .map_err(|error| format!("a socket of the running gateway: {error}"))?;
        Ok((Self { wire, hello }, Inherited::of(handed)))
    }

    /// Whether its sockets can be accepted from by `driver` too, while it does.
    ///
    /// # Errors
    /// In words, that they cannot.
    pub fn suits(&self, driver: &str) -> Result<(), String> {
        let before = &self.hello.driver;
        if before == driver {
            return Ok(());
        }
        Err(format!(
            "gateway.driver: the running gateway is on {before}, this one on {driver}, and their \
             sockets differ; restart, or let it stay what it is"
        ))
    }

    /// Who supervises it, as `NOTIFY_SOCKET` said.
    pub fn supervisor(&self) -> Option<OsString> {
        self.hello.supervisor.clone().map(OsString::from_vec)
    }

    /// How often that wants to hear of it.
    pub fn watchdog(&self) -> Option<Duration> {
        self.hello.watchdog_us.map(Duration::from_micros)
    }

    /// Has it let go of the store in `data_dir`. `taken`: where its sockets are listened by from now
    /// on. It goes on as before, if this process ends now.
    ///
    /// # Errors
    /// In words, why it does not.
    pub fn let_go(&mut self, data_dir: &Path, taken: Vec<SocketAddr>) -> Result<Estate, String> {
        self.wire.say(&Word::Ready(taken)).map_err(gone)?;
        let word = self.wire.hear(LETTING_GO).map_err(gone)?;
        let Word::Left { estate_bytes, lanes, lasts_us } = word else {
            return Err(refusal(word));
        };
        let mut bytes = self.wire.read(estate_bytes).map_err(gone)?;
        let estate = succession::Estate::read(&bytes);
        // Keys are in it.
        bytes.fill(0);
        std::hint::black_box(&bytes);
        let lock = while_busy(|| Lock::take(data_dir)).map_err(|error| error.to_string())?;
        let (lanes, receivers) = succession::lanes(usize::try_from(lanes).unwrap_or(0));
        let before = Some(Before { estate: estate?, lanes: receivers, lasts_us });
        Ok(Estate { beginning: Beginning { lock, before }, lanes })
    }

    /// Says that this process serves now. From then on it counts: what the other's workers still
    /// send too, which a thread hears.
    ///
    /// # Errors
    /// In words, that the other has gone on by itself.
    pub fn take_over(mut self, estate: Estate) -> Result<Beginning, String> {
        self.wire.say(&Word::Serving).map_err(gone)?;
        let word = self.wire.hear(ANSWERING).map_err(gone)?;
        let Word::Go = word else {
            return Err(refusal(word));
        };
        let Estate { beginning, lanes } = estate;
        let stream = self.wire.into_stream();
        let process = self.hello.process;
        let thread = std::thread::Builder::new().name("predecessor".into());
        let hear = move || {
            // It may have nothing to say for long.
            stream.set_read_timeout(None)?;
            lanes.hear(io::BufReader::new(stream))
        };
        let hearing = thread.spawn(move || match hear() {
            Ok(()) => tracing::info!("process {process}, taken over from, has handed over all"),
            Err(error) => tracing::error!(
                "process {process}, taken over from, has ended before it had handed over all that \
                 it counted: {error}"
            ),
        });
        if let Err(error) = hearing {
            tracing::error!("what process {process} still counts is lost: {error}");
        }
        tracing::info!("taken over from process {process}");
        Ok(beginning)
    }
}

/// Tries again while the gateway before the one before is making way.
fn while_there<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    while_busy(|| {
        attempt().map_err(|error| match error.kind() == io::ErrorKind::ConnectionRefused {
            true => io::Error::new(io::ErrorKind::WouldBlock, error),
            false => error,
        })
    })
}

fn gone(error: io::Error) -> String {
    format!("the running gateway does not hand over ({error}): its log says why, and it goes on")
}

fn refusal(word: Word) -> String {
    let Word::Refused(why) = word else {
        return format!("the running gateway says {word:?}: both go on by themselves");
    };
    format!("the running gateway does not hand over: {why}")
}

/// How long writing counts and what is known of clients may take.
const LETTING_GO: Duration = Duration::from_secs(120);
