//! What workers tell the aggregator, and how requests become pulls.

pub mod event;
pub mod families;
pub mod fold;
pub mod kin;
pub mod platform;
pub mod rollup;
pub mod sketch;
pub mod spans;
pub mod threshold;
pub mod window;
