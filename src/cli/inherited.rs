//! Listening sockets that this process did not open itself: systemd's socket units hand them over
//! (sd_listen_fds(3)), and so does a gateway that is upgraded.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::fs::fcntl_getfl;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketType, getsockname};

use crate::pure::config::values::Config;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Handed>);

/// One that was handed over.
#[derive(Debug)]
pub struct Handed {
    /// What it is called: `FileDescriptorName=` of its unit, or a [key](Key::name).
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The socket.
    pub listener: TcpListener,
}

/// A key of the configuration that says where is listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `gateway.listen`
    Plain,
    /// `gateway.listen_tls`
    OverTls,
    /// `admin.listen`
    Admin,
}

impl Key {
    /// All of them.
    pub const EVERY: [Self; 3] = [Self::Plain, Self::OverTls, Self::Admin];

    /// What a socket of this key is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "listen",
            Self::OverTls => "listen_tls",
            Self::Admin => "admin",
        }
    }

    fn addresses(self, config: &Config) -> &[SocketAddr] {
        match self {
            Self::Plain => &config.gateway.listen,
            Self::OverTls => &config.gateway.listen_tls,
            Self::Admin => std::slice::from_ref(&config.admin.listen),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "gateway.listen",
            Self::OverTls => "gateway.listen_tls",
            Self::Admin => "admin.listen",
        })
    }
}

impl Inherited {
    /// Those that a gateway hands over.
    pub fn of(handed: Vec<Handed>) -> Self {
        Self(handed)
    }

    /// Those that the environment tells of, if it means this process: `LISTEN_PID`, `LISTEN_FDS`,
    /// `LISTEN_FDNAMES`. To be called once, before anything else opens descriptors.
    ///
    /// # Errors
    /// In words, what is wrong with which of them.
    pub fn from_environment() -> Result<Self, String> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        if variable("LISTEN_PID") != std::process::id().to_string() {
            return Ok(Self::default());
        }
        let count = variable("LISTEN_FDS");
        let Some(count) = count.parse().ok().filter(|count: &RawFd| *count <= HANDED_MAX) else {
            return Err(format!("LISTEN_FDS={count} is no number of sockets up to {HANDED_MAX}"));
        };
        let names = variable("LISTEN_FDNAMES");
        let mut names = names.split(':');
        let handed = (FIRST_HANDED..FIRST_HANDED + count).map(|number| {
            let name = names.next().unwrap_or_default();
            let what = || format!("descriptor {number} ({name})");
            let descriptor =
                take(number).map_err(|error| format!("{} is not open: {error}", what()))?;
            Handed::new(name.to_owned(), descriptor).map_err(|error| {
                format!(
                    "{} is no listening TCP socket ({error}): in the socket unit, ListenStream= wants \
                     an address with a port",
                    what()
                )
            })
        });
        handed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether all of them are wanted by the configuration.
    ///
    /// # Errors
    /// In words, which is not, and what to do.
    pub fn check(&self, config: &Config) -> Result<(), String> {
        for Handed { name, address, .. } in &self.0 {
            let wants = |key: &Key| key.addresses(config).contains(address);
            if let Some(key) = Key::EVERY.into_iter().find(|key| key.name() == name) {
                if !wants(&key) {
                    return Err(format!(
                        "the socket that was handed over for {key} listens at {address}, which is not \
                         there; write it there, or change the socket unit"
                    ));
                }
            } else if !Key::EVERY.iter().any(wants) {
                return Err(format!(
                    "a socket was handed over that listens at {address} ({name}), which is in none of \
                     gateway.listen, gateway.listen_tls and admin.listen; write it there, or take it \
                     out of the socket unit"
                ));
            }
        }
        Ok(())
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|it| it.address).collect()
    }

    /// Takes all that listen at `address`; none for port 0, which is a port of one's own.
    pub fn take(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|it| it.address == address);
        self.0 = left;
        let taken: Vec<Handed> = taken;
        taken.into_iter().map(|handed| handed.listener).collect()
    }
}

impl Handed {
    /// A socket of that name. `InvalidInput` where it does not listen for TCP connections.
    pub fn new(name: String, socket: OwnedFd) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let is_listening =
            socket_type(&socket)? == SocketType::STREAM && socket_acceptconn(&socket)?;
        if !is_listening {
            return Err(wrong("it does not listen"));
        }
        let address = SocketAddr::try_from(getsockname(&socket)?)
            .map_err(|_| wrong("it has no address with a port"))?;
        Ok(Self { name, address, listener: TcpListener::from(socket) })
    }
}

/// Takes over a descriptor that is known by its number only; programs that this one might start do
/// not inherit it.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the environment says that this descriptor was left open for this process to own, it
    // is asked once, and that it is open is found out before anything else is done with it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) = fcntl_getfl(descriptor.as_fd()) {
        // There is nothing to be closed.
        std::mem::forget(descriptor);
        return Err(error.into());
    }
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// The number of the first that is handed over (SD_LISTEN_FDS_START).
const FIRST_HANDED: RawFd = 3;
/// More than anybody listens at.
const HANDED_MAX: RawFd = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::check::check;

    fn handed(name: &str) -> Handed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Handed::new(name.to_owned(), listener.into()).unwrap()
    }

    #[test]
    fn sockets_are_found_by_their_address_and_strangers_are_named() {
        let (plain, stranger) = (handed("pullgate.socket"), handed("pullgate.socket"));
        let (address, strange) = (plain.address, stranger.address);
        let text = format!("[gateway]\nlisten = [\"{address}\"]\n");
        let (config, _) = check("pullgate.toml", &text).unwrap();
        let mut inherited = Inherited::of(vec![plain]);
        inherited.check(&config).unwrap();
        assert!(inherited.take(strange).is_empty());
        assert_eq!(inherited.take(address).len(), 1);
        assert!(inherited.take(address).is_empty());
        let words = Inherited::of(vec![stranger]).check(&config).unwrap_err();
        assert!(words.contains(&strange.to_string()) && words.contains("gateway.listen_tls"));
    }

    #[test]
    fn a_socket_that_is_named_for_a_key_is_wanted_there() {
        let misnamed = handed("listen_tls");
        let text = format!("[gateway]\nlisten = [\"{}\"]\n", misnamed.address);
        let (config, _) = check("pullgate.toml", &text).unwrap();
        let words = Inherited::of(vec![misnamed]).check(&config).unwrap_err();
        assert!(words.contains("handed over for gateway.listen_tls"), "{words}");
    }

    #[test]
    fn what_does_not_listen_is_no_listener() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Handed::new(String::new(), one.into()).is_err());
    }
}
