//! Load for the gateway and its peers: what a pull costs, measured in the open.
//!
//! [`engine`] lays a [`plan`] on and records what comes back; [`scenario`] makes plans; [`target`]
//! starts who is measured, and [`origin`] the registry behind it; [`machine`] says what they used;
//! [`compare`] puts them side by side, in interleaved rounds, and holds the gateway to each [`bar`].

pub mod args;
pub mod background;
pub mod bar;
pub mod bare;
pub mod certificates;
pub mod cli;
pub mod compare;
pub mod doctor;
pub mod engine;
pub mod machine;
pub mod origin;
pub mod plan;
pub mod report;
pub mod run;
pub mod scenario;
pub mod start;
pub mod statistics;
pub mod sweep;
pub mod target;

/// A moment between two looks, or until what was started has settled.
#[allow(clippy::disallowed_methods, reason = "no worker waits here: the harness is a tool")]
pub fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}
