//! What a manifest says about other things: which manifests an index lists, which layers an image
//! has, and whether it is a signature, an attestation or an SBOM. Counting needs no more of it.
//!
//! Read where the manifest passes (a worker), used where events are folded: between the two it is
//! a short run of bytes beside the event.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::pure::limits::KIN_MEMBERS_MAX;
use crate::pure::pull::platform::Platform;

/// What counting wants to know of a manifest, as it travels with an event: a byte that says the
/// [`Kind`], the [`reference_hash`] of each member, and of an index then each one's [`Platform`].
/// Empty where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kin(Vec<u8>);

/// What a manifest is, as far as counting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// An OCI index or a docker manifest list: its members are manifests.
    Index = 1,
    /// An image, a chart or any other artifact: its members are its layers.
    Image = 2,
    /// A signature, an attestation or an SBOM. It has no members.
    SupplyChain = 3,
}

impl Kin {
    /// The bytes that [`decode`] reads: at most [`KIN_BYTES_MAX`].
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a manifest: OCI index and image manifest, docker manifest list and image manifest (schema
/// 2), OCI artifact manifest. Of anything else, also of docker's schema 1, nothing is known. Of
/// members beyond [`KIN_MEMBERS_MAX`] neither.
pub fn read(body: &[u8]) -> Kin {
    match serde_json::from_slice::<Manifest<'_>>(body) {
        Ok(manifest) => manifest.kin().unwrap_or_default(),
        Err(_) => Kin::default(),
    }
}

/// The kind, the members' hashes, and of an index as many platforms; `None` where nothing is known.
pub fn decode(bytes: &[u8]) -> Option<(Kind, impl Iterator<Item = u64> + '_, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let kind = [Kind::Index, Kind::Image, Kind::SupplyChain]
        .into_iter()
        .find(|known| *known as u8 == *kind)?;
    let of_hashes = match kind {
        Kind::Index => rest.len() / (HASH_BYTES + 1) * HASH_BYTES,
        Kind::Image | Kind::SupplyChain => rest.len(),
    };
    let (members, platforms) = rest.split_at_checked(of_hashes)?;
    let members = members.as_chunks().0;
    Some((kind, members.iter().map(|member| u64::from_ne_bytes(*member)), platforms))
}

/// What a tag or digest is known by when requests are folded. It is not keyed: a digest cannot be
/// chosen, and who chooses tags spoils the counts of nobody else.
pub fn reference_hash(reference: &[u8]) -> u64 {
    FixedState::default().hash_one(reference)
}

/// The fields that matter, of all the formats at once. A field that stands twice makes the whole
/// unreadable.
#[derive(Deserialize)]
struct Manifest<'a> {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    #[serde(borrow)]
    config: Option<Descriptor<'a>>,
    manifests: Option<Descriptors>,
    layers: Option<Descriptors>,
    blobs: Option<Descriptors>,
}

#[derive(Deserialize)]
struct Descriptor<'a> {
    #[serde(borrow, rename = "mediaType", default)]
    media_type: Cow<'a, str>,
    #[serde(borrow, default)]
    digest: Cow<'a, str>,
    #[serde(borrow, default)]
    platform: Option<Words<'a>>,
}

/// What a member is for.
#[derive(Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    os: Cow<'a, str>,
    #[serde(borrow, default)]
    architecture: Cow<'a, str>,
    #[serde(borrow, default)]
    variant: Cow<'a, str>,
}

/// What is kept of a list of descriptors, however long it is.
#[derive(Default)]
struct Descriptors {
    hashes: Vec<u64>,
    platforms: Vec<u8>,
    /// Whether there are any, and each is of a supply chain type.
    are_supply_chain: bool,
}

impl Manifest<'_> {
    fn kin(&self) -> Option<Kin> {
        let (kind, members) = match (&self.manifests, self.layers.as_ref().or(self.blobs.as_ref()))
        {
            (Some(manifests), None) => (Kind::Index, manifests),
            (None, Some(layers)) => (Kind::Image, layers),
            // Neither, or one that different programs read differently.
            _ => return None,
        };
        let config = self.config.as_ref().map(|config| &*config.media_type);
        let named = self.artifact_type.as_deref().into_iter().chain(config);
        // cosign's own manifests have an image's config, and layers that tell.
        let tells = kind == Kind::Image && members.are_supply_chain;
        if tells || named.into_iter().any(is_supply_chain) {
            return Some(Kin(vec![Kind::SupplyChain as u8]));
        }
        let mut bytes = Vec::with_capacity(1 + (HASH_BYTES + 1) * members.hashes.len());
        bytes.push(kind as u8);
        bytes.extend(members.hashes.iter().flat_map(|hash| hash.to_ne_bytes()));
        if kind == Kind::Index {
            bytes.extend(&members.platforms);
        }
        Some(Kin(bytes))
    }
}

impl<'de> Deserialize<'de> for Descriptors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(DescriptorsVisitor)
    }
}

struct DescriptorsVisitor;

