//! One process per `data_dir`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Holds a `data_dir` as long as it lives; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the folder, which is made if it is not there. `WouldBlock` where another process has
    /// it: trying again a little later may help.
    pub fn take(data_dir: &Path) -> io::Result<Self> {
        let in_words = |error: io::Error, what: &str| {
            let dir = data_dir.display();
            io::Error::new(error.kind(), format!("data_dir {dir}: {what}: {error}"))
        };
        fs::create_dir_all(data_dir).map_err(|error| in_words(error, "it cannot be made"))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(data_dir.join(NAME))
            .map_err(|error| in_words(error, "its lock cannot be opened"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!(
                    "data_dir {}: another pullgate is running on it; stop that one, or give this \
                     one a data_dir of its own",
                    data_dir.display()
                ),
            )),
            Err(error) => Err(in_words(error.into(), "it cannot be locked")),
        }
    }
}

const NAME: &str = "lock";
