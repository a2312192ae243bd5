//! By io_uring: one thread, one operation under way for each connection.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};

use super::Exchange;

struct Client {
    descriptor: i32,
    exchange: Box<Exchange>,
}

pub(super) fn serve(listener: &TcpListener, origin: &str) -> io::Result<bool> {
    // As the gateway's own: completions are run when they are waited for, by the one thread there is.
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    let mut ring: IoUring = builder.build(ENTRIES)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut unused: Vec<usize> = Vec::new();
    let mut next = vec![accept(listener)];
    let mut completed = Vec::new();
    loop {
        for entry in next.drain(..) {
            // SAFETY: what the entry points to is the listener's descriptor or a buffer of a client
            // whose operation is not over; both outlive it, and a client has one at a time.
            while unsafe { ring.submission().push(&entry) }.is_err() {
                ring.submit()?;
            }
        }
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            // It was held meanwhile.
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
        completed.extend(ring.completion().map(|one| (one.user_data(), one.result())));
        for (data, result) in completed.drain(..) {
            if data == LISTENER {
                next.push(accept(listener));
                if result >= 0 {
                    let client = Client { descriptor: result, exchange: Box::new(Exchange::new()) };
                    let at = unused.pop().unwrap_or(clients.len());
                    if at == clients.len() {
                        clients.push(None);
                    }
                    next.push(clients[at].insert(client).receive(at));
                }
                continue;
            }
            let at = usize::try_from(data >> 1).unwrap_or(usize::MAX);
            let Some(place) = clients.get_mut(at) else { continue };
            let Some(client) = place else { continue };
            let Some(length) = usize::try_from(result).ok().filter(|length| *length > 0) else {
                next.push(
                    opcode::Close::new(types::Fd(client.descriptor)).build().user_data(CLOSED),
                );
                *place = None;
                unused.push(at);
                continue;
            };
            match data & 1 == SENT {
                true => client.exchange.sent += length,
                false => client.exchange.take(length, origin),
            }
            next.push(match client.exchange.unsent().is_empty() {
                true => client.receive(at),
                false => client.send(at),
            });
        }
    }
}

fn accept(listener: &TcpListener) -> Entry {
    let listener = types::Fd(listener.as_raw_fd());
    let nobody = std::ptr::null_mut();
    opcode::Accept::new(listener, nobody, nobody.cast()).build().user_data(LISTENER)
}

impl Client {
    fn receive(&mut self, at: usize) -> Entry {
        let room = self.exchange.room();
        // What does not fit is received next time.
        let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let receive = opcode::Recv::new(types::Fd(self.descriptor), room.as_mut_ptr(), length);
        receive.build().user_data((at as u64) << 1 | RECEIVED)
    }

    fn send(&self, at: usize) -> Entry {
        let unsent = self.exchange.unsent();
        let length = u32::try_from(unsent.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(types::Fd(self.descriptor), unsent.as_ptr(), length);
        send.build().user_data((at as u64) << 1 | SENT)
    }
}

const ENTRIES: u32 = 1024;
const LISTENER: u64 = u64::MAX;
const CLOSED: u64 = u64::MAX - 1;
const RECEIVED: u64 = 0;
const SENT: u64 = 1;
