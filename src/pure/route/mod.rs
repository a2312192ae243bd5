//! From host and name to the rule that serves them.

pub mod pattern;
mod rule;
pub mod table;
#[cfg(test)]
mod twin;
