//! Floor 0: values and functions. No I/O, no clock, no thread, no global, no unsafe; what time it
//! is and what was found out arrive as arguments. All policy is here.
#![forbid(unsafe_code)]

pub mod access;
pub mod account;
pub mod address;
pub mod agenda;
pub mod alert;
pub mod answer;
pub mod backoff;
pub mod badge;
pub mod base64;
pub mod browser;
pub mod cache;
pub mod certificates;
pub mod chart;
pub mod client;
pub mod config;
pub mod csv;
pub mod decide;
#[cfg(test)]
mod decide_cases;
pub mod desk;
pub mod dns;
pub mod doctor;
pub mod door;
pub mod explain;
pub mod export;
pub mod fault;
pub mod follow;
pub mod health;
pub mod history;
pub mod http1;
pub mod http2;
pub mod limited;
pub mod limits;
pub mod markup;
pub mod observe;
pub mod oci;
pub mod origin;
pub mod password;
pub mod period;
pub mod place;
pub mod proof;
pub mod pull;
pub mod query;
pub mod record;
pub mod route;
pub mod secret;
pub mod snapshot;
pub mod throttle;
pub mod tokens;
pub mod totp;
pub mod unusual;
pub mod webhook;
pub mod why;
