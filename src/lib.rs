//! pullgate: a gateway in front of container registries.
//!
//! The crate is five floors; each may name only the floors below it (`tests/tidy` holds it to
//! that), and `worker` and `aggregator` are siblings that never name each other:
//!
//! ```text
//! 4  cli          composes everything
//! 3  control      admin listener, reload, logs           (ordinary threads, tokio)
//! 2  worker   |   aggregator                             (pinned rings | the one writer of counts)
//! 1  messages     what crosses a thread, and what carries it
//! 0  pure         values and functions: no I/O, no clock, no thread, no global, no unsafe
//! ```
//!
//! One request's way is told in `docs/request.md`, whose twin in code is [`pure::decide`].

pub mod aggregator;
pub mod cli;
pub mod control;
pub mod messages;
pub mod pure;
pub mod worker;
