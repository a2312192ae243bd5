//! How the journal and the checkpoints frame what they hold: length, checksum, bytes. What was
//! torn off by a crash, or has rotted, does not read as something else.

use std::io::{self, Read};

/// Appends `payload` to `out` as one frame.
pub fn put(out: &mut Vec<u8>, payload: &[u8]) {
    // A payload is one record or one block of a checkpoint: far below 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend(checksum(length, payload).to_le_bytes());
    out.extend(payload);
}

/// The first frame's payload and what follows it; `None` where no whole, sound frame begins.
pub fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (length, sum) = read_head(*head);
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    (checksum(length, payload) == sum).then_some((payload, rest))
}

/// Reads the next frame's payload; `InvalidData` where no whole, sound frame follows.
pub fn read(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a checksum does not match");
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let (length, sum) = read_head(head);
    let mut payload = Vec::new();
    let read = from.by_ref().take(u64::from(length)).read_to_end(&mut payload)?;
    if u32::try_from(read).ok() != Some(length) || checksum(length, &payload) != sum {
        return Err(damaged());
    }
    Ok(payload)
}

fn read_head(head: [u8; HEAD_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = head;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// The length is part of it, so that a run of zeros is not a frame.
fn checksum(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

const HEAD_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_a_changed_or_torn_one_is_not() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"one");
        put(&mut bytes, b"");
        let (one, rest) = take(&bytes).unwrap();
        assert_eq!((one, take(rest).unwrap()), (&b"one"[..], (&b""[..], &b""[..])));
        assert_eq!(read(&mut &bytes[..]).unwrap(), b"one");
        for at in 0..HEAD_BYTES + 3 {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(take(&changed), None, "byte {at}");
            assert!(read(&mut &changed[..]).is_err(), "byte {at}");
            assert_eq!(take(&bytes[..at]), None, "cut at {at}");
        }
        assert_eq!(take(&[0; 100]), None);
    }
}
