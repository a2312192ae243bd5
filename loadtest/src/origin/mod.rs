//! The registry behind the gateway: every package holds the same image.
//!
//! It is a program of its own (`loadtest origin`), beside the load on its CPU, and does as little as
//! a registry can: answers are ready in memory, bodies go out by sendfile(2). Where it has to speak
//! TLS it is nginx.

pub mod content;
mod server;

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::certificates;
use crate::machine::usage::Usage;
use crate::target::server::Server;
use crate::target::{free_address, installed, replace};
use content::{blob, write};
pub use server::serve;

/// A registry that runs until this is dropped.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    /// As clients are sent to it.
    pub url: String,
    /// As it stands in a `backend`.
    pub backend: String,
    /// The certificate that its own is signed with, if it speaks TLS.
    pub authority: Option<PathBuf>,
    server: Server,
}

impl Origin {
    /// The CPU time that it has used.
    pub fn used(&self) -> io::Result<Duration> {
        Ok(Usage::of(self.server.id())?.cpu)
    }

    /// Starts one on `cpu`, with a blob of each of `sizes` beside the image.
    pub fn start(cpu: usize, sizes: &[u64]) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(env::current_exe()?);
        command.arg("origin").arg("--listen").arg(address.to_string());
        for size in sizes {
            command.arg("--size").arg(size.to_string());
        }
        let room = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let server = Server::start("origin", command, address, room, &[cpu])?;
        let url = format!("http://{address}");
        Ok(Self { address, backend: url.clone(), url, authority: None, server })
    }

    /// Starts one that speaks TLS and has only the blobs.
    pub fn start_tls(cpu: usize, sizes: &[u64]) -> io::Result<Self> {
        let address = free_address()?;
        let room = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let authority = certificates::write(room.path(), "registry", &[NAME, "127.0.0.1"])?;
        fs::create_dir(room.path().join("blobs"))?;
        for size in sizes {
            let blob = blob(*size);
            write(&blob, &room.path().join(&blob.tail))?;
        }
        let file = room.path().join("nginx.conf");
        let marks =
            [("@room@", &*room.path().to_string_lossy()), ("@address@", &address.to_string())];
        fs::write(&file, replace(NGINX_ORIGIN.to_owned(), &marks))?;
        let mut command = Command::new(installed("nginx"));
        command.arg("-p").arg(room.path()).arg("-c").arg(file);
        let server = Server::start("nginx as the registry", command, address, room, &[cpu])?;
        Ok(Self {
            address,
            url: format!("https://{address}"),
            backend: address.to_string(),
            authority: Some(authority),
            server,
        })
    }
}

/// The name in its certificate, beside its address.
pub const NAME: &str = "registry.test";
const NGINX_ORIGIN: &str = include_str!("../../peers/nginx-origin.conf");
