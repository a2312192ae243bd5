//! Noticing that a file is another, whatever links lead to it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::Sender;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file behind all symlinks; `None` when there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether there is nothing in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// Hears of changes in the directories where the file, and the file it links to, are.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: Vec<PathBuf>,
}

impl Watch {
    /// Wakes by `waker` whenever something changes where the last [`Watch::follow`] looked.
    pub(super) fn new(waker: Sender<()>) -> Self {
        let heard = move |event: notify::Result<notify::Event>| {
            // Reading is no change.
            if !matches!(event, Ok(notify::Event { kind: notify::EventKind::Access(_), .. })) {
                let _ = waker.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(heard).inspect_err(say_slower).ok();
        Self { watcher, directories: Vec::new() }
    }

    /// Watches where `path` and what it links to are now.
    pub(super) fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let real = path.canonicalize().unwrap_or_default();
        let mut directories: Vec<PathBuf> = [Some(parent), real.parent()]
            .into_iter()
            .filter_map(|directory| directory?.canonicalize().ok())
            .collect();
        directories.dedup();
        if directories == self.directories {
            return;
        }
        for gone in &self.directories {
            // One that was removed is not watched any more anyway.
            let _ = watcher.unwatch(gone);
        }
        for directory in &directories {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                say_slower(&error);
            }
        }
        self.directories = directories;
    }
}

fn say_slower(error: &notify::Error) {
    tracing::warn!("the configuration is looked at once a second only: {error}");
}
