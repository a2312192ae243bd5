//! What a worker's ring waits for beside its connections: the tick and its doorbell. Both
//! are descriptors that become readable; the ring polls them like sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;

use monoio::net::UnixStream;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::messages::pulls::FLUSH_US_MAX;
use crate::worker::{Worker, cache};

/// The tick's length: how long an event may wait for its page to go out.
pub const TICK_MS: u64 = FLUSH_US_MAX / 1_000;
/// The same in nanoseconds, as the timer wants it.
const TICK_NS: i64 = 25_000_000;
const _: () = assert!(TICK_NS.unsigned_abs() == TICK_MS * 1_000_000);
/// How many ticks make a sweep.
pub const TICKS_PER_SWEEP: u64 = 4;

/// A descriptor that the ring can wait for, and that is read by hand.
pub struct Waitable {
    polled: UnixStream,
    read: OwnedFd,
}

/// Makes `descriptor` (an eventfd, a timerfd: eight bytes to read) waitable. It is no socket, but
/// nothing is asked of it that only a socket could do.
pub fn waitable(descriptor: OwnedFd) -> io::Result<Waitable> {
    let read = descriptor.try_clone()?;
    Ok(Waitable { polled: UnixStream::from_std(StdUnixStream::from(descriptor))?, read })
}

/// A timer that ticks every [`TICK_MS`].
pub fn timer() -> io::Result<Waitable> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let interval = Timespec { tv_sec: 0, tv_nsec: TICK_NS };
    let spec = Itimerspec { it_interval: interval, it_value: interval };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
    waitable(timer)
}

impl Waitable {
    /// Waits until it is readable and reads its number: how often it ticked or rang.
    async fn wait(&self) -> io::Result<u64> {
        loop {
            self.polled.readable(false).await?;
            let mut number = [0; 8];
            match rustix::io::read(&self.read, &mut number) {
                Ok(_) => return Ok(u64::from_ne_bytes(number)),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Ticks until the worker is drained. A worker that is late catches up.
pub async fn run(worker: &Worker, timer: Waitable) -> io::Result<()> {
    let mut ticks = 0;
    while !worker.is_drained() {
        let missed = timer.wait().await?;
        worker.tick();
        for _ in 0..missed.min(TICKS_CAUGHT_UP_MAX) {
            ticks += 1;
            if ticks % TICKS_PER_SWEEP == 0 {
                worker.sweep();
            }
        }
    }
    // Nobody else will.
    cache::tell_refusals(worker);
    Ok(())
}

/// Answers the doorbell for as long as the worker runs.
pub async fn answer_doorbell(worker: Rc<Worker>, doorbell: Waitable) -> io::Result<()> {
    loop {
        doorbell.wait().await?;
        worker.answer_doorbell();
    }
}

/// A process that was stopped for hours need not sweep for each tenth of a second of them.
const TICKS_CAUGHT_UP_MAX: u64 = 64 * TICKS_PER_SWEEP;
