//! A small real image, made in memory: an OCI index of two platforms, three layers each.
//!
//! The same bytes come out every time (fixed times, owners and order), so its digests are stable
//! for one version of the compressor. The program in it is 33 bytes of machine code that greets.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use crate::pure::oci::sha256::sha256_of;

/// What the image's program prints.
pub const GREETING: &str = "Hello! This image came through pullgate, and the pull was counted.\n";

/// An image of several platforms.
#[derive(Clone, Debug)]
pub struct Image {
    /// The OCI index: what a tag points at.
    pub index: Content,
    /// What the index lists, in its order: amd64, arm64.
    pub platforms: Vec<Platform>,
}

/// One platform of an image.
#[derive(Clone, Debug)]
pub struct Platform {
    /// As Go and OCI name it: `amd64`.
    pub architecture: &'static str,
    /// The OCI image manifest.
    pub manifest: Content,
    /// The OCI image configuration.
    pub config: Content,
    /// Tar archives, gzip-compressed, lowest first. All but the last are the same everywhere.
    pub layers: Vec<Content>,
}

/// Bytes that are addressed by their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The OCI media type.
    pub media_type: &'static str,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The content itself.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Builds the image.
    ///
    /// # Errors
    /// What the archiver says; writing to memory gives it no cause to.
    pub fn hello() -> io::Result<Self> {
        let platforms = vec![
            Platform::new("amd64", elf(ELF_MACHINE_AMD64, &greet_on_amd64()))?,
            Platform::new("arm64", elf(ELF_MACHINE_ARM64, &greet_on_arm64()))?,
        ];
        let index = Content::of_json(
            MEDIA_TYPE_INDEX,
            &json!({
                "schemaVersion": 2,
                "mediaType": MEDIA_TYPE_INDEX,
                "manifests": platforms.iter().map(Platform::descriptor).collect::<Vec<_>>(),
            }),
        );
        Ok(Self { index, platforms })
    }

    /// Everything that is served under `/manifests/`: the index and what it lists.
    pub fn manifests(&self) -> impl Iterator<Item = &Content> {
        std::iter::once(&self.index).chain(self.platforms.iter().map(|platform| &platform.manifest))
    }

    /// Everything that is served under `/blobs/`. What platforms share comes once for each.
    pub fn blobs(&self) -> impl Iterator<Item = &Content> {
        self.platforms
            .iter()
            .flat_map(|platform| std::iter::once(&platform.config).chain(&platform.layers))
    }
}

impl Platform {
    fn new(architecture: &'static str, program: Vec<u8>) -> io::Result<Self> {
        let archives = [
            tar(&[
                Entry::Directory("etc/"),
                Entry::File("etc/passwd", b"root:x:0:0:root:/:/hello\n", 0o644),
                Entry::File("etc/group", b"root:x:0:\n", 0o644),
            ])?,
            tar(&[
                Entry::Directory("usr/"),
                Entry::Directory("usr/share/"),
                Entry::Directory("usr/share/doc/"),
                Entry::File("usr/share/doc/README", README.as_bytes(), 0o644),
            ])?,
            tar(&[Entry::File("hello", &program, 0o755)])?,
        ];
        let layers =
            archives.iter().map(|archive| gzip(archive)).collect::<io::Result<Vec<_>>>()?;
        let config = Content::of_json(
            MEDIA_TYPE_CONFIG,
            &json!({
                "created": "1970-01-01T00:00:00Z",
                "architecture": architecture,
                "os": "linux",
                "config": { "Cmd": ["/hello"], "WorkingDir": "/" },
                "rootfs": {
                    "type": "layers",
                    "diff_ids": archives.iter().map(|archive| sha256_of(archive)).collect::<Vec<_>>(),
                },
            }),
        );
        let manifest = Content::of_json(
            MEDIA_TYPE_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MEDIA_TYPE_MANIFEST,
                "config": config.descriptor(),
                "layers": layers.iter().map(Content::descriptor).collect::<Vec<_>>(),
            }),
        );
        Ok(Self { architecture, manifest, config, layers })
    }

    fn descriptor(&self) -> Value {
        let mut descriptor = self.manifest.descriptor();
        descriptor["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        descriptor
    }
}

impl Content {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: sha256_of(&bytes), bytes }
    }

    fn of_json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

enum Entry<'a> {
    Directory(&'a str),
    File(&'a str, &'a [u8], u32),
}

fn tar(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let (path, bytes, mode, kind) = match *entry {
            Entry::Directory(path) => (path, &[][..], 0o755, tar::EntryType::Directory),
            Entry::File(path, bytes, mode) => (path, bytes, mode, tar::EntryType::Regular),
        };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes)?;
    }
    archive.into_inner()
}

fn gzip(archive: &[u8]) -> io::Result<Content> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(archive)?;
    Ok(Content::new(MEDIA_TYPE_LAYER, encoder.finish()?))
}

