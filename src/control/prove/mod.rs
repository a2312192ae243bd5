//! Finding out whether anybody can pull what the packages lead to.
#![allow(dead_code)]
mod registry;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use crate::pure::proof::Proof;

/// What to ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// `https://ghcr.io/v2/`
    pub(super) base: Arc<str>,
    /// The repository; `None` for the base itself.
    pub(super) repository: Option<Arc<str>>,
}

/// What a question brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A base's.
    Base(Facts),
    /// A repository's.
    Repository(Proof),
    /// None, and how long the registry wants to be left alone, where it says so.
    Failed(Option<Duration>),
}

/// What is known of a registry as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `WWW-Authenticate` of its `/v2/`; `None` where it asks for nothing.
    pub(super) challenge: Option<String>,
    /// Whether every client can be sent there: over https, to public addresses.
    pub(super) is_for_all: bool,
}

