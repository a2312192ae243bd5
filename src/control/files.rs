//! Small files that the configuration names, read whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What is in the file, or why it cannot be used and what to do.
pub(super) fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let read = |path: &Path| -> io::Result<Vec<u8>> {
        // What nobody writes to, a pipe, would be waited for without end, by the one who stops too.
        if !std::fs::metadata(path)?.file_type().is_file() {
            return Err(io::Error::other("it is no ordinary file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read(path).map_err(|error| {
        format!("cannot be read: {error}; let pullgate's user read it, or change the key")
    })?;
    if bytes.len() > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes; name the right file"));
    }
    Ok(bytes)
}
