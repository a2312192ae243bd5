//! Floor 1: every type that crosses a thread, and what carries it.
//!
//! | from → to | what | carrier | when it is full |
//! |---|---|---|---|
//! | worker → aggregator | pages of pull events | bounded channel, one per worker | the worker keeps pages up to a byte bound, then exact totals only ([`pulls`]) |
//! | workers of the process before → aggregator | the same pages | bounded channel, one per worker | who hears them waits, then the process before does, whose workers keep pages as above ([`pulls`]) |
//! | aggregator → worker | emptied pages | bounded channel | the page is freed |
//! | control → worker | orders (a new snapshot with its keys, certificates, what is known of registries, drain) | bounded channel and a doorbell ([`order`]) | control waits for a second: a worker takes its orders within a turn |
//! | worker → control | snapshots that it no longer uses | bounded channel | the worker frees it |
//! | worker → control | repositories of which nothing is known yet | one bounded channel ([`wanted`]) | nothing: the next request says so again |
//! | worker ↔ worker | who holds how many connections | atomics ([`ledger`]) | never |
//! | worker ↔ worker | letters: a token or a manifest is wanted, will come, is here | bounded channel, one per worker, and its doorbell ([`mail`]) | the sender is told, and does it alone |
//! | worker ↔ name threads | names and their addresses | bounded channels, one for all questions, one per worker for answers, and its doorbell ([`names`]) | the worker asks again a second later |
//! | worker ↔ the disk's thread | manifests to be found, kept and forgotten, and what was found | bounded channels, one for all errands, one per worker for answers, and its doorbell ([`archive`]) | the worker does without the disk; what was refused waits in the worker until it is taken |
//! | worker → the configuration's watcher | an account was refused: its file may be another | a bounded channel of one | nothing: it is looked at anyway |
//! | worker → admin | counters and gauges | memory with one writer ([`meters`]) | never |
//! | worker → admin | latency histograms | bounded channel, full one out, empty one back ([`latency`]) | the worker keeps recording into the one it has |
//! | worker → admin | how often registries may still be asked | one bounded channel ([`quotas`]) | nothing: the registry says it again |
//! | worker → log writer | access log lines | bounded channel ([`access`]) | the line is dropped and counted |

pub mod access;
pub mod archive;
pub mod certificates;
pub mod clock;
pub mod doorbell;
pub mod keyring;
pub mod latency;
pub mod ledger;
pub mod mail;
pub mod meters;
pub mod names;
pub mod order;
pub mod pulls;
pub mod quotas;
pub mod random;
pub mod wanted;
