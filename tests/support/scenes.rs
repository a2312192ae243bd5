//! The scenes of `golden/replay`: the exact requests of clients, what they are answered, and what
//! must be counted for them. `tests/replay.rs` says how they are written.

use std::fs;
use std::path::Path;

use pullgate::cli::demo::image::{Content, Image};
use pullgate::pure::oci::sha256::sha256_of;
use serde_json::{Value, json};

use super::hosts::GATEWAY;

/// What one client asks for, and what it must come to.
pub struct Scene {
    /// The file, the line and the words.
    pub title: String,
    /// The requests.
    pub steps: Vec<Step>,
    /// What is counted where all is redirected.
    pub redirected: Counted,
    /// What is counted where the gateway fetches it.
    pub fetched: Counted,
}

/// One request.
pub struct Step {
    /// Who asks: one of a scene's clients.
    pub client: u8,
    /// `GET`
    pub method: String,
    /// The target, with `{name}` in the place of the repository's name.
    pub target: String,
    /// The header's lines.
    pub headers: Vec<String>,
    /// The status where it is redirected.
    pub redirected: u16,
    /// The status where it is fetched; `None` where no client asks then.
    pub fetched: Option<u16>,
}

/// One row of `pullgate pulls --json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted([u64; COUNTED.len()]);

const COUNTED: [&str; 7] =
    ["requests", "pulls", "checks", "supply_chain", "complete", "up_to_date", "unseen"];

impl Counted {
    /// What a row says.
    pub fn of(row: &Value) -> Self {
        Self(COUNTED.map(|key| row[key].as_u64().unwrap_or_else(|| panic!("{key} in {row}"))))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut counted = Self::default();
        let words: Vec<&str> = text.split(' ').collect();
        for pair in words.chunks(2) {
            let [key, number] = pair else { return None };
            let at = COUNTED.iter().position(|known| known == key)?;
            counted.0[at] = number.parse().ok()?;
        }
        Some(counted)
    }

    /// What came of requests, and how far pulls went, is not seen where they are redirected.
    fn unseen(self) -> Self {
        let [requests, pulls, checks, supply_chain, ..] = self.0;
        Self([requests, pulls, checks, supply_chain, 0, 0, requests])
    }
}

/// What the scenes' placeholders stand for, as a registry has it.
pub struct Shelf {
    manifests: Vec<Content>,
    blobs: Vec<Content>,
    tags: Vec<(&'static str, String)>,
    placeholders: Vec<(&'static str, String)>,
}

impl Shelf {
    /// An index of two platforms and an attestation, another of one platform, and a platform alone.
    pub fn new() -> Self {
        let image = Image::hello().expect("the sample image");
        let [amd64, arm64] = image.platforms.as_slice() else { panic!("two platforms") };
        let attestation = manifest(
            IMAGE,
            &json!({"schemaVersion": 2, "mediaType": IMAGE,
                "config": descriptor(&amd64.config),
                "layers": [{"mediaType": "application/vnd.in-toto+json", "size": 2,
                    "digest": format!("sha256:{}", "a".repeat(64))}]}),
        );
        let platform = |content: &Content, os: &str, architecture: &str| {
            let mut platform = descriptor(content);
            platform["platform"] = json!({"os": os, "architecture": architecture});
            platform
        };
        let index_of = |manifests: &[Value]| {
            let value = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
            manifest(INDEX, &value)
        };
        let amd64_listed = platform(&amd64.manifest, "linux", "amd64");
        let arm64_listed = platform(&arm64.manifest, "linux", "arm64");
        let attestation_listed = platform(&attestation, "unknown", "unknown");
        let index = index_of(&[amd64_listed.clone(), arm64_listed, attestation_listed]);
        let index2 = index_of(&[amd64_listed]);
        let placeholders = vec![
            ("{tag}", TAG.into()),
            ("{tag2}", TAG_2.into()),
            ("{single}", SINGLE.into()),
            ("{index}", index.digest.clone()),
            ("{index2}", index2.digest.clone()),
            ("{index_tag}", index.digest.replace(':', "-")),
            ("{amd64}", amd64.manifest.digest.clone()),
            ("{arm64}", arm64.manifest.digest.clone()),
            ("{config}", amd64.config.digest.clone()),
            ("{config2}", arm64.config.digest.clone()),
            ("{layer1}", amd64.layers[0].digest.clone()),
            ("{layer2}", amd64.layers[1].digest.clone()),
            ("{layer3}", amd64.layers[2].digest.clone()),
            ("{attestation}", attestation.digest.clone()),
            ("{attestation_tag}", attestation.digest.replace(':', "-")),
        ];
        let signature = format!("{}.sig", index.digest.replace(':', "-"));
        let mut tags = vec![
            (TAG, index.digest.clone()),
            ("latest", index.digest.clone()),
            (TAG_2, index2.digest.clone()),
            (SINGLE, amd64.manifest.digest.clone()),
        ];
        tags.push((signature.leak(), attestation.digest.clone()));
        let (amd64, arm64) = (amd64.manifest.clone(), arm64.manifest.clone());
        Self {
            manifests: vec![index, index2, amd64, arm64, attestation],
            blobs: image.blobs().cloned().collect(),
            tags,
            placeholders,
        }
    }

    /// What is there under `manifests/` or `blobs/`, by tag or digest.
    pub fn find(&self, reference: &str) -> Option<&Content> {
        let tagged = self.tags.iter().find(|(tag, _)| *tag == reference);
        let digest = tagged.map_or(reference, |(_, digest)| digest);
        self.manifests.iter().chain(&self.blobs).find(|content| content.digest == digest)
    }

    /// All scenes, in the order of their files.
    pub fn scenes(&self) -> Vec<Scene> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/replay");
        let mut files: Vec<_> = fs::read_dir(folder)
            .expect("the scenes' folder")
            .map(|entry| entry.expect("its entry").path())
            .collect();
        files.sort();
        let mut scenes = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).expect("a file of scenes");
            let values = self.placeholders.iter();
            let text = values.fold(text, |text, (name, value)| text.replace(name, value));
            let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            read(&file, &text, &mut scenes);
        }
        assert!(!scenes.is_empty());
        scenes
    }
}

