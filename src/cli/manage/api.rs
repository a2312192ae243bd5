//! `pullgate api`: whatever else the API of a gateway elsewhere can do, as its reference has it.

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::Path;

use hyper::body::Bytes;
use hyper::header::HeaderValue;

use super::args::ApiArgs;
use crate::cli::plain::plain_json;
use crate::cli::remote::{Failure, Remote};

/// Asks, and writes what is answered to standard output as it comes.
///
/// # Errors
/// Words, also those of a refusal; or that nobody reads.
pub(super) fn asked(args: &ApiArgs) -> Result<(), Failure> {
    let target = target(&args.path)?;
    let body = args.data.as_deref().map(written).transpose()?;
    let remote = Remote::at(&args.url, &args.pass)?;
    let tag = match (&args.if_match, &args.current) {
        (Some(tag), _) => {
            let tag = HeaderValue::from_str(tag);
            Some(tag.map_err(|_| "--if-match: is an ETag as `--include` prints it".to_owned())?)
        }
        (None, Some(path)) => {
            Some(state(&remote, if path.is_empty() { &args.path } else { path })?)
        }
        (None, None) => None,
    };
    // A program that reads it has the very bytes.
    let mut out: Box<dyn Write> = match io::stdout().is_terminal() {
        true => Box::new(Shown { out: io::stdout(), rest: Vec::new() }),
        false => Box::new(io::stdout()),
    };
    remote.pass((args.method.into(), target.as_str()), tag, body, args.include, &mut out)
}

/// The ETag of what is at this path now.
fn state(remote: &Remote, path: &str) -> Result<HeaderValue, String> {
    let tag = remote.tell(hyper::Method::GET, &target(path)?, None, None)?.tag;
    tag.ok_or_else(|| {
        format!("{remote}: {path:?} has no ETag: its state is that of something else")
    })
}

/// Where a path of the reference is, with `/api/v1/` before it or without. However it is written, it leads to nothing
/// else there, nor does a front end that reads paths in its own way make it.
fn target(path: &str) -> Result<String, String> {
    let bare = path.trim_start_matches('/');
    let bare = bare.strip_prefix("api/v1/").unwrap_or(bare);
    let (steps, query) = bare.split_once('?').unwrap_or((bare, ""));
    let is_step = |step: &str| {
        let is_plain = |one: u8| one.is_ascii_alphanumeric() || b"-_.:*".contains(&one);
        !matches!(step, "" | "." | "..") && step.bytes().all(is_plain)
    };
    let is_query = query.bytes().all(|one| one.is_ascii_graphic() && !b"#\"<>".contains(&one));
    match steps.split('/').all(is_step) && is_query {
        true => Ok(format!("/api/v1/{bare}")),
        false => Err(format!(
            "{path:?} is no path of the API: one is like audit?organisation=acme; in values, whatever is no ASCII \
             letter, digit or one of - _ . is percent-encoded: + is %2B, & is %26"
        )),
    }
}

/// What is to be sent: all of a file, or of what is piped in.
fn written(from: &Path) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    let read = match from == Path::new("-") {
        true => io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(from).map(|read| bytes = read),
    };
    read.map_err(|error| format!("--data {}: {error}", from.display()))?;
    Ok(bytes.into())
}

/// A terminal, which nothing that is written to it steers.
struct Shown<W> {
    out: W,
    /// The beginning of a letter.
    rest: Vec<u8>,
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.rest.len(),
        };
        let text = plain_json(&String::from_utf8_lossy(&self.rest[..whole]));
        self.rest.drain(..whole);
        self.out.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    /// Also what an answer that broke off had begun to say.
    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        self.out.write_all(plain_json(&String::from_utf8_lossy(&rest)).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_api_and_nowhere_else() {
        for (path, expected) in [
            ("audit?organisation=acme", "/api/v1/audit?organisation=acme"),
            ("/api/v1/people/3?package=a.b/c", "/api/v1/people/3?package=a.b/c"),
            ("/domains/acme.com/owner", "/api/v1/domains/acme.com/owner"),
            ("package?package=*/demo/hello", "/api/v1/package?package=*/demo/hello"),
            ("join?key=a%2Fb", "/api/v1/join?key=a%2Fb"),
        ] {
            assert_eq!(target(path).as_deref(), Ok(expected));
        }
        for path in [
            "",
            "/",
            "?package=a.b/c",
            "../../account",
            "people/../../account",
            "people/%2e%2e/%2e%2e/account",
            "people/./3",
            "people//3",
            "..\\account",
            "/api/v1/../account",
            "people;x",
            "people\r\nHost: x",
            "people?a=b c",
            "people?a=b#c",
            "pulls?only=tag=<x>",
            "pulls?only=\"x\"",
            "people?a=é",
        ] {
            assert!(target(path).unwrap_err().contains("no path of the API"), "{path}");
        }
    }

    #[test]
    fn a_letter_that_comes_in_parts_is_one_and_what_steers_is_told() {
        let mut shown = Shown { out: Vec::new(), rest: Vec::new() };
        for byte in "é漢\u{9b}2J\u{1b}[2J\n".as_bytes() {
            shown.write_all(&[*byte]).unwrap();
        }
        shown.write_all(b"\xff\n\xe6\xbc").unwrap();
        shown.flush().unwrap();
        let expected = "é漢\\u009b2J\\u001b[2J\n\u{fffd}\n\u{fffd}";
        assert_eq!(String::from_utf8(shown.out).unwrap(), expected);
    }
}
