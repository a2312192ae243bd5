//! Images that have nothing in common: what a client got of one, it cannot use for another.

use flate2::{Compression, GzBuilder};
use pullgate::cli::demo::image::{Content, Image, Platform};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// An index of two platforms with a small and a large layer each. The large ones are longer than
/// any buffer on the way, and do not compress. Equal seeds make equal images.
pub fn image(seed: &str) -> Image {
    layered(seed, &[SMALL_BYTES, LARGE_BYTES])
}

/// An index of two platforms, with a layer of each of these lengths.
pub fn layered(seed: &str, lengths: &[usize]) -> Image {
    let model = Image::hello().expect("the sample image");
    let platforms: Vec<Platform> =
        model.platforms.iter().map(|platform| dressed(platform, seed, lengths)).collect();
    let mut index: Value = serde_json::from_slice(&model.index.bytes).expect("JSON");
    for (described, platform) in
        index["manifests"].as_array_mut().expect("a list").iter_mut().zip(&platforms)
    {
        described["digest"] = json!(platform.manifest.digest);
        described["size"] = json!(platform.manifest.bytes.len());
    }
    Image { index: content(model.index.media_type, index.to_string().into_bytes()), platforms }
}

/// `model` with other layers, and what names them.
fn dressed(model: &Platform, seed: &str, lengths: &[usize]) -> Platform {
    let archives: Vec<Vec<u8>> = lengths
        .iter()
        .enumerate()
        .map(|(place, length)| {
            let name = format!("layer-{place}");
            archive(&name, &noise(&[seed, model.architecture, &name], *length))
        })
        .collect();
    let layers: Vec<Content> =
        archives.iter().map(|tar| content(model.layers[0].media_type, gzip(tar))).collect();
    let mut config: Value = serde_json::from_slice(&model.config.bytes).expect("JSON");
    config["rootfs"]["diff_ids"] = archives.iter().map(|tar| digest(tar)).collect();
    let config = content(model.config.media_type, config.to_string().into_bytes());
    let mut manifest: Value = serde_json::from_slice(&model.manifest.bytes).expect("JSON");
    manifest["config"] = descriptor(&config);
    manifest["layers"] = layers.iter().map(descriptor).collect();
    let manifest = content(model.manifest.media_type, manifest.to_string().into_bytes());
    Platform { architecture: model.architecture, manifest, config, layers }
}

/// `bytes` with their digest.
pub fn content(media_type: &'static str, bytes: Vec<u8>) -> Content {
    Content { media_type, digest: digest(&bytes), bytes }
}

fn descriptor(content: &Content) -> Value {
    json!({
        "mediaType": content.media_type, "digest": content.digest, "size": content.bytes.len(),
    })
}

/// `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

/// Bytes that look random.
pub fn noise(seed: &[&str], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Sha256::digest(seed.join("/").as_bytes());
    while bytes.len() < length {
        bytes.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    bytes.truncate(length);
    bytes
}

fn archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, bytes).expect("an archive in memory");
    archive.into_inner().expect("an archive in memory")
}

fn gzip(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    encoder.write_all(archive).expect("in memory");
    encoder.finish().expect("in memory")
}

const SMALL_BYTES: usize = 1000;
const LARGE_BYTES: usize = 1 << 20;
