//! Files for their owner's eyes only, replaced as a whole: whoever reads one meanwhile, or after a
//! kill, has the old one or the new one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Replaces the file at `path`, also for what comes after a crash of the system.
pub(super) fn replace_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, true)
}

/// Replaces the file at `path`. After a crash of the system it may be torn.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, false)
}

fn put(path: &Path, bytes: &[u8], is_synced: bool) -> io::Result<()> {
    let made = path.with_extension("new");
    let _ = fs::remove_file(&made);
    let attempt = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)?;
        file.write_all(bytes)?;
        if is_synced {
            file.sync_all()?;
        }
        fs::rename(&made, path)
    };
    attempt().inspect_err(|_| drop(fs::remove_file(&made)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_or_left_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (put, bytes) in [(replace_synced as fn(&Path, &[u8]) -> _, "one"), (replace, "two")] {
            put(&path, bytes.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::create_dir(dir.path().join("secret.new")).unwrap();
        replace(&path, b"three").unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }
}
