//! The configuration file: as written, as checked, and what is wrong with it.
//!
//! `file.rs` is the one table of all keys; each has a kind (`kinds.rs`, `measures.rs`) that reads
//! its value and says what is allowed. `section.rs` walks a file by that table, `syntax.rs` helps
//! where it is not even TOML, `check.rs` adds what only holds between keys. `made.rs` puts packages beside
//! the file's that people made in the dashboard.

pub mod check;
pub mod file;
mod homes;
pub mod kinds;
mod listeners;
mod logins;
pub mod made;
pub mod measures;
pub mod problem;
pub mod section;
pub mod syntax;
pub mod values;

pub use check::check;
pub use problem::{Problem, Warning};
