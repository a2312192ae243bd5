//! The load itself: one thread, one epoll, connections that do not block, and nothing made anew
//! per request. It shares a small machine with what it measures, so it has to be the cheaper one.

mod connection;
mod http2;
pub mod reader;
mod record;
mod schedule;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, Timespec, clock_gettime};
use rustls::ClientConfig;

use crate::plan::{Plan, Request};
use connection::{Connection, Flight, Taken};
use reader::{Answer, Awaited, Fault};
use record::Recorder;
pub use record::{Glimpse, Point, Recorded};
use schedule::Schedule;
pub use schedule::TOGETHER;

/// How the load is laid on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is asked.
    pub address: SocketAddr,
    /// Connections at once.
    pub connections: usize,
    /// Requests sent at once on a connection, before their answers are awaited.
    pub pipeline: usize,
    /// Whether a connection serves more than one request.
    pub keep_alive: bool,
    /// When requests go out.
    pub pace: Pace,
    /// For how long they do.
    pub duration: Duration,
    /// How long an answer may take.
    pub patience: Duration,
    /// Of which answers the digest is computed.
    pub digests: Digests,
    /// How they are secured, if they are.
    pub tls: Option<Arc<ClientConfig>>,
    /// Over HTTP/2, by so many streams at once on each connection.
    pub streams: Option<usize>,
    /// From how many addresses of 127.0.0.0/8 the connections come; 0: the kernel chooses one.
    pub sources: usize,
}

/// When requests go out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next one once the one before is answered. Blind to stalls: while the target stands
    /// still nothing is asked, so that nothing is late.
    Closed,
    /// This many jobs a second, whatever the target does. What cannot be sent when it is due waits,
    /// and its latency counts from when it was due.
    Open(f64),
    /// Every connection does one job, all at once.
    Once,
}

/// Of which answers the digest is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digests {
    /// All.
    All,
    /// None: the status and the length are looked at.
    None,
}

/// Lays the load of `plan` on, and calls `watch` with what goes on every now and then.
pub fn run(
    plan: &Plan,
    settings: &Settings,
    watch: &mut dyn FnMut(&Glimpse),
) -> io::Result<Recorded> {
    match settings.streams {
        Some(streams) => http2::run(plan, settings, streams, watch),
        None => Ok(run_and_hold(plan, settings, watch)?.0),
    }
}

/// Like [`run`], and returns the connections that are open at the end.
pub fn run_and_hold(
    plan: &Plan,
    settings: &Settings,
    watch: &mut dyn FnMut(&Glimpse),
) -> io::Result<(Recorded, Vec<OwnedFd>)> {
    let mut engine = Engine::new(plan, settings)?;
    engine.open_all()?;
    engine.go(watch)?;
    let held = engine.connections.into_iter().filter_map(Connection::into_socket).collect();
    Ok((engine.recorder.finish(), held))
}

/// Of the socket that an answer came by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Closed,
}

