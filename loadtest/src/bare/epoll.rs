//! By epoll: one thread, edge by edge.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::Exchange;

struct Client {
    stream: TcpStream,
    exchange: Exchange,
}

pub(super) fn serve(listener: &TcpListener, origin: &str) -> io::Result<bool> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut unused: Vec<usize> = Vec::new();
    let mut events = Vec::<Event>::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            // It was held meanwhile (signal(7)).
            Ok(_) | Err(Errno::INTR) => {}
            Err(problem) => return Err(problem.into()),
        }
        for event in &events {
            if event.data.u64() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let at = unused.pop().unwrap_or(clients.len());
                    epoll::add(
                        &poll,
                        &stream,
                        EventData::new_u64(at as u64),
                        EventFlags::IN | EventFlags::OUT | EventFlags::ET,
                    )?;
                    if at == clients.len() {
                        clients.push(None);
                    }
                    clients[at] = Some(Client { stream, exchange: Exchange::new() });
                }
                continue;
            }
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(place) = clients.get_mut(at) else { continue };
            if place.as_mut().is_some_and(|client| !client.go_on(origin)) {
                *place = None;
                unused.push(at);
            }
        }
    }
}

impl Client {
    /// Answers what has come; whether the connection stays.
    fn go_on(&mut self, origin: &str) -> bool {
        let Self { stream, exchange } = self;
        loop {
            while !exchange.unsent().is_empty() {
                match stream.write(exchange.unsent()) {
                    Ok(sent) => exchange.sent += sent,
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
            match stream.read(exchange.room()) {
                Ok(0) => return false,
                Ok(length) => exchange.take(length, origin),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;
