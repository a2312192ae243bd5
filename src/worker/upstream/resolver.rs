//! The threads that look names up, by `getaddrinfo`: hosts files, search domains and whatever else
//! the system is configured with hold. That call blocks, so no worker makes it.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;

use crate::messages::names::Desk;

/// Starts them. They end when no worker is left to ask.
pub fn spawn(desk: &Desk) -> io::Result<()> {
    for number in 0..THREADS {
        let desk = desk.clone();
        thread::Builder::new().name(format!("names-{number}")).spawn(move || {
            while let Some(question) = desk.next() {
                let addresses = look_up(&question.host);
                desk.answer(question, addresses);
            }
        })?;
    }
    Ok(())
}

/// The addresses of `host`, in the system's order (RFC 6724).
fn look_up(host: &str) -> Result<Box<[IpAddr]>, Box<str>> {
    let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses = Vec::new();
    for address in found.map(|found| found.ip().to_canonical()).take(ADDRESSES_MAX) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses.into()) }
}

/// How many names are looked up at a time.
const THREADS: usize = 2;
/// How many addresses of one name are looked at.
const ADDRESSES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_as_the_system_does() {
        let loopback = look_up("localhost").unwrap();
        assert!(loopback.iter().all(IpAddr::is_loopback), "{loopback:?}");
        assert_eq!(*look_up("127.1").unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        assert!(look_up("no-such-name.invalid").is_err());
    }
}
