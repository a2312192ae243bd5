//! Stand-in until the strict decoder is merged.

use crate::pure::fault::Fault;

/// A decoder.
#[derive(Default)]
pub struct Chunked {
    left: u64,
    line: Vec<u8>,
    behind: bool,
    done: bool,
}

/// What to do with the input.
pub struct Step {
    /// Skip.
    pub skip: usize,
    /// Data behind it.
    pub data: usize,
    /// The body is over.
    pub done: bool,
}

impl Chunked {
    /// At the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut skip = 0;
        while self.left == 0 && !self.done && skip < input.len() {
            self.line.push(input[skip]);
            skip += 1;
            if !self.line.ends_with(b"\r\n") {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let text = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
            if self.behind {
                self.behind = false;
                continue;
            }
            if text.is_empty() {
                self.done = true;
            } else {
                self.left = u64::from_str_radix(text, 16).unwrap();
                self.behind = self.left > 0;
            }
        }
        let data = (input.len() - skip).min(usize::try_from(self.left).unwrap());
        self.left -= data as u64;
        Ok(Step { skip, data, done: self.done })
    }
}
