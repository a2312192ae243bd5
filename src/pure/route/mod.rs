//! From host and name to the rule that serves them.

pub mod pattern;
pub mod table;
