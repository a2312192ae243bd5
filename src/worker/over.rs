//! That there is nobody left to answer.

use std::io;

use crate::worker::tls::Broken;

/// The connection is over: closed by the client, by a time-out, or by an error of the socket.
pub struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Broken> for Over {
    fn from(_: Broken) -> Self {
        Self
    }
}