struct Engine<'a> {
    plan: &'a Plan,
    settings: &'a Settings,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Open loop: connections that have room for a job, by turns, so that all clients have their part.
    free: VecDeque<u32>,
    /// Open loop: jobs of which was said that they waited for one.
    queued: u64,
    schedule: Schedule,
    /// The next place in the plan's order.
    turn: usize,
    recorder: Recorder,
    /// What is received goes here first, on behalf of all connections.
    buffer: Vec<u8>,
    /// What is sent is put together here.
    outgoing: Vec<u8>,
    began: Instant,
    /// Nanoseconds since `began`, as last looked at.
    now: u64,
    /// Answers awaited.
    under_way: usize,
    is_over: bool,
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan, settings: &'a Settings) -> io::Result<Self> {
        let connections = (0..settings.connections).map(|_| Connection::default()).collect();
        Ok(Self {
            plan,
            settings,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections,
            free: VecDeque::new(),
            queued: 0,
            schedule: Schedule::new(settings.pace, settings.duration),
            turn: 0,
            recorder: Recorder::new(settings.duration, plan.steps_max() > 1)?,
            buffer: vec![0; BUFFER_BYTES],
            outgoing: Vec::new(),
            began: Instant::now(),
            now: 0,
            under_way: 0,
            is_over: false,
        })
    }

    /// Connections that stay are opened before the clock runs.
    fn open_all(&mut self) -> io::Result<()> {
        if self.settings.keep_alive && self.settings.pace != Pace::Once {
            for index in 0..self.connections.len() {
                let connection = &mut self.connections[index];
                connection.open(&self.epoll, index, self.settings, connection::Wait::Yes)?;
            }
        }
        Ok(())
    }

    fn go(&mut self, watch: &mut dyn FnMut(&Glimpse)) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        // Sleeps end when they should, not up to 50 µs later (prctl(2), `PR_SET_TIMERSLACK`).
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
        let cpu_before = process_cpu();
        self.began = Instant::now();
        let all = 0..u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
        match self.settings.pace {
            Pace::Open(_) => self.free = all.collect(),
            Pace::Closed | Pace::Once => all.for_each(|index| self.launch(index as usize)),
        }
        let end = nanoseconds(self.settings.duration);
        let mut sweep = SWEEP_NS;
        while !self.is_done() {
            self.look_at_clock();
            if !self.is_over && self.now >= end {
                self.is_over = true;
                self.recorder.load_ended(self.now);
            }
            self.release();
            // What is due when nobody has room waits for an answer, not for the time.
            let has_room = !self.free.is_empty();
            let due = self.schedule.next_due().filter(|_| has_room);
            let next = due.unwrap_or(u64::MAX).min(sweep);
            let next = if self.is_over { next } else { next.min(end) };
            self.look_at_clock();
            let mut wait = next.saturating_sub(self.now);
            if let Some(pause) = self.schedule.pause(self.now)
                && has_room
                && events.len() < EVENTS_MAX
            {
                crate::pause(Duration::from_nanos(pause));
                wait = 0;
            }
            events.clear();
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(wait).unwrap_or(0) };
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(problem) => return Err(problem.into()),
            }
            self.look_at_clock();
            for event in &events {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.serve(index, event.flags);
            }
            if self.now >= sweep {
                sweep = self.now + SWEEP_NS;
                self.sweep();
                if let Some(glimpse) = self.recorder.glimpse(self.now) {
                    watch(&glimpse);
                }
            }
        }
        self.look_at_clock();
        self.recorder.end(self.now, process_cpu().saturating_sub(cpu_before));
        Ok(())
    }

    fn look_at_clock(&mut self) {
        self.now = nanoseconds(self.began.elapsed());
    }

    fn is_done(&self) -> bool {
        let sends_more = match self.settings.pace {
            Pace::Closed => !self.is_over,
            Pace::Open(_) => !self.is_over || self.schedule.has_more(),
            Pace::Once => false,
        };
        self.under_way == 0 && !sends_more
    }

    /// Open loop: sends what is due, as far as there are connections with room.
    fn release(&mut self) {
        while self.schedule.is_due(self.now) {
            let Some(index) = self.free.pop_front() else {
                let due = self.schedule.due(self.now);
                let told = self.queued.max(self.schedule.taken());
                self.recorder.queued(due.saturating_sub(told));
                self.queued = due;
                return;
            };
            self.launch(index as usize);
        }
    }

    /// Gives a connection without work its next jobs.
    fn launch(&mut self, index: usize) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.clear();
        for _ in 0..self.settings.pipeline {
            let since = match self.settings.pace {
                Pace::Closed if self.is_over => break,
                Pace::Closed | Pace::Once => self.now,
                Pace::Open(_) => match self.schedule.take(self.now) {
                    Some(due) => due,
                    None => break,
                },
            };
            let job = self.plan.order[self.turn % self.plan.order.len()];
            self.turn += 1;
            let steps = self.plan.jobs[job as usize].clone();
            let flight =
                Flight { request: steps.start, since, steps_end: steps.end, job_since: since };
            outgoing.extend_from_slice(&self.plan.requests[flight.request].bytes);
            self.connections[index].flights.push_back(flight);
            self.under_way += 1;
        }
        if outgoing.is_empty() {
            if matches!(self.settings.pace, Pace::Open(_)) {
                self.free.push_back(u32::try_from(index).unwrap_or(u32::MAX));
            }
        } else {
            self.send(index, &outgoing);
        }
        self.outgoing = outgoing;
    }

    fn send(&mut self, index: usize, bytes: &[u8]) {
        let connection = &mut self.connections[index];
        let opened = connection.is_open()
            || connection.open(&self.epoll, index, self.settings, connection::Wait::No).is_ok();
        if !opened || connection.send(&self.epoll, index, bytes).is_err() {
            self.lose(index, Fault::NotConnected);
        }
    }

    /// Something happened on a connection.
    fn serve(&mut self, index: usize, flags: epoll::EventFlags) {
        if flags.contains(epoll::EventFlags::OUT)
            && self.connections[index].send_more(&self.epoll, index).is_err()
        {
            return self.lose(index, Fault::NotConnected);
        }
        if !flags.intersects(!epoll::EventFlags::OUT) {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.connections.get_mut(index).filter(|it| it.is_open()) else {
                break;
            };
            let taken = connection.receive(&self.epoll, index, &mut buffer);
            self.look_at_clock();
            let is_full = match taken {
                Taken::Nothing => break,
                Taken::Bytes(count) => {
                    self.take(index, &buffer[..count]);
                    count == buffer.len()
                }
                Taken::Skipped(count) => {
                    let awaited = self.awaited(index);
                    let connection = &mut self.connections[index];
                    let answer = awaited.and_then(|it| connection.reader.skip(count, it));
                    let fate = answer.map(|answer| self.answered(index, answer));
                    fate != Some(Fate::Closed) && count == SKIP_BYTES_MAX as u64
                }
                Taken::End => {
                    self.ended(index);
                    break;
                }
            };
            if !is_full {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Takes apart what a connection has received.
    fn take(&mut self, index: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(awaited) = self.awaited(index) else {
                // Nobody asked for this.
                return self.lose(index, Fault::Malformed);
            };
            match self.connections[index].reader.read(&mut bytes, awaited) {
                Some(answer) if self.answered(index, answer) == Fate::Stays => {}
                Some(_) | None => return,
            }
        }
    }

    fn awaited(&self, index: usize) -> Option<Awaited<'a>> {
        let connection = &self.connections[index];
        let request: &'a Request = &self.plan.requests[connection.flights.front()?.request];
        let digests = self.settings.digests == Digests::All;
        Some(Awaited { expect: &request.expect, is_head: request.is_head, digests })
    }

    /// The oldest flight of a connection has its answer. Says what became of the socket it came by.
    fn answered(&mut self, index: usize, answer: Answer) -> Fate {
        let connection = &mut self.connections[index];
        let Some(flight) = connection.flights.pop_front() else { return Fate::Stays };
        let request = &self.plan.requests[flight.request];
        self.recorder.answer(self.now, flight.since, request.is_counted, answer);
        let has_failed = answer.fault.is_some();
        let closes = answer.closes || !self.settings.keep_alive && is_last(flight);
        if closes {
            connection.close();
        }
        let fate = if closes { Fate::Closed } else { Fate::Stays };
        let next = flight.request + 1;
        if !has_failed && next < flight.steps_end {
            let flight = Flight { request: next, since: self.now, ..flight };
            self.connections[index].flights.push_back(flight);
            let bytes: &'a [u8] = &self.plan.requests[next].bytes;
            self.send(index, bytes);
            return fate;
        }
        if flight.steps_end - self.first_step(flight) > 1 {
            self.recorder.job(self.now, flight.job_since, has_failed);
        }
        self.under_way -= 1;
        if closes && !self.connections[index].flights.is_empty() {
            self.lose(index, Fault::BrokenOff);
        } else if self.connections[index].flights.is_empty() && self.settings.pace != Pace::Once {
            self.launch(index);
        }
        fate
    }

    fn first_step(&self, flight: Flight) -> usize {
        let job = self.plan.jobs.partition_point(|job| job.end < flight.steps_end);
        self.plan.jobs[job].start
    }

    /// The other side has closed.
    fn ended(&mut self, index: usize) {
        let awaited = self.awaited(index);
        let connection = &mut self.connections[index];
        let answer = awaited.and_then(|it| connection.reader.end(it));
        match (awaited, answer) {
            (None, _) => connection.close(),
            (Some(_), Some(answer)) => drop(self.answered(index, answer)),
            (Some(_), None) => self.lose(index, Fault::BrokenOff),
        }
    }

    /// A connection is no more, and with it all answers that it owes.
    fn lose(&mut self, index: usize, fault: Fault) {
        let connection = &mut self.connections[index];
        connection.close();
        // One without work has a place among those that have room.
        connection.rests = !connection.flights.is_empty();
        while let Some(flight) = self.connections[index].flights.pop_front() {
            self.recorder.failure(self.now, flight.since, fault);
            if flight.steps_end - self.first_step(flight) > 1 {
                self.recorder.job(self.now, flight.job_since, true);
            }
            self.under_way -= 1;
        }
    }

    /// Ends what takes too long, and lets what was lost begin again: not at once, so that a target
    /// that is down is not asked in a circle.
    fn sweep(&mut self) {
        let patience = nanoseconds(self.settings.patience);
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let oldest = connection.flights.front().map(|flight| flight.since);
            if oldest.is_some_and(|since| self.now.saturating_sub(since) > patience) {
                self.lose(index, Fault::TimedOut);
            } else if connection.rests {
                connection.rests = false;
                if self.settings.pace != Pace::Once {
                    self.launch(index);
                }
            }
        }
        if self.is_over {
            // What was due and could not be sent has waited this long at least.
            while let Some(due) = self.schedule.take_older(self.now, patience) {
                self.recorder.failure(self.now, due, Fault::NeverSent);
            }
        }
    }
}

fn is_last(flight: Flight) -> bool {
    flight.request + 1 == flight.steps_end
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time of this process: what goes on beside the load is on its CPU too.
fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Of the one receive buffer: heads and small bodies of many pipelined answers, or a good part of
/// a large body.
const BUFFER_BYTES: usize = 256 << 10;
/// Thrown away in one call.
const SKIP_BYTES_MAX: usize = connection::SKIP_BYTES_MAX;
const EVENTS_MAX: usize = 256;
/// A connection with more than this has others served first.
const READS_PER_TURN: usize = 8;
const SWEEP_NS: u64 = 50_000_000;
