//! The fuzz targets' corpus, replayed: whatever was once worth keeping stays a test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::Path;

use proptest::prelude::*;

#[path = "fuzz/properties.rs"]
mod properties;

use properties::TARGETS;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");

#[test]
fn every_seed_holds_its_targets_property() {
    for (target, property) in TARGETS {
        let seeds = names_in(&Path::new(CORPUS).join(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let bytes = fs::read(Path::new(CORPUS).join(target).join(&seed)).unwrap();
            let held = panic::catch_unwind(|| property(&bytes));
            assert!(held.is_ok(), "{target}/{seed}");
        }
    }
}

#[test]
fn every_folder_is_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(Path::new(CORPUS)), targets);
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

proptest! {
    #[test]
    fn any_bytes_hold_every_property(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, property) in TARGETS {
            property(&bytes);
        }
    }

    #[test]
    fn damaged_seeds_hold_their_property(
        at in any::<prop::sample::Index>(),
        seed in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for (target, property) in TARGETS {
            let folder = Path::new(CORPUS).join(target);
            let seeds: Vec<String> = names_in(&folder).into_iter().collect();
            let mut bytes = fs::read(folder.join(seed.get(&seeds))).unwrap();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            property(&bytes);
        }
    }
}
