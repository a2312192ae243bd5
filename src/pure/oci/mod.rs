//! The distribution spec's vocabulary: name, reference, digest, endpoint, backend.

pub mod backend;
pub mod challenge;
pub mod endpoint;
pub mod name;
pub mod reference;
pub mod sha256;
