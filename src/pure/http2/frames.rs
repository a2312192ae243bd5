//! What a client sends beside requests, counted from the nine bytes that each frame begins with
//! (RFC 9113, 4.1). The library behind answers most of these and counts few, at a cost that a client
//! does not have. Each sort has its allowance, which comes back with time; what a client sends because
//! it was sent something is paid for by that.

/// A sort of frame of which there were too many, or another reason to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// DATA, though no request has a body here.
    Data,
    /// PRIORITY.
    Priorities,
    /// RST_STREAM: requests that are given up as soon as they are made.
    Resets,
    /// SETTINGS, each of which is to be acknowledged, and acknowledgements.
    Settings,
    /// PING, each of which is to be answered.
    Pings,
    /// WINDOW_UPDATE.
    Windows,
    /// CONTINUATION.
    Continuations,
    /// Sorts that nobody knows.
    Unknown,
}

/// A connection's frames so far.
#[derive(Debug)]
pub struct Frames {
    /// Bytes of the preface, or of a frame's payload, that are still to come.
    skip: usize,
    head: [u8; HEAD_BYTES],
    have: usize,
    left: [Allowance; SORTS],
    as_of_s: u32,
    /// Bytes sent that have paid for nothing yet.
    unpaid: usize,
}

/// How many there may be now.
#[derive(Clone, Copy, Debug)]
struct Allowance(u32);

impl Frames {
    /// Before the first byte.
    pub fn new(now_s: u32) -> Self {
        let left = BOUNDS.map(|bound| Allowance(bound.most));
        Self {
            skip: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            have: 0,
            left,
            as_of_s: now_s,
            unpaid: 0,
        }
    }

