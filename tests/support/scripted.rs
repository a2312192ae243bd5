//! A registry of few lines, which a test's script bends as it needs.

use std::io;

use pullgate::cli::demo::image::{Content, Image};

use super::origin::{Request, Talk};

/// Answers as a registry that has `image` under every name and tag would.
pub fn serve(talk: &mut Talk, request: &Request, image: &Image) -> io::Result<()> {
    serve_found(talk, request, |reference| {
        if request.target.contains("/manifests/") && !reference.contains(':') {
            return Some(&image.index);
        }
        image.manifests().chain(image.blobs()).find(|content| content.digest == reference)
    })
}

/// Answers as a registry would that has under every name what `find` finds by its tag or digest.
pub fn serve_found<'c>(
    talk: &mut Talk,
    request: &Request,
    find: impl FnOnce(&str) -> Option<&'c Content>,
) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    let said: Option<(&str, &[u8])> = match path {
        "/v2/" => Some(("application/json", b"{}")),
        list if list.ends_with("/tags/list") => {
            Some(("application/json", br#"{"name":"x","tags":["latest"]}"#))
        }
        list if list.contains("/referrers/") => Some((INDEX, NO_REFERRERS)),
        _ => None,
    };
    if let Some((media_type, body)) = said {
        return talk.answer(request, "200 OK", &[&format!("Content-Type: {media_type}")], body);
    }
    let (_, reference) = path.rsplit_once('/').unwrap_or_default();
    match find(reference) {
        Some(content) => give(talk, request, content),
        None => talk.answer(request, "404 Not Found", &[], b""),
    }
}

/// Answers with `content`, or with the part of it that is asked for: `bytes=N-`.
pub fn give(talk: &mut Talk, request: &Request, content: &Content) -> io::Result<()> {
    let kind = format!("Content-Type: {}", content.media_type);
    let digest = format!("Docker-Content-Digest: {}", content.digest);
    let tag = format!("ETag: \"{}\"", content.digest);
    let range = request.field("range").and_then(|range| range.strip_prefix("bytes="));
    let first = range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    let all = &content.bytes;
    let Some(rest) = first.and_then(|first| all.get(first..)) else {
        return talk.answer(request, "200 OK", &[&kind, &digest, &tag], all);
    };
    let part =
        format!("Content-Range: bytes {}-{}/{}", all.len() - rest.len(), all.len() - 1, all.len());
    talk.answer(request, "206 Partial Content", &[&kind, &digest, &tag, &part], rest)
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const NO_REFERRERS: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
