//! One gateway takes over from another on the same `data_dir`, and no client notices.
//!
//! ```text
//!   the one that runs                          the one that takes over (`serve --upgrade`)
//!                  ◄──── which protocol ────►
//!   hello, its listening sockets ────────────►  reads its configuration, prepares everything
//!                  ◄───────────────── ready     … or ends: nothing has happened
//!   writes its counts, lets go of the store,
//!   what counting knows  ────────────────────►  locks data_dir, starts its workers
//!                  ◄─────────────── serving     … or ends: the other takes the store back
//!   go  ─────────────────────────────────────►  counts
//!   drains; what its workers send  ──────────►  counts it too
//!   ends
//! ```
//!
//! Both accept by the same sockets from "serving" on until the old one has stopped, so that there is
//! always somebody who does. Where the new one fails before "go" the old one goes on as if
//! nothing had been; what its workers have sent meanwhile has waited in their pages.

mod giving;
mod taking;
mod wire;

use std::path::Path;

pub use giving::{Giving, listen};
pub use taking::{Estate, Predecessor};

/// Nobody can take over from the gateway that ran on `data_dir` any more.
pub fn forget(data_dir: &Path) {
    // Who finds one that nobody listens at is told the same as who finds none.
    let _ = std::fs::remove_file(wire::path(data_dir));
}
