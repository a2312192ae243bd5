//! What is known of manifests: each one's kind and members, by its digest. Content is named by its
//! digest, so what was learned of it once holds for every package and for ever.

use std::mem;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::pure::limits::FAMILIES_BYTES_MAX;
use crate::pure::pull::kin::{self, Kind};
use crate::pure::pull::platform::Platform;

/// Manifests that were seen, by the hash of their digest. The least recently used are forgotten:
/// there are two generations, what is used moves to the younger one, and when that is full it
/// becomes the older one, whose place it takes.
#[derive(Default, Serialize, Deserialize)]
pub struct Families {
    young: HashMap<u64, Family, FixedState>,
    old: HashMap<u64, Family, FixedState>,
    young_bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Family {
    kind: Kind,
    members: Box<[u64]>,
    /// Of an index, as many.
    platforms: Box<[u8]>,
}

impl Families {
    /// Remembers a manifest; `kin` is [`kin::Kin::bytes`] of it, and empty says nothing.
    pub fn learn(&mut self, digest: u64, kin: &[u8]) {
        if let Some((kind, members, platforms)) = kin::decode(kin)
            && self.get(digest).is_none()
        {
            let (members, platforms) = (members.collect(), platforms.into());
            self.keep(digest, Family { kind, members, platforms });
        }
    }

    /// Whether anything is known of a manifest.
    pub fn knows(&mut self, digest: u64) -> bool {
        self.get(digest).is_some()
    }

    /// Whether it is known to be an index that lists `child`.
    pub fn lists(&mut self, digest: u64, child: u64) -> bool {
        self.has(digest, Kind::Index, child)
    }

    /// What a member of an index is for, as far as that is known.
    pub fn platform(&mut self, digest: u64, child: u64) -> Platform {
        let family = self.get(digest).filter(|family| family.kind == Kind::Index);
        let platform = family.and_then(|family| {
            let at = family.members.iter().position(|member| *member == child)?;
            family.platforms.get(at)
        });
        platform.map_or(Platform::NONE, |number| Platform(*number))
    }

    /// Whether it is known to be an image with this `layer`.
    pub fn has_layer(&mut self, digest: u64, layer: u64) -> bool {
        self.has(digest, Kind::Image, layer)
    }

    /// Whether it is known to be a signature, an attestation or an SBOM.
    pub fn is_supply_chain(&mut self, digest: u64) -> bool {
        self.get(digest).is_some_and(|family| family.kind == Kind::SupplyChain)
    }

    fn has(&mut self, digest: u64, kind: Kind, member: u64) -> bool {
        let family = self.get(digest).filter(|family| family.kind == kind);
        family.is_some_and(|family| family.members.contains(&member))
    }

    fn get(&mut self, digest: u64) -> Option<&Family> {
        if let Some(family) = self.old.remove(&digest) {
            self.keep(digest, family);
        }
        self.young.get(&digest)
    }

    fn keep(&mut self, digest: u64, family: Family) {
        let bytes = ENTRY_BYTES + size_of_val(&*family.members) + family.platforms.len();
        if self.young_bytes + bytes > FAMILIES_BYTES_MAX / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(digest, family);
    }
}

/// What a family costs beside its members: its place in a map that is half full at the worst, and
/// what an allocation costs.
const ENTRY_BYTES: usize = 2 * size_of::<(u64, Family)>() + 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(child: u64) -> Vec<u8> {
        [&[Kind::Index as u8], &child.to_ne_bytes()[..], &[2]].concat()
    }

    #[test]
    fn what_was_learned_is_known_until_it_is_not_used() {
        let mut families = Families::default();
        families.learn(0, &index_of(7));
        families.learn(1, b"");
        assert!(families.lists(0, 7) && !families.lists(0, 8) && !families.has_layer(0, 7));
        assert!(!families.knows(1));
        assert_eq!(families.platform(0, 7).as_str(), "linux/amd64");
        assert_eq!([families.platform(0, 8), families.platform(1, 7)], [Platform::NONE; 2]);
        let room = (FAMILIES_BYTES_MAX / (ENTRY_BYTES + 9)) as u64;
        for digest in 2..3 * room {
            families.learn(digest, &index_of(digest));
            assert!(digest % 1000 != 0 || families.knows(0), "what is used stays: {digest}");
        }
        assert!(!families.knows(2), "what is not goes");
        assert!(families.knows(3 * room - 1));
        assert!((families.young.len() + families.old.len()) as u64 <= room);
    }

    #[test]
    fn a_manifest_is_learned_once() {
        let mut families = Families::default();
        families.learn(0, &index_of(7));
        families.learn(0, &index_of(8));
        assert!(families.lists(0, 7) && !families.lists(0, 8));
    }
}