/// A static executable of one segment: the code, and the greeting right behind it (System V ABI,
/// "Object Files", and its 64-bit extension).
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let length = u64::from(ELF_HEADERS_BYTES) + (code.len() + GREETING.len()) as u64;
    let mut file = Vec::new();
    // e_ident: magic, 64-bit, little-endian, version 1; then ET_EXEC.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    // The entry point, the program headers' offset, no section headers, no flags.
    file.extend((ELF_ADDRESS + u64::from(ELF_HEADERS_BYTES)).to_le_bytes());
    file.extend(64u64.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    // Sizes and counts: this header, one program header, no sections.
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // The program header: PT_LOAD, readable and executable, the whole file.
    file.extend(1u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    for word in [0, ELF_ADDRESS, ELF_ADDRESS, length, length, ELF_ALIGNMENT] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file.extend(GREETING.as_bytes());
    file
}

/// `write(1, greeting, length); exit(0)`, the greeting right behind the code.
fn greet_on_amd64() -> Vec<u8> {
    let mut code = Vec::new();
    code.extend(b"\xb8\x01\x00\x00\x00"); //         mov eax, 1 (write)
    code.extend(b"\xbf\x01\x00\x00\x00"); //         mov edi, 1
    code.extend(b"\x48\x8d\x35\x10\x00\x00\x00"); // lea rsi, [rip + 16]
    code.extend(b"\xba"); //                         mov edx, length
    code.extend(GREETING_BYTES.to_le_bytes());
    code.extend(b"\x0f\x05"); //                     syscall
    code.extend(b"\xb8\x3c\x00\x00\x00"); //         mov eax, 60 (exit)
    code.extend(b"\x31\xff"); //                     xor edi, edi
    code.extend(b"\x0f\x05"); //                     syscall
    code
}

/// The same in A64 instructions.
fn greet_on_arm64() -> Vec<u8> {
    [
        0xd280_0020_u32,                   // mov x0, #1
        0x1000_00e1,                       // adr x1, . + 28
        0xd280_0002 | GREETING_BYTES << 5, // mov x2, #length
        0xd280_0808,                       // mov x8, #64 (write)
        0xd400_0001,                       // svc #0
        0xd280_0000,                       // mov x0, #0
        0xd280_0ba8,                       // mov x8, #93 (exit)
        0xd400_0001,                       // svc #0
    ]
    .iter()
    .flat_map(|instruction| instruction.to_le_bytes())
    .collect()
}

const README: &str = "\
This image is served by `pullgate demo` from memory. Its program prints one line.\n";

const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MEDIA_TYPE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const MEDIA_TYPE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MEDIA_TYPE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const ELF_MACHINE_AMD64: u16 = 62;
const ELF_MACHINE_ARM64: u16 = 183;
/// Both headers: where the code begins in the file.
const ELF_HEADERS_BYTES: u8 = 64 + 56;
const ELF_ADDRESS: u64 = 0x40_0000;
/// Kernels for arm64 may have pages of 64 KiB.
const ELF_ALIGNMENT: u64 = 0x1_0000;

#[allow(clippy::cast_possible_truncation, reason = "asserted below")]
const GREETING_BYTES: u32 = GREETING.len() as u32;
// The immediate of `mov x2` has 16 bits.
const _: () = assert!(GREETING.len() < 1 << 16);

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn is_the_same_every_time() {
        let (first, second) = (Image::hello().unwrap(), Image::hello().unwrap());
        assert_eq!(first.index, second.index);
    }

    #[test]
    fn every_descriptor_is_true() {
        let image = Image::hello().unwrap();
        let contents: Vec<&Content> = image.manifests().chain(image.blobs()).collect();
        let mut seen = 0;
        for manifest in image.manifests() {
            let json: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            let lists = [&json["manifests"], &json["layers"]];
            let listed = lists.into_iter().filter_map(Value::as_array).flatten();
            for descriptor in listed.chain(json.get("config")) {
                let content =
                    contents.iter().find(|content| descriptor["digest"] == content.digest);
                let content = content.expect("what a descriptor names is there");
                assert_eq!(descriptor["size"], content.bytes.len());
                assert_eq!(descriptor["mediaType"], content.media_type);
                assert_eq!(content.digest, sha256_of(&content.bytes));
                seen += 1;
            }
        }
        // Two manifests in the index; a configuration and three layers in each.
        assert_eq!(seen, 2 + 2 * 4);
    }

    #[test]
    fn the_configuration_names_the_unpacked_layers() {
        for platform in Image::hello().unwrap().platforms {
            let config: Value = serde_json::from_slice(&platform.config.bytes).unwrap();
            let unpacked: Vec<String> =
                platform.layers.iter().map(|layer| sha256_of(&unpack(layer))).collect();
            assert_eq!(config["rootfs"]["diff_ids"], json!(unpacked));
            assert_eq!(config["architecture"], platform.architecture);
        }
    }

    #[test]
    fn platforms_differ_in_their_last_layer_only() {
        let platforms = Image::hello().unwrap().platforms;
        let (amd64, arm64) = (&platforms[0].layers, &platforms[1].layers);
        assert_eq!(amd64[..2], arm64[..2]);
        assert_ne!(amd64[2], arm64[2]);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn its_program_greets() {
        let layer = unpack(&Image::hello().unwrap().platforms[0].layers[2]);
        let directory = tempfile::tempdir().unwrap();
        tar::Archive::new(layer.as_slice()).unpack(directory.path()).unwrap();
        let output = std::process::Command::new(directory.path().join("hello")).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), GREETING);
        assert!(output.status.success());
    }

    fn unpack(layer: &Content) -> Vec<u8> {
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(layer.bytes.as_slice()).read_to_end(&mut archive).unwrap();
        archive
    }
}
