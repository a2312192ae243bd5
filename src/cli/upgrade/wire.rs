//! What two gateways say to each other, over a unix socket in their `data_dir`.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::aggregator::succession;

/// Where the running gateway listens for one that takes over.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("upgrade.sock")
}

/// Something that is said. Both ends have agreed on [`VERSION`] before.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Word {
    /// By the one that runs: who it is. Its sockets follow.
    Hello(Hello),
    /// By the one that takes over: it only lacks the store and what counting knows. It listens at
    /// these addresses by the sockets that it was given; the others are the running one's to close.
    Ready(Vec<SocketAddr>),
    /// By the one that runs: why not, and that it goes on.
    Refused(String),
    /// By the one that runs: it has let go of the store. An aggregator's estate follows, of so many
    /// bytes, and, after "go", the events of so many workers for so many microseconds at the most.
    Left { estate_bytes: u64, lanes: u64, lasts_us: u64 },
    /// By the one that takes over: its workers accept connections.
    Serving,
    /// By the one that runs: it is the other's turn from now on.
    Go,
}

/// Who runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Hello {
    /// Its process.
    pub(super) process: u32,
    /// `io_uring` or `epoll`: what its sockets are set to.
    pub(super) driver: String,
    /// What its sockets are called, in their order.
    pub(super) sockets: Vec<String>,
    /// Who supervises it, as `NOTIFY_SOCKET` said.
    pub(super) supervisor: Option<Vec<u8>>,
    /// How often that wants to hear of it, in microseconds.
    pub(super) watchdog_us: Option<u64>,
}

/// The way between the two.
pub(super) struct Wire(UnixStream);

impl Wire {
    /// Agrees on what is spoken over `stream`.
    ///
    /// # Errors
    /// In words, also that the other speaks something else.
    pub(super) fn agree(mut stream: UnixStream) -> Result<Self, String> {
        let ours = [PROTOCOL, &VERSION.to_le_bytes(), &succession::VERSION.to_le_bytes()].concat();
        let mut theirs = vec![0; ours.len()];
        let spoken = stream
            .set_read_timeout(Some(ANSWERING))
            .and_then(|()| stream.set_write_timeout(Some(ANSWERING)))
            .and_then(|()| stream.write_all(&ours))
            .and_then(|()| stream.read_exact(&mut theirs));
        spoken.map_err(|error| format!("the other gateway does not answer: {error}"))?;
        match theirs == ours {
            true => Ok(Self(stream)),
            false => Err("the two programs do not hand over to each other in the same way: this \
                          upgrade needs a restart"
                .to_owned()),
        }
    }

    /// Says `word`.
    pub(super) fn say(&mut self, word: &Word) -> io::Result<()> {
        let bytes = postcard::to_stdvec(word).map_err(io::Error::other)?;
        // A word is far below 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(&bytes)
    }

    /// What is said within this time.
    pub(super) fn hear(&mut self, within: Duration) -> io::Result<Word> {
        self.0.set_read_timeout(Some(within))?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let bytes = self.read(u64::from(u32::from_le_bytes(length)))?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }

    /// Writes bytes whose number was said.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads so many.
    pub(super) fn read(&self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&self.0).take(count).read_to_end(&mut bytes)?;
        if read as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Gives sockets away, a byte for each.
    pub(super) fn give(&self, sockets: &[OwnedFd]) -> io::Result<()> {
        for socket in sockets {
            let descriptors = [socket.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(&self.0, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// Takes so many.
    pub(super) fn take(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let room = &mut [IoSliceMut::new(&mut byte)];
            let received = recvmsg(&self.0, room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let before = sockets.len();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    sockets.extend(descriptors);
                }
            }
            if received.bytes == 0 || sockets.len() != before + 1 {
                return Err(io::Error::other("a socket is missing: see the limit of open files"));
            }
        }
        Ok(sockets)
    }

    /// Waits for the other to read, so long.
    pub(super) fn wait(&self, within: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(within))
    }

    /// The stream, once all is said.
    pub(super) fn into_stream(self) -> UnixStream {
        self.0
    }
}

const PROTOCOL: &[u8] = b"pullgate upgrade";
/// Which words there are.
const VERSION: u32 = 1;
/// How long the other may take for what it has at hand.
pub(super) const ANSWERING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn agreed() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        let other = std::thread::spawn(|| Wire::agree(other).unwrap());
        (Wire::agree(one).unwrap(), other.join().unwrap())
    }

    #[test]
    fn words_bytes_and_sockets_come_in_their_order() {
        let (mut one, mut other) = agreed();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|it| it.local_addr().unwrap());
        one.say(&Word::Ready(addresses.to_vec())).unwrap();
        one.give(&listeners.map(OwnedFd::from)).unwrap();
        one.write(b"estate").unwrap();
        one.say(&Word::Go).unwrap();
        let Ok(Word::Ready(said)) = other.hear(ANSWERING) else { panic!("a word") };
        assert_eq!(said, addresses);
        let taken = other.take(3).unwrap();
        let taken = taken.into_iter().map(|it| TcpListener::from(it).local_addr().unwrap());
        assert!(taken.eq(addresses));
        assert_eq!(other.read(6).unwrap(), b"estate");
        assert!(matches!(other.hear(ANSWERING), Ok(Word::Go)));
        drop(one);
        assert!(other.hear(ANSWERING).is_err() && other.take(1).is_err());
    }

    #[test]
    fn who_speaks_otherwise_is_told_to_restart() {
        let (one, mut other) = UnixStream::pair().unwrap();
        other.write_all(&[b'x'; 24]).unwrap();
        let Err(words) = Wire::agree(one) else { panic!("they do not agree") };
        assert!(words.contains("needs a restart"), "{words}");
    }
}
