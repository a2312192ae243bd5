//! The side of the gateway that runs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::wire::{ANSWERING, Hello, Wire, Word, path};
use crate::aggregator::Succession;
use crate::cli::inherited::Handed;
use crate::control::{private_socket, while_busy};

/// What a running gateway hands over, and what it does then.
pub struct Giving {
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    /// Its listening sockets.
    pub sockets: Box<dyn Fn() -> io::Result<Vec<Handed>> + Send>,
    /// Its counting.
    pub counting: Succession,
    /// Where it is asked about its counts.
    pub control_socket: PathBuf,
    /// Takes the lock of its `data_dir`.
    pub lock: Box<dyn Fn() -> io::Result<crate::aggregator::lock::Lock> + Send>,
    /// Who supervises it, as `NOTIFY_SOCKET` said, and how often that wants to hear of it.
    pub supervisor: Option<Vec<u8>>,
    /// See there.
    pub watchdog: Option<Duration>,
    /// Whether it serves: nobody takes over from one that drains.
    pub serves: Box<dyn Fn() -> bool + Send>,
    /// How long it may drain.
    pub drains_within: Box<dyn Fn() -> Duration + Send>,
    /// Has it drain: a process of this number accepts at these addresses.
    pub drain: Box<dyn FnOnce(u32, Arc<[SocketAddr]>) + Send>,
}

/// Listens for a gateway that takes over, until one has.
///
/// # Errors
/// That the socket cannot be made, or the system gives no thread.
pub fn listen(data_dir: &Path, giving: Giving) -> io::Result<()> {
    let listener = private_socket::bind("upgrade socket", &path(data_dir))?;
    let thread = std::thread::Builder::new().name("upgrade".into());
    thread.spawn(move || {
        for stream in listener.incoming() {
            let asked = stream.map_err(|error| error.to_string()).and_then(|stream| {
                let process = rustix::net::sockopt::socket_peercred(&stream)
                    .map_or(0, |who| who.pid.as_raw_nonzero().get().unsigned_abs());
                Ok((process, Wire::agree(stream)?))
            });
            let given = asked.and_then(|(process, wire)| {
                tracing::info!("process {process} is about to take over");
                let (stream, taken) = give(wire, &giving)?;
                Ok((process, stream, taken))
            });
            match given {
                Ok((process, stream, taken)) => {
                    tracing::info!("process {process} has taken over");
                    (giving.drain)(process, taken);
                    giving.counting.forward(Box::new(stream));
                    return;
                }
                Err(why) => tracing::warn!("nobody takes over, this process goes on: {why}"),
            }
        }
    })?;
    Ok(())
}

/// Hands everything over; the way for what the workers still send, and where another accepts now.
fn give(mut wire: Wire, giving: &Giving) -> Result<(UnixStream, Arc<[SocketAddr]>), String> {
    let words = |error: io::Error| format!("the other process has gone ({error})");
    if !(giving.serves)() {
        let why = "the running gateway is draining".to_owned();
        wire.say(&Word::Refused(why.clone())).map_err(words)?;
        return Err(why);
    }
    let handed = (giving.sockets)().map_err(|error| format!("sockets: {error}"))?;
    let (names, sockets): (Vec<String>, Vec<OwnedFd>) =
        handed.into_iter().map(|it| (it.name, OwnedFd::from(it.listener))).unzip();
    wire.say(&Word::Hello(Hello {
        process: std::process::id(),
        driver: giving.driver.to_owned(),
        sockets: names,
        supervisor: giving.supervisor.clone(),
        watchdog_us: giving.watchdog.and_then(|every| u64::try_from(every.as_micros()).ok()),
    }))
    .map_err(words)?;
    wire.give(&sockets).map_err(words)?;
    drop(sockets);
    let word = wire.hear(PREPARING).map_err(words)?;
    let Word::Ready(taken) = word else {
        return Err(format!("it says {word:?}"));
    };
    // The other puts its own in its place before it is certain that it goes on.
    let kept = giving.control_socket.with_extension("sock.kept");
    let _ = std::fs::remove_file(&kept);
    std::fs::hard_link(&giving.control_socket, &kept)
        .map_err(|error| format!("{}: {error}", kept.display()))?;
    let legacy = match giving.counting.let_go() {
        Ok(legacy) => legacy,
        Err(why) => {
            let _ = std::fs::remove_file(&kept);
            let why = format!("counts cannot be handed over: {why}");
            wire.say(&Word::Refused(why.clone())).map_err(words)?;
            return Err(why);
        }
    };
    let handed_over = hand_over(&mut wire, legacy, (giving.drains_within)());
    if handed_over.is_err() {
        let _ = std::fs::rename(&kept, &giving.control_socket);
    }
    let _ = std::fs::remove_file(&kept);
    match handed_over {
        Ok(()) => Ok((wire.into_stream(), taken.into())),
        Err(error) => {
            // The system frees what it held a little after it has gone.
            giving.counting.take_back(while_busy(&giving.lock).ok());
            Err(words(error))
        }
    }
}

/// Gives away what counting knew, and has the other go on.
fn hand_over(
    wire: &mut Wire,
    legacy: crate::aggregator::succession::Legacy,
    within: Duration,
) -> io::Result<()> {
    let mut estate = legacy.estate;
    let lasts = within + DRAINING_LONGER;
    let left = Word::Left {
        estate_bytes: estate.len() as u64,
        lanes: legacy.lanes as u64,
        lasts_us: u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX),
    };
    let sent = wire.say(&left).and_then(|()| wire.write(&estate));
    // Keys are in it.
    estate.fill(0);
    std::hint::black_box(&estate);
    sent?;
    let word = wire.hear(ANSWERING)?;
    let Word::Serving = word else {
        return Err(io::Error::other(format!("it says {word:?}")));
    };
    wire.wait(READING)?;
    wire.say(&Word::Go)
}

/// How long the other may take for its configuration and all that this names.
const PREPARING: Duration = Duration::from_secs(300);
/// How long the one that counts may keep the one that drains waiting: it opens its store first.
const READING: Duration = Duration::from_secs(300);
/// How much longer than what is under way this process lasts.
const DRAINING_LONGER: Duration = Duration::from_secs(5);
