//! The configuration file: as written, as checked, and what is wrong with it.

pub mod check;
pub mod file;
pub mod problem;
pub mod values;
