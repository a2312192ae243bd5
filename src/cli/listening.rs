//! The sockets that clients come to: those that were handed over, and those that are opened here.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use crate::cli::inherited::{Handed, Inherited, Key};
use crate::control::while_busy;
use crate::pure::config::values::Config;
use crate::worker::listener::{self, Socket};

/// Which address cannot be had, the key that names it, and why.
pub type Refused = (SocketAddr, Key, io::Error);

/// The sockets of all workers.
pub struct Listening {
    /// Those of each worker, by its number.
    pub of_workers: Vec<Vec<Socket>>,
    /// All of them once more, each once.
    pub lendable: Lendable,
    /// Where clients are listened for, with the ports that the system chose for port 0.
    pub addresses: Vec<SocketAddr>,
    /// Where they are listened for over TLS.
    pub tls_addresses: Vec<SocketAddr>,
}

impl Listening {
    /// Listens as `config` says, for `workers` workers. Connections wait until somebody accepts them.
    ///
    /// # Errors
    /// Which address cannot be had, and the key that names it.
    pub fn open(
        config: &Config,
        inherited: &mut Inherited,
        workers: usize,
    ) -> Result<Self, Refused> {
        let mut listening = Self {
            of_workers: (0..workers).map(|_| Vec::new()).collect(),
            lendable: Lendable::default(),
            addresses: Vec::new(),
            tls_addresses: Vec::new(),
        };
        let gateway = &config.gateway;
        for (key, addresses) in [(Key::Plain, &gateway.listen), (Key::OverTls, &gateway.listen_tls)]
        {
            for &address in addresses {
                listening
                    .add(key, address, inherited.take(address))
                    .map_err(|error| (address, key, error))?;
            }
        }
        Ok(listening)
    }

    /// Listens at `address` by the sockets that were handed over, or, where there are none, by one
    /// for each worker.
    fn add(&mut self, key: Key, address: SocketAddr, handed: Vec<TcpListener>) -> io::Result<()> {
        let workers = self.of_workers.len();
        let sockets = match handed.is_empty() {
            true => while_busy(|| listener::bind(address, workers))?,
            false => handed,
        };
        for socket in &sockets {
            self.lendable.add(key, socket)?;
        }
        let sockets = listener::share(sockets, workers)?;
        let addresses = match key {
            Key::OverTls => &mut self.tls_addresses,
            Key::Plain | Key::Admin => &mut self.addresses,
        };
        if let Some(first) = sockets.first() {
            addresses.push(first.local_addr()?);
        }
        for (number, listener) in sockets.into_iter().enumerate() {
            let over_tls = key == Key::OverTls;
            self.of_workers[number % workers].push(Socket { listener, over_tls });
        }
        Ok(())
    }
}

/// Sockets that another process may be lent, until nobody accepts by them any more.
#[derive(Default)]
pub struct Lendable(
    #[expect(clippy::disallowed_types, reason = "held for a moment, by threads that may wait")]
    std::sync::Mutex<Vec<(Key, OwnedFd)>>,
);

impl Lendable {
    fn add(&mut self, key: Key, socket: &TcpListener) -> io::Result<()> {
        let sockets = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        sockets.push((key, OwnedFd::from(socket.try_clone()?)));
        Ok(())
    }

    /// A copy of each.
    pub fn copies(&self) -> io::Result<Vec<Handed>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = |(key, socket): &(Key, OwnedFd)| {
            Handed::new(key.name().to_owned(), socket.try_clone()?)
        };
        sockets.iter().map(copy).collect()
    }

    /// Closes them here.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
