//! The image, and blobs of any size: the same bytes each time, so that whoever asks for them knows
//! their digests without having seen them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::plan::Random;

/// Something with a name in the registry.
#[derive(Clone, Debug)]
pub struct Content {
    /// What stands behind the package's name: `manifests/latest`, `blobs/sha256:…`.
    pub tail: String,
    /// Its media type.
    pub kind: &'static str,
    /// The sha256 of its body.
    pub digest: [u8; 32],
    /// The bytes.
    pub body: Body,
}

/// A body.
#[derive(Clone, Debug)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many of the [`pattern`], over and over.
    Pattern(u64),
}

/// What can be asked of the registry.
pub struct Image {
    /// An index of two platforms, by its tag and by its digest.
    pub index: [Content; 2],
    /// The manifest for amd64, by its digest.
    pub manifest: Content,
    /// Its configuration.
    pub config: Content,
    /// Its layers.
    pub layers: Vec<Content>,
}

impl Image {
    /// The image that every package holds.
    pub fn new() -> Self {
        let layers: Vec<Content> = LAYER_BYTES.iter().map(|size| blob(*size)).collect();
        let config = config();
        let manifest = manifest(&config, &layers);
        let by_digest = index(&manifest);
        let by_tag = Content { tail: "manifests/latest".to_owned(), ..by_digest.clone() };
        Self { index: [by_tag, by_digest], manifest, config, layers }
    }

    /// All of it.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        let small = self.index.iter().chain([&self.manifest, &self.config]);
        small.chain(&self.layers)
    }
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Body {
    /// Bytes of it.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(length) => *length,
        }
    }
}

/// A blob of `length` bytes.
pub fn blob(length: u64) -> Content {
    let pattern = pattern();
    let mut hash = Sha256::new();
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(pattern.len());
        hash.update(&pattern[..part]);
        left -= part as u64;
    }
    let digest: [u8; 32] = hash.finalize().into();
    let tail = format!("blobs/sha256:{}", hex(&digest));
    Content { tail, kind: "application/octet-stream", digest, body: Body::Pattern(length) }
}

/// What long bodies are made of.
pub fn pattern() -> Vec<u8> {
    let mut random = Random::new(3);
    (0..PATTERN_BYTES / 8).flat_map(|_| random.draw().to_le_bytes()).collect()
}

/// Writes its body to `file`.
pub fn write(content: &Content, file: &Path) -> io::Result<()> {
    let mut out = File::create(file)?;
    match &content.body {
        Body::Bytes(bytes) => out.write_all(bytes),
        Body::Pattern(length) => {
            let pattern = pattern();
            let mut left = *length;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(pattern.len());
                out.write_all(&pattern[..part])?;
                left -= part as u64;
            }
            Ok(())
        }
    }
}

fn config() -> Content {
    let history: Vec<String> = (0..12)
        .map(|step| {
            format!(
                "{{\"created\":\"2026-01-31T12:00:{step:02}Z\",\"created_by\":\"COPY part-{step} \
                 /opt/rocket/part-{step}\"}}"
            )
        })
        .collect();
    let text = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Cmd\":[\"/rocket\"]}},\
         \"history\":[{}]}}",
        history.join(",")
    );
    named("blobs", "application/vnd.oci.image.config.v1+json", text)
}

fn manifest(config: &Content, layers: &[Content]) -> Content {
    let mut text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{},\"layers\":[",
        descriptor(config, config.kind, "")
    );
    for (index, layer) in layers.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{}", descriptor(layer, LAYER, ""));
    }
    text += "]}";
    named("manifests", MANIFEST, text)
}

fn index(manifest: &Content) -> Content {
    let platform = |of: &Content, name| {
        let more = format!(",\"platform\":{{\"architecture\":\"{name}\",\"os\":\"linux\"}}");
        descriptor(of, MANIFEST, &more)
    };
    let other = named("manifests", MANIFEST, "another platform".to_owned());
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{},{}]}}",
        platform(manifest, "amd64"),
        platform(&other, "arm64")
    );
    named("manifests", INDEX, text)
}

fn descriptor(of: &Content, kind: &str, more: &str) -> String {
    let (digest, size) = (hex(&of.digest), of.body.length());
    format!("{{\"mediaType\":\"{kind}\",\"digest\":\"sha256:{digest}\",\"size\":{size}{more}}}")
}

fn named(folder: &str, kind: &'static str, text: String) -> Content {
    let digest: [u8; 32] = Sha256::digest(&text).into();
    let tail = format!("{folder}/sha256:{}", hex(&digest));
    Content { tail, kind, digest, body: Body::Bytes(text.into_bytes()) }
}

/// As digests are written.
pub fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A small image's: a base, what it needs, and itself.
const LAYER_BYTES: [u64; 3] = [4 << 20, 1 << 20, 64 << 10];
/// Long enough that a body is no play of a CPU's cache, short enough to be in memory.
pub const PATTERN_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_what_it_consists_of() {
        let image = Image::new();
        let json = |content: &Content| -> serde_json::Value {
            let Body::Bytes(bytes) = &content.body else { panic!("no text") };
            serde_json::from_slice(bytes).unwrap()
        };
        let name = |content: &Content| format!("sha256:{}", hex(&content.digest));
        assert_eq!(json(&image.index[0])["manifests"][0]["digest"], name(&image.manifest));
        let manifest = json(&image.manifest);
        assert_eq!(manifest["config"]["digest"], name(&image.config));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), image.layers.len());
        for (said, layer) in layers.iter().zip(&image.layers) {
            assert_eq!(said["digest"], name(layer));
            assert_eq!(said["size"], layer.body.length());
        }
    }

    #[test]
    fn a_long_blob_is_the_pattern_over_and_over() {
        let twice = [pattern(), pattern()].concat();
        let length = PATTERN_BYTES + 5;
        let expected: [u8; 32] = Sha256::digest(&twice[..length]).into();
        assert_eq!(blob(length as u64).digest, expected);
    }
}
