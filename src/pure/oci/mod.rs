//! The distribution spec's vocabulary: name, reference, digest, endpoint, backend, and how
//! registries are told who asks.

pub mod backend;
pub mod basic;
pub mod challenge;
pub mod endpoint;
pub mod list;
pub mod name;
pub mod reference;
pub mod sha256;
