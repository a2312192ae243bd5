//! What is asked of the machine.

pub mod calls;
pub mod cpus;
pub mod limits;
pub mod usage;