    /// Looks at the `bytes` that have come next, as of `now_s`.
    ///
    /// # Errors
    /// What there is too much of.
    pub fn read(&mut self, mut bytes: &[u8], now_s: u32) -> Result<(), Flood> {
        self.pass_time(now_s);
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = (HEAD_BYTES - self.have).min(bytes.len());
            let (now, rest) = bytes.split_at(taken);
            if let Some(room) = self.head.get_mut(self.have..self.have + taken) {
                room.copy_from_slice(now);
            }
            self.have += taken;
            bytes = rest;
            if self.have == HEAD_BYTES {
                self.have = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// So many bytes were sent to the client, which makes room for more of them and may measure how
    /// long they take.
    pub fn sent(&mut self, bytes: usize) {
        self.unpaid += bytes;
        let paid = u32::try_from(self.unpaid / BYTES_PER_FRAME).unwrap_or(u32::MAX);
        self.unpaid %= BYTES_PER_FRAME;
        for sort in [Flood::Windows, Flood::Pings] {
            self.give(sort, paid);
        }
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [a, b, c, kind, ..] = self.head;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let sort = match kind {
            0 => Flood::Data,
            // A request: it is answered, and what it costs is bounded elsewhere.
            1 => {
                self.give(Flood::Windows, WINDOWS_PER_REQUEST);
                return Ok(());
            }
            2 => Flood::Priorities,
            3 => Flood::Resets,
            4 => Flood::Settings,
            6 => Flood::Pings,
            8 => Flood::Windows,
            9 => Flood::Continuations,
            _ => Flood::Unknown,
        };
        let Allowance(left) = &mut self.left[sort as usize];
        *left = left.checked_sub(1).ok_or(sort)?;
        Ok(())
    }

    fn pass_time(&mut self, now_s: u32) {
        let seconds = now_s.saturating_sub(self.as_of_s);
        if seconds > 0 {
            self.as_of_s = now_s;
            for (Allowance(left), bound) in self.left.iter_mut().zip(BOUNDS) {
                *left = left.saturating_add(bound.per_s.saturating_mul(seconds)).min(bound.most);
            }
        }
    }

    fn give(&mut self, sort: Flood, more: u32) {
        let Allowance(left) = &mut self.left[sort as usize];
        *left = left.saturating_add(more).min(BOUNDS[sort as usize].most);
    }
}

/// What a sort is held to: so many at once, and so many more each second.
struct Bound {
    most: u32,
    per_s: u32,
}

/// In the order of [`Flood`]. Go, curl, nghttp2 and browsers stay below a tenth of these.
const BOUNDS: [Bound; SORTS] = [
    Bound { most: 64, per_s: 8 },
    Bound { most: 512, per_s: 64 },
    // A client that gives up a pull resets all of its streams: 100 at most, as we allow.
    Bound { most: 256, per_s: 16 },
    Bound { most: 32, per_s: 1 },
    Bound { most: 128, per_s: 4 },
    Bound { most: 4096, per_s: 64 },
    Bound { most: 64, per_s: 8 },
    Bound { most: 128, per_s: 8 },
];
const SORTS: usize = Flood::Unknown as usize + 1;
const HEAD_BYTES: usize = 9;
/// `PRI * HTTP/2.0` and so on (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// One WINDOW_UPDATE for the stream and one for the connection for 2 KiB is more than clients send.
const BYTES_PER_FRAME: usize = 1024;
const WINDOWS_PER_REQUEST: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this kind, with a payload.
    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + payload, 6);
        bytes
    }

    /// How many of the frames pass before there are too many, and of what.
    fn passing(frame: &[u8], frames: &mut Frames, now_s: u32) -> (u32, Flood) {
        for many in 0..1_000_000 {
            if let Err(flood) = frames.read(frame, now_s) {
                // Where that was said the payload was still to come.
                let _ = frames.read(frame.get(HEAD_BYTES..).unwrap_or_default(), now_s);
                return (many, flood);
            }
        }
        panic!("there is no end to it");
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).unwrap();
        frames
    }

    #[test]
    fn each_sort_has_its_allowance_which_comes_back_with_time() {
        for (kind, payload, sort) in [
            (0, 0, Flood::Data),
            (2, 5, Flood::Priorities),
            (3, 4, Flood::Resets),
            (4, 0, Flood::Settings),
            (6, 8, Flood::Pings),
            (8, 4, Flood::Windows),
            (9, 0, Flood::Continuations),
            (0xb, 1000, Flood::Unknown),
        ] {
            let (mut frames, bound) = (begun(), &BOUNDS[sort as usize]);
            let frame = frame(kind, 0, payload);
            assert_eq!(passing(&frame, &mut frames, 0), (bound.most, sort));
            assert_eq!(passing(&frame, &mut frames, 2), (2 * bound.per_s, sort));
            assert_eq!(passing(&frame, &mut frames, 1_000_000), (bound.most, sort));
        }
    }

    #[test]
    fn frames_are_seen_however_their_bytes_arrive() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for _ in 0..40 {
            bytes.extend(frame(1, 4, 300));
            bytes.extend(frame(4, 0, 6));
        }
        for size in [1, 2, 8, 9, 10, 311, bytes.len()] {
            let mut frames = Frames::new(0);
            let over = bytes.chunks(size).position(|piece| frames.read(piece, 0).is_err());
            // The 33rd SETTINGS is one too many.
            let at = 24 + 33 * (HEAD_BYTES + 300) + 32 * (HEAD_BYTES + 6) + HEAD_BYTES;
            assert_eq!(over, Some(at.div_ceil(size) - 1), "{size}");
        }
    }

    #[test]
    fn who_downloads_makes_room_as_often_as_it_likes() {
        let mut frames = begun();
        for _ in 0..100_000 {
            frames.read(&frame(8, 0, 4), 0).unwrap();
            frames.read(&frame(8, 0, 4), 0).unwrap();
            frames.sent(2048);
        }
        // Requests, however many.
        for _ in 0..100_000 {
            frames.read(&frame(1, 5, 100), 0).unwrap();
        }
    }
}
