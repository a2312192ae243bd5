//! HTTP/2 (RFC 9113) as far as it is policy: what a request is in the words of HTTP/1.1, by which it is
//! judged like any other, and what a client may send beside requests.

pub mod frames;
pub mod message;
