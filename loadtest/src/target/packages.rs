//! The packages that are pulled, and the configurations that name them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// The host name that clients pull from.
pub const DOMAIN: &str = "registry.acme.com";

/// How the gateway delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Delivery {
    /// Clients are sent to the registry.
    Redirect,
    /// The gateway asks the registry for manifests.
    Broker,
    /// Everything comes through the gateway.
    Stream,
}

/// How the gateway speaks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// By io_uring where that is allowed, else by epoll
    Auto,
    /// By io_uring
    #[value(name = "io_uring")]
    IoUring,
    /// By epoll
    Epoll,
}

/// The name of the `index`-th package.
pub fn name(index: usize) -> String {
    format!("acme/rocket-{index:06}")
}

/// A `pullgate.toml` with `count` packages whose registry is `origin`, as `http://host:port`.
pub fn gateway(count: usize, delivery: Delivery, origin: &str, head: &str) -> String {
    let delivery = match delivery {
        Delivery::Redirect => "redirect",
        Delivery::Broker => "broker",
        Delivery::Stream => "stream",
    };
    let mut text = head.to_owned();
    for name in (0..count).map(name) {
        let _ = write!(
            text,
            "\n[[packages]]\ndomain = \"{DOMAIN}\"\nname = \"{name}\"\n\
             backend = \"{origin}/{name}\"\ndelivery = \"{delivery}\"\n"
        );
    }
    text
}

/// Where the gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Listens {
    /// For clients, in plain HTTP.
    pub listen: SocketAddr,
    /// For clients, over TLS.
    pub listen_tls: Option<SocketAddr>,
    /// For the operator.
    pub admin: SocketAddr,
}

/// The head of a `pullgate.toml`: so many workers, on these addresses.
pub fn gateway_head(
    listens: Listens,
    data_dir: &Path,
    driver: Driver,
    workers: usize,
    more: &str,
) -> String {
    let Listens { listen, listen_tls, admin } = listens;
    let over_tls = listen_tls.map_or_else(String::new, |at| format!("listen_tls = [\"{at}\"]\n"));
    let driver = match driver {
        Driver::Auto => "auto",
        Driver::IoUring => "io_uring",
        Driver::Epoll => "epoll",
    };
    format!(
        "[gateway]\nlisten = [\"{listen}\"]\n{over_tls}workers = {workers}\ndata_dir = \"{}\"\ndriver = \"{driver}\"\n\n\
         [admin]\nlisten = \"{admin}\"\n\n[log]\nlevel = \"error\"\n\n{more}",
        data_dir.display()
    )
}

/// A map of names to where they live, for nginx's `map` or haproxy's `map_str`.
pub fn map(count: usize, origin: &str, end: &str) -> String {
    let line = |name: String| format!("{name} {origin}/v2/{name}{end}\n");
    (0..count).map(name).map(line).collect()
}
