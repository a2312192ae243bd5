//! Where the gateway is, as far as it can know: what a package's domain is led to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::Dashboard;
use crate::pure::record::{self, Record, Whereabouts, records};

/// The records that lead this domain here; none where it cannot be known which do.
pub(super) fn records_for(at: &Dashboard, domain: &str) -> Vec<Record> {
    let (snapshot, standing) = (at.in_force.snapshot(), at.makers.standing());
    let whereabouts = Whereabouts {
        dashboard: snapshot.dashboard_name(),
        shared: standing.shared_domain.as_deref(),
        listens: &standing.listens,
        own: &own_addresses(),
    };
    records(domain, &whereabouts)
}

/// The shared domain, if this one is an organisation's below it: then records are for who runs the gateway to add.
pub(super) fn shared_above(at: &Dashboard, domain: &str) -> Option<String> {
    let standing = at.makers.standing();
    record::shared_above(domain, standing.shared_domain.as_deref()).map(str::to_owned)
}

/// By which addresses this machine speaks to the Internet. Nothing is sent: a socket of UDP is given one as soon as
/// it is said whom it is for, which is nobody here (RFC 5737, RFC 3849).
fn own_addresses() -> Vec<IpAddr> {
    let nobody: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let own = nobody.into_iter().filter_map(|(any, nobody)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((nobody, 9)).ok()?;
        socket.local_addr().ok()
    });
    own.map(|own: SocketAddr| own.ip()).collect()
}
