//! Storage that blobs are redirected to: it refuses whoever brings credentials, as signed URLs do.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::origin::{Origin, Request, Talk};

/// Serves the files below `root` on `ip`: GET and HEAD, whole or a `Range`.
pub fn start(ip: impl Into<IpAddr>, root: &Path) -> Origin {
    let root = root.to_owned();
    Origin::start(ip, move |talk| {
        while let Some(request) = talk.request()? {
            serve(talk, &request, &root)?;
        }
        Ok(())
    })
}

fn serve(talk: &mut Talk, request: &Request, root: &Path) -> io::Result<()> {
    if request.field("authorization").is_some() {
        let words = b"<Code>InvalidArgument</Code><Message>Only one auth mechanism allowed";
        return talk.answer(request, "400 Bad Request", &["Content-Type: application/xml"], words);
    }
    let Ok(mut file) = File::open(within(root, &request.target)) else {
        return talk.answer(request, "404 Not Found", &[], b"");
    };
    let length = file.metadata()?.len();
    let range = request.field("range").and_then(|range| range_of(range, length));
    let (first, last) = range.unwrap_or((0, length - 1));
    let mut body = vec![0; usize::try_from(last + 1 - first).map_err(io::Error::other)?];
    file.seek(SeekFrom::Start(first))?;
    file.read_exact(&mut body)?;
    let kind = "Content-Type: application/octet-stream";
    match range {
        Some(_) => {
            let part = format!("Content-Range: bytes {first}-{last}/{length}");
            talk.answer(request, "206 Partial Content", &[kind, &part], &body)
        }
        None => talk.answer(request, "200 OK", &[kind, "Accept-Ranges: bytes"], &body),
    }
}

fn within(root: &Path, target: &str) -> PathBuf {
    let path = target.split('?').next().unwrap_or_default();
    let steps = path.split('/').filter(|step| !matches!(*step, "" | "." | ".."));
    steps.fold(root.to_owned(), |path, step| path.join(step))
}

/// The first and last byte that `bytes=3-` or `bytes=3-7` asks for.
fn range_of(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let last = if last.is_empty() { length - 1 } else { last.parse().ok()? };
    (first <= last && last < length).then_some((first, last))
}
