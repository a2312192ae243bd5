//! Access log lines on their way from a worker to the log writer.
//!
//! A line is fixed in size and holds no address: there is no field for one. It is made only while
//! the access log is on; a worker that has no [`AccessSender`] spends nothing on it.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::meters::{Counter, Meters};
use crate::pure::limits::HOST_BYTES_MAX;

/// One answered request. Texts are as the client sent them, cut, and not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLine {
    /// When the request was read, in microseconds since 1970.
    pub at_unix_us: u64,
    /// The method.
    pub method: Text<16>,
    /// The host that was asked, as sent.
    pub host: Text<HOST_BYTES_MAX>,
    /// The path, without the query: a query may say who is asking.
    pub path: Text<512>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: &'static str,
    /// The answer's status code.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the request's last byte to the answer's, in microseconds.
    pub duration_us: u64,
    /// `User-Agent`, empty when absent.
    pub user_agent: Text<256>,
    /// `Referer` without its query, empty when absent.
    pub referer: Text<128>,
}

/// The first `MAX` bytes of a text.
#[derive(Clone, Copy)]
pub struct Text<const MAX: usize> {
    length: u16,
    bytes: [u8; MAX],
}

impl<const MAX: usize> Text<MAX> {
    /// Keeps what fits of `text`.
    #[expect(clippy::cast_possible_truncation, reason = "asserted to fit where it is computed")]
    pub fn cut(text: &[u8]) -> Self {
        const { assert!(MAX <= u16::MAX as usize) };
        let length = text.len().min(MAX);
        let mut bytes = [0; MAX];
        bytes[..length].copy_from_slice(&text[..length]);
        Self { length: length as u16, bytes }
    }

    /// What was kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl<const MAX: usize> PartialEq for Text<MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const MAX: usize> Eq for Text<MAX> {}

impl<const MAX: usize> std::fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Makes the two ends of one worker's way to the log writer.
pub fn channel() -> (AccessSender, AccessReceiver) {
    let (lines, to_write) = bounded(LINES_IN_CHANNEL);
    (AccessSender { lines }, AccessReceiver { lines: to_write })
}

/// A worker's end.
pub struct AccessSender {
    lines: Sender<AccessLine>,
}

impl AccessSender {
    /// Sends `line`; drops and counts it when the writer is behind. Never blocks, allocates
    /// nothing.
    pub fn offer(&self, line: AccessLine, meters: &Meters) {
        if self.lines.try_send(line).is_err() {
            meters.add(Counter::AccessLinesDropped, 1);
        }
    }
}

/// The log writer's end of one worker's way. The writer polls, so that a worker never pays for
/// waking it.
pub struct AccessReceiver {
    lines: Receiver<AccessLine>,
}

impl AccessReceiver {
    /// The next line, if one waits. Never blocks.
    pub fn try_take(&self) -> Option<AccessLine> {
        self.lines.try_recv().ok()
    }
}

/// Lines that one worker's channel holds: 5 MiB, and 200,000 requests a second at one look every
/// 20 ms.
const LINES_IN_CHANNEL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AccessLine {
        AccessLine {
            at_unix_us: 1,
            method: Text::cut(b"GET"),
            host: Text::cut(b"registry.acme.com"),
            path: Text::cut(b"/v2/"),
            version: "HTTP/1.1",
            status: 307,
            bytes: 0,
            duration_us: 9,
            user_agent: Text::cut(b""),
            referer: Text::cut(b""),
        }
    }

    #[test]
    fn a_text_is_cut_to_its_bound() {
        assert_eq!(Text::<4>::cut(b"abc").as_bytes(), b"abc");
        assert_eq!(Text::<4>::cut(b"abcdef").as_bytes(), b"abcd");
    }

    #[test]
    fn lines_beyond_the_channel_are_dropped_and_counted() {
        let (sender, receiver) = channel();
        let meters = Meters::new();
        for _ in 0..LINES_IN_CHANNEL + 3 {
            sender.offer(line(), &meters);
        }
        assert_eq!(meters.counter(Counter::AccessLinesDropped), 3);
        let mut taken = 0;
        while let Some(read) = receiver.try_take() {
            assert_eq!(read, line());
            taken += 1;
        }
        assert_eq!(taken, LINES_IN_CHANNEL);
    }
}
