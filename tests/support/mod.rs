//! What the tests that start programs share: the built gateway, a registry, real clients, and the
//! patience to wait for them.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "it reads like the library that it is to the tests")]
#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

pub mod bench;
pub mod browser;
pub mod cdn;
pub mod clients;
pub mod deeds;
pub mod demo;
pub mod described;
pub mod eventually;
pub mod gate;
pub mod hosted;
pub mod hosts;
pub mod http;
pub mod http2;
pub mod images;
pub mod names;
pub mod old;
pub mod origin;
pub mod packages;
pub mod pebble;
pub mod people;
pub mod person;
pub mod process;
pub mod program;
pub mod registry;
pub mod routes;
pub mod sandbox;
pub mod scenes;
pub mod scripted;
pub mod somebody;
pub mod tls;
pub mod tokens;
pub mod webhooks;
pub mod world;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address on `ip` that nobody listens on, and that this process was not given before.
///
/// Its port is none of those that the kernel gives to who asks for any (`ip_local_port_range`
/// begins at 32768), so that hardly anybody else gets it before its listener is there.
pub fn free_address(ip: IpAddr) -> SocketAddr {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Tests that run at once, each in a process of its own, begin at places of their own.
    let begin = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    (0..COUNT)
        .map(|_| u32::from(GIVEN.fetch_add(1, Ordering::Relaxed)))
        .map(|given| FIRST + u16::try_from((begin + given) % u32::from(COUNT)).expect("below it"))
        .find(|port| TcpListener::bind((ip, *port)).is_ok())
        .map(|port| SocketAddr::new(ip, port))
        .expect("a free port")
}
