//! Which driver a worker's runtime stands on: io_uring with the best flags that the kernel takes,
//! or epoll where io_uring is forbidden.

use std::fmt;
use std::future::Future;
use std::io;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::pure::config::values::Driver as Wanted;

/// The driver that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring(Flags),
    /// epoll.
    Epoll,
}

/// How a ring hands completions over. Without deferring, the kernel interrupts the thread for each
/// one, which costs 20 to 35 % of all CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1).
    Deferred,
    /// COOP_TASKRUN (Linux 5.19).
    Cooperative,
    /// None.
    Plain,
}

impl Driver {
    /// The best driver that `wanted` and this system allow, by building a ring.
    ///
    /// # Errors
    /// Only where io_uring is asked for by name: why the kernel refuses it.
    pub fn choose(wanted: Wanted) -> Result<Self, io::Error> {
        if wanted == Wanted::Epoll {
            return Ok(Self::Epoll);
        }
        let mut refusal = io::Error::other("the kernel lacks operations that are needed");
        if monoio::utils::detect_uring() {
            for flags in [Flags::Deferred, Flags::Cooperative, Flags::Plain] {
                match flags.builder().build(ENTRIES) {
                    Ok(_) => return Ok(Self::IoUring(flags)),
                    Err(error) => refusal = error,
                }
            }
        } else if let Err(error) = io_uring::IoUring::new(2) {
            refusal = error;
        }
        if wanted == Wanted::IoUring {
            return Err(refusal);
        }
        tracing::warn!(
            "io_uring is not to be had here ({refusal}): workers use epoll; allow it by the \
             sysctl kernel.io_uring_disabled=0 and a seccomp profile with io_uring_setup, or set \
             gateway.driver = \"epoll\""
        );
        Ok(Self::Epoll)
    }

    /// Runs `future` to its end on a runtime of this driver, made on this very thread: a ring with
    /// a single issuer belongs to the thread that made it.
    pub fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            Self::IoUring(flags) => {
                let mut builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(ENTRIES);
                builder = builder.uring_builder(flags.builder());
                Ok(builder.build()?.block_on(future))
            }
            Self::Epoll => Ok(RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(future)),
        }
    }
}

impl Driver {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring(_) => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl Flags {
    fn builder(self) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        match self {
            Self::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            Self::Cooperative => builder.setup_coop_taskrun(),
            Self::Plain => &mut builder,
        };
        builder
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring(Flags::Deferred) => "io_uring (single issuer, deferred task work)",
            Self::IoUring(Flags::Cooperative) => "io_uring (cooperative task work)",
            Self::IoUring(Flags::Plain) => "io_uring (without flags: Linux 6.1 would cost less)",
            Self::Epoll => "epoll",
        })
    }
}

/// A ring's submission queue. A sweep may cancel some thousand receives at once.
const ENTRIES: u32 = 4096;
