//! Random bytes, from the system.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// As many as are wanted: nobody's to guess.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}
