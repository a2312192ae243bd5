//! What the tests that start programs share: the built gateway, a registry, real clients, and the
//! patience to wait for them.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "it reads like the library that it is to the tests")]
#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

pub mod bench;
pub mod cdn;
pub mod clients;
pub mod eventually;
pub mod gate;
pub mod hosts;
pub mod http;
pub mod http2;
pub mod images;
pub mod origin;
pub mod pebble;
pub mod person;
pub mod process;
pub mod registry;
pub mod sandbox;
pub mod scenes;
pub mod scripted;
pub mod tls;
pub mod tokens;
pub mod world;

use std::net::{IpAddr, SocketAddr, TcpListener};

/// An address on `ip` that nobody listens on.
pub fn free_address(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a loopback port");
    listener.local_addr().expect("its address")
}
