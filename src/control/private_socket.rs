//! Sockets in the file system for their owner only.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Listens at `path`, which is `what` in words. Whatever was there is replaced in one step, so that no client ever finds a
/// socket with looser permissions, and each finds one.
///
/// # Errors
/// In words, with the path.
pub fn bind(what: &str, path: &Path) -> io::Result<UnixListener> {
    let made = path.with_extension("sock.new");
    let attempt = || {
        match std::fs::remove_file(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        std::fs::rename(&made, path)?;
        Ok(listener)
    };
    attempt().map_err(|error| {
        let words = format!(
            "the {what} {} cannot be made: {error} (its path may have 100 bytes)",
            path.display()
        );
        io::Error::new(error.kind(), words)
    })
}
