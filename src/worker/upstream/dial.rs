//! Making connections: the name's addresses are judged, those that may be dialled are tried one
//! after the other with little patience (RFC 8305), and TLS begins.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use monoio::net::TcpStream;

use super::link::{Link, Way};
use super::tls;
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::forwarded::mapped;
use crate::pure::oci::backend::Scheme;
use crate::worker::within::within;
use crate::worker::{Adopted, Worker, sweeps};

/// A new connection, within `upstream.connect_timeout`.
pub async fn dial(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    way: &Rc<Way>,
) -> Result<Link, Fault> {
    let bound = sweeps(adopted.upstream.connect_timeout);
    let link =
        within(worker, bound, connect(worker, adopted, way)).await.unwrap_or(Err(TOO_SLOW))?;
    worker.meters.add(Counter::UpstreamConnectionsOpened, 1);
    Ok(link)
}

async fn connect(worker: &Rc<Worker>, adopted: &Rc<Adopted>, way: &Rc<Way>) -> Result<Link, Fault> {
    let origin = &way.origin;
    let found = worker.upstreams.resolver.resolve(worker, &origin.host).await?;
    let may_dial = |address: &IpAddr| {
        adopted.may_dial(way.registry, &origin.host, origin.port, mapped(*address))
    };
    let allowed: Vec<IpAddr> = found.iter().copied().filter(may_dial).collect();
    if allowed.is_empty() {
        worker.complain_of(format_args!(
            "{origin} is not asked: its address is not public, and upstream.allow_private names \
             neither the address nor the host"
        ));
        return Err(FORBIDDEN);
    }
    let failed = |kind: Kind, detail, error: &dyn fmt::Display| {
        worker.complain_of(format_args!("{origin}: {detail}: {error}"));
        Fault::new(kind, detail)
    };
    let to = in_turn(allowed).map(|address| SocketAddr::new(address, origin.port));
    let stream = first_of(worker, to).await.map_err(|error| {
        failed(Kind::UpstreamUnreachable, "no address takes a connection", &error)
    })?;
    // Without it, only speed is lost.
    let _ = stream.set_nodelay(true);
    match origin.scheme {
        Scheme::Http => Ok(Link::over_tcp(Rc::clone(way), stream)),
        Scheme::Https => {
            let config = adopted.tls(way.registry);
            let stream = tls::Stream::connect(stream, config, &origin.host, &worker.pool).await;
            let stream = stream
                .map_err(|error| failed(Kind::UpstreamTls, "a handshake that fails", &error))?;
            Ok(Link::over_tls(Rc::clone(way), stream))
        }
    }
}

/// The first few of `addresses`, both families by turns, beginning with the first one's.
fn in_turn(addresses: Vec<IpAddr>) -> impl Iterator<Item = IpAddr> {
    let v6_first = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == v6_first);
    let turns = first.len().max(second.len());
    let turn = move |n: usize| [first.get(n).copied(), second.get(n).copied()];
    (0..turns).flat_map(turn).flatten().take(ATTEMPTS_MAX)
}

/// The first connection that comes to be. The next address is tried when one has failed, or has
/// not answered for a while; those before it go on being tried.
pub(super) async fn first_of(
    worker: &Worker,
    mut addresses: impl Iterator<Item = SocketAddr>,
) -> io::Result<TcpStream> {
    let mut under_way: Vec<Attempt> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut next = addresses.next();
    while next.is_some() || !under_way.is_empty() {
        if let Some(address) = next.take() {
            under_way.push(Box::pin(TcpStream::connect_addr(address)));
            next = addresses.next();
        }
        let patience = if next.is_some() { ATTEMPT_SWEEPS } else { u64::MAX };
        match within(worker, patience, any_of(&mut under_way)).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
    Err(failure)
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// Waits until one of `attempts` has come to something, and takes it out.
async fn any_of(attempts: &mut Vec<Attempt>) -> io::Result<TcpStream> {
    poll_fn(|context| {
        for index in 0..attempts.len() {
            if let Some(attempt) = attempts.get_mut(index)
                && let Poll::Ready(outcome) = attempt.as_mut().poll(context)
            {
                drop(attempts.swap_remove(index));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

const TOO_SLOW: Fault = Fault::new(Kind::UpstreamTimeout, "a connection that does not come about");
const FORBIDDEN: Fault = Fault::new(Kind::UpstreamForbidden, "an address that is not public");
/// How long the next address waits for the one before it: two sweeps (RFC 8305, 5: 250 ms, at least
/// 100 ms).
const ATTEMPT_SWEEPS: u64 = 2;
/// How many of a name's addresses are tried.
const ATTEMPTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_have_their_turns() {
        let told = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            in_turn(addresses).map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&["::1", "::2", "::3", "1.1.1.1"]), "::1 1.1.1.1 ::2 ::3");
        assert_eq!(told(&["1.1.1.1", "::1", "2.2.2.2"]), "1.1.1.1 ::1 2.2.2.2");
        assert_eq!(told(&["1.1.1.1"]), "1.1.1.1");
        assert_eq!(told(&["::1"; 20]).split(' ').count(), ATTEMPTS_MAX);
    }
}
