//! Where the gateway is, as far as it can know: what a package's domain is led to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::Dashboard;
use super::viewer::Viewer;
use crate::pure::access::Action;
use crate::pure::record::{Record, Whereabouts, for_viewer, records, shared_above};

/// The way from a package's domain to here.
#[derive(Default)]
pub(super) struct Way {
    /// What it is pulled from; none where any host may be.
    pub(super) domain: Option<String>,
    /// What leads that here; none where it cannot be known, or is not for who looks.
    pub(super) records: Vec<Record>,
    /// Whether there is something that is not for who looks.
    pub(super) is_withheld: bool,
    /// The domain of all organisations that it is below: then records are for who runs the gateway to add.
    pub(super) shared: Option<String>,
}

impl Way {
    /// As `viewer` is told of it.
    pub(super) fn of(at: &Dashboard, viewer: &Viewer, package: &str) -> Self {
        let Some(domain) = domain_of(package) else {
            return Self::default();
        };
        let (snapshot, standing) = (at.in_force.snapshot(), at.makers.standing());
        let whereabouts = Whereabouts {
            dashboard: snapshot.dashboard_name(),
            shared: standing.shared_domain.as_deref(),
            listens: &standing.listens,
            own: &own_addresses(),
        };
        let shared = shared_above(&domain, whereabouts.shared).map(str::to_owned);
        let adds_them = viewer.may_gateway(Action::Configure)
            || shared.is_none() && viewer.may_package(Action::Configure, package, false);
        let all = records(&domain, &whereabouts);
        let many = all.len();
        let records = for_viewer(all, adds_them);
        Self { is_withheld: records.len() < many, records, shared, domain: Some(domain) }
    }
}

/// What a package is pulled from; none where that may be any host.
pub(super) fn domain_of(package: &str) -> Option<String> {
    package.split('/').next().filter(|domain| *domain != "*").map(str::to_owned)
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