impl<'de> Visitor<'de> for DescriptorsVisitor {
    type Value = Descriptors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Descriptors, A::Error> {
        let (mut hashes, mut platforms) = (Vec::new(), Vec::new());
        let (mut is_empty, mut are_supply_chain) = (true, true);
        while let Some(descriptor) = list.next_element::<Descriptor<'_>>()? {
            is_empty = false;
            are_supply_chain &= is_supply_chain(&descriptor.media_type);
            if hashes.len() < KIN_MEMBERS_MAX {
                hashes.push(reference_hash(descriptor.digest.as_bytes()));
                let platform = descriptor.platform.map_or(Platform::NONE, |words| {
                    Platform::of(&words.os, &words.architecture, &words.variant)
                });
                platforms.push(platform.0);
            }
        }
        let are_supply_chain = are_supply_chain && !is_empty;
        Ok(Descriptors { hashes, platforms, are_supply_chain })
    }
}

fn is_supply_chain(media_type: &str) -> bool {
    SUPPLY_CHAIN_TYPES.iter().any(|begins| media_type.starts_with(begins))
}

/// The longest form of what is known of a manifest, in bytes.
pub const KIN_BYTES_MAX: usize = 1 + (HASH_BYTES + 1) * KIN_MEMBERS_MAX;
const HASH_BYTES: usize = size_of::<u64>();

/// How the types of signatures, attestations and SBOMs begin: cosign and sigstore bundles, in-toto
/// and its envelope, BuildKit's attestation manifests, notation, SPDX, CycloneDX, Syft, Harbor.
const SUPPLY_CHAIN_TYPES: &[&str] = &[
    "application/vnd.dev.cosign.",
    "application/vnd.dev.sigstore.",
    "application/vnd.in-toto",
    "application/vnd.dsse.envelope",
    "application/vnd.docker.attestation.manifest",
    "application/vnd.cncf.notary.signature",
    "application/spdx",
    "text/spdx",
    "application/vnd.cyclonedx",
    "application/vnd.syft",
    "application/vnd.goharbor.harbor.sbom",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `index @a @b`, `image @layer`, `supply chain` or `nothing`.
    #[track_caller]
    fn check(body: &str, expected: &str) {
        let kin = read(body.as_bytes());
        let name = |hash: u64| {
            let names = ["@a", "@b", "@c"].into_iter();
            names.into_iter().find(|name| reference_hash(name.as_bytes()) == hash).unwrap_or("?")
        };
        let said = decode(kin.bytes()).map_or_else(
            || "nothing".to_owned(),
            |(kind, members, platforms)| {
                let kind = match kind {
                    Kind::Index => "index",
                    Kind::Image => "image",
                    Kind::SupplyChain => "supply chain",
                };
                let text = members
                    .fold(kind.to_owned(), |text, member| format!("{text} {}", name(member)));
                platforms.iter().map(|number| Platform(*number)).fold(text, |text, platform| {
                    let said = platform.as_str();
                    format!("{text} {}", if said.is_empty() { "-" } else { said })
                })
            },
        );
        assert_eq!(said, expected, "{body}");
    }

    #[test]
    fn an_index_lists_manifests_and_an_image_layers() {
        check(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
                {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"@a","size":1,
                 "platform":{"os":"linux","architecture":"amd64"}},
                {"digest":"@b","platform":{"os":"unknown","architecture":"unknown"},
                 "annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}"#,
            "index @a @b linux/amd64 -",
        );
        check(
            r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json",
                "manifests":[{"digest":"@a"},{"digest":"@b","platform":null}]}"#,
            "index @a @b - -",
        );
        check(
            r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",
                "digest":"@c"},"layers":[{"digest":"@a"},{"digest":"\u0040b"}]}"#,
            "image @a @b",
        );
        check(
            r#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"},"layers":[]}"#,
            "image",
        );
        check(
            r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b",
                "blobs":[{"digest":"@a"}]}"#,
            "image @a",
        );
    }

    #[test]
    fn signatures_attestations_and_sboms_are_told_by_their_types() {
        for layer in [
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "application/vnd.in-toto+json",
            "application/vnd.dsse.envelope.v1+json",
            "text/spdx+json",
            "application/vnd.cyclonedx+json",
        ] {
            let config = "application/vnd.oci.image.config.v1+json";
            check(
                &format!(
                    r#"{{"config":{{"mediaType":"{config}"}},"layers":[{{"mediaType":"{layer}","digest":"@a"}}]}}"#
                ),
                "supply chain",
            );
        }
        check(
            r#"{"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","layers":[],"subject":{}}"#,
            "supply chain",
        );
        check(
            r#"{"config":{"mediaType":"application/vnd.cncf.notary.signature"},"layers":[]}"#,
            "supply chain",
        );
        // One layer that is something else makes it an image, and so does having none.
        check(
            r#"{"layers":[{"mediaType":"application/vnd.in-toto+json","digest":"@a"},
                {"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@b"}]}"#,
            "image @a @b",
        );
    }

    #[test]
    fn what_is_no_manifest_says_nothing() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "not json",
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"manifests":null}"#,
            r#"{"manifests":[{"digest":7}]}"#,
            r#"{"manifests":[],"manifests":[]}"#,
            r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"@a"}],"history":[]}"#,
            &"[".repeat(100_000),
        ] {
            check(body, "nothing");
        }
    }

    #[test]
    fn members_are_bounded() {
        let list = vec![r#"{"digest":"@a"}"#; 100_000].join(",");
        let kin = read(format!(r#"{{"manifests":[{list}]}}"#).as_bytes());
        assert_eq!(kin.bytes().len(), KIN_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&body);
            if let Some((_, members, _)) = decode(&body) {
                prop_assert!(8 * members.count() < body.len());
            }
        }
    }
}
