//! A registry of few lines, which a test's script bends as it needs.

use std::io;

use pullgate::cli::demo::image::{Content, Image};

use super::origin::{Request, Talk};

/// Answers as a registry that has `image` under every name and tag would.
pub fn serve(talk: &mut Talk, request: &Request, image: &Image) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    if path == "/v2/" {
        return talk.answer(request, "200 OK", &["Content-Type: application/json"], b"{}");
    }
    let (_, reference) = path.rsplit_once('/').unwrap_or_default();
    if path.ends_with("/tags/list") {
        let body = br#"{"name":"x","tags":["latest"]}"#;
        return talk.answer(request, "200 OK", &["Content-Type: application/json"], body);
    }
    let is_tag = path.contains("/manifests/") && !reference.contains(':');
    let known = image.manifests().chain(image.blobs());
    let found = if is_tag {
        Some(&image.index)
    } else {
        known.into_iter().find(|content| content.digest == reference)
    };
    match found {
        Some(content) => give(talk, request, content),
        None => talk.answer(request, "404 Not Found", &[], b""),
    }
}

/// Answers with `content`, or with the part of it that is asked for: `bytes=N-`.
pub fn give(talk: &mut Talk, request: &Request, content: &Content) -> io::Result<()> {
    let kind = format!("Content-Type: {}", content.media_type);
    let digest = format!("Docker-Content-Digest: {}", content.digest);
    let range = request.field("range").and_then(|range| range.strip_prefix("bytes="));
    let first = range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    let all = &content.bytes;
    let Some(rest) = first.and_then(|first| all.get(first..)) else {
        return talk.answer(request, "200 OK", &[&kind, &digest], all);
    };
    let part =
        format!("Content-Range: bytes {}-{}/{}", all.len() - rest.len(), all.len() - 1, all.len());
    talk.answer(request, "206 Partial Content", &[&kind, &digest, &part], rest)
}
