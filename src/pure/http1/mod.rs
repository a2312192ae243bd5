//! HTTP/1 as bytes: heads, what follows them, and what the gateway says (RFC 9110, RFC 9112).

pub mod body;
pub mod chunked;
pub mod encode;
pub mod forwarded;
pub mod handed;
pub mod head;
mod lines;
pub mod pass;
pub mod proxy_header;
pub mod quota;
pub mod relayed;
pub mod response;
pub mod retry_after;
mod target;