fn manifest(media_type: &'static str, value: &Value) -> Content {
    let bytes = value.to_string().into_bytes();
    Content { media_type, digest: sha256_of(&bytes), bytes }
}

fn descriptor(content: &Content) -> Value {
    let Content { media_type, digest, bytes } = content;
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn read(file: &str, text: &str, scenes: &mut Vec<Scene>) {
    let mut common = vec![format!("Host: {GATEWAY}")];
    let (mut title, mut client, mut steps) = (String::new(), 1, Vec::<Step>::new());
    for (number, line) in text.lines().enumerate() {
        let bad = || format!("{file}:{}: {line}", number + 1);
        if let Some(words) = line.strip_prefix("## ") {
            title = format!("{file}:{}: {words}", number + 1);
        } else if line.is_empty() || line.starts_with('#') {
        } else if let Some(other) = line.strip_prefix('@') {
            client = other.parse().unwrap_or_else(|_| panic!("{}", bad()));
        } else if let Some(counts) = line.strip_prefix("= ") {
            let counted = Counted::parse(counts).unwrap_or_else(|| panic!("{}", bad()));
            scenes.push(Scene {
                title: title.clone(),
                steps: std::mem::take(&mut steps),
                redirected: counted.unseen(),
                fetched: counted,
            });
            client = 1;
        } else if let Some(counts) = line.strip_prefix("~ ") {
            let scene = scenes.last_mut().unwrap_or_else(|| panic!("{}", bad()));
            scene.fetched = Counted::parse(counts).unwrap_or_else(|| panic!("{}", bad()));
        } else if let Some(header) = line.strip_prefix("  ") {
            let step = steps.last_mut().unwrap_or_else(|| panic!("{}", bad()));
            replace(&mut step.headers, header, &common);
        } else if title.is_empty() {
            common.push(line.to_owned());
        } else {
            let usual = if line.ends_with(" /v2/") { "200" } else { "307/200" };
            let (request, statuses) = line.split_once(" -> ").unwrap_or((line, usual));
            let (redirected, fetched) = statuses.split_once('/').unwrap_or((statuses, statuses));
            let (method, target) = request.split_once(' ').unwrap_or_else(|| panic!("{}", bad()));
            steps.push(Step {
                client,
                method: method.into(),
                target: target.into(),
                headers: common.clone(),
                redirected: redirected.parse().unwrap_or_else(|_| panic!("{}", bad())),
                fetched: match fetched {
                    "-" => None,
                    status => Some(status.parse().unwrap_or_else(|_| panic!("{}", bad()))),
                },
            });
        }
    }
    assert!(steps.is_empty(), "{file}: the last scene has no line of counts");
}

/// Adds `header`; the first of its name takes the place of those in `common`.
fn replace(headers: &mut Vec<String>, header: &str, common: &[String]) {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    headers.retain(|line| name(line) != name(header) || !common.contains(line));
    headers.push(header.to_owned());
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const TAG: &str = "v1.2";
const TAG_2: &str = "v1.3";
const SINGLE: &str = "v1.2-amd64";
