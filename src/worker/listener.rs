//! Accepting: one loop per listening socket of a worker.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;

use monoio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use crate::messages::clock::monotonic_us;
use crate::messages::ledger::Refused;
use crate::messages::meters::Counter;
use crate::pure::http1::forwarded::mapped;
use crate::worker::guard::{Task, guarded};
use crate::worker::{Worker, connection};

/// Sockets that listen at `address`, one for each of `count` workers: the kernel spreads new
/// connections over them. TCP_NODELAY is set on the listeners, because connections inherit it.
///
/// # Errors
/// Where the address cannot be bound; `AddrInUse` also where another process shares it, which
/// SO_REUSEPORT alone would let pass.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    if address.port() != 0 {
        let probe = socket(address)?;
        probe.bind(&SockAddr::from(address))?;
    }
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let listener = StdListener::from(socket);
        // Port 0 is any free port, but the same one for all.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Gets sockets that listen already ready for `count` workers, in whose order they come: the first is
/// the first worker's, and so on, round and round. Every one of them is somebody's, for what
/// the kernel has given to a socket that nobody accepts from is lost; where there are fewer than
/// workers, the rest of those share them.
pub fn share(listeners: Vec<StdListener>, count: usize) -> io::Result<Vec<StdListener>> {
    let mut shared = Vec::with_capacity(listeners.len().max(count));
    for listener in listeners {
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        shared.push(listener);
    }
    let own = shared.len();
    for number in own..count {
        shared.push(shared[number % own].try_clone()?);
    }
    Ok(shared)
}

fn socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// A listening socket, before a worker has taken it over.
pub struct Socket {
    /// The socket itself.
    pub listener: StdListener,
    /// Whether TLS is spoken there.
    pub over_tls: bool,
}

/// A listening socket of a worker.
pub struct Listener {
    polled: TcpListener,
    over_tls: bool,
    /// The same socket, for what the kernel has finished when the worker stops accepting.
    last_calls: StdListener,
}

impl Listener {
    /// Takes over `socket`. Behind a ring it must block: some kernels take it by its word and
    /// complete an accept with nothing at once.
    pub fn new(socket: Socket, is_on_ring: bool) -> io::Result<Self> {
        let Socket { listener, over_tls } = socket;
        listener.set_nonblocking(!is_on_ring)?;
        let last_calls = listener.try_clone()?;
        Ok(Self { polled: TcpListener::from_std(listener)?, over_tls, last_calls })
    }

    /// Accepts until the worker drains, then what still waits, unless another process accepts by the
    /// same socket: what the kernel has finished already would be reset otherwise.
    pub async fn accept(self, worker: Rc<Worker>) {
        let _busy = worker.begin();
        while !worker.is_draining() {
            match self.polled.cancelable_accept(worker.accepting()).await {
                Ok((stream, peer)) => admit(&worker, stream, peer, self.over_tls),
                Err(error) => {
                    if error.kind() == io::ErrorKind::WouldBlock && worker.is_on_ring() {
                        // The setting is the socket's, and another process has it too.
                        let _ = self.last_calls.set_nonblocking(false);
                    }
                    after(&worker, &error).await;
                }
            }
        }
        let address = self.last_calls.local_addr();
        if address.is_ok_and(|address| worker.is_handed_over(address)) {
            return;
        }
        if let Err(error) = self.last_calls.set_nonblocking(true) {
            tracing::warn!("connections that wait to be accepted are given up: {error}");
            return;
        }
        loop {
            let accepted = self.last_calls.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(!worker.is_on_ring())?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => admit(&worker, stream, peer, self.over_tls),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => after(&worker, &error).await,
            }
            if worker.is_overdue() {
                return;
            }
        }
    }
}

/// What a failure to accept calls for.
async fn after(worker: &Rc<Worker>, error: &io::Error) {
    match Errno::from_io_error(error) {
        // The worker is to drain: the loop looks.
        Some(Errno::CANCELED) => {}
        // The client went away before it was accepted.
        Some(Errno::CONNABORTED) => worker.meters.add(Counter::AcceptErrors, 1),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            worker.meters.add(Counter::AcceptPauses, 1);
            if let Some(repeats) = worker.complaints.borrow_mut().pass(monotonic_us()) {
                tracing::error!(
                    "connections cannot be accepted: {error}; raise the limit of open files \
                     (LimitNOFILE, ulimit -n) or set limits.connections lower{repeats}"
                );
            }
            worker.next_sweep().await;
        }
        // Whatever it is, it may last.
        _ => {
            worker.meters.add(Counter::AcceptErrors, 1);
            worker.next_sweep().await;
        }
    }
}

/// Starts serving a connection, or tells it that there are too many.
fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, over_tls: bool) {
    worker.meters.add(Counter::Connections, 1);
    let address = mapped(peer.ip());
    let entrance = worker.enter(address);
    let served = Rc::clone(worker);
    let busy = worker.begin();
    let connection: Task = match entrance {
        Ok(entrance) => Box::pin(connection::serve(served, stream, address, entrance, over_tls)),
        Err(refused) => {
            worker.meters.add(
                match refused {
                    Refused::All => Counter::RefusedTotal,
                    Refused::Client => Counter::RefusedClient,
                },
                1,
            );
            // Over TLS it would cost as much to say so as to serve.
            let Some(refusing) = worker.refuse().filter(|_| !over_tls) else {
                return;
            };
            Box::pin(connection::refuse(served, stream, address, refusing))
        }
    };
    monoio::spawn(guarded(Rc::clone(worker), connection, busy));
}

/// Connections that the kernel may have finished and not yet handed over; it cuts this down to
/// net.core.somaxconn.
const BACKLOG: i32 = 4096;
