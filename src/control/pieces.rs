//! An answer's body, as long as somebody writes. One that breaks off is an error, so that whoever reads it
//! sees that it is not whole.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Its pieces, in their order.
pub(super) struct Pieces(pub(super) Receiver<io::Result<Bytes>>);

impl Pieces {
    /// The same until `end` comes: then they break off, whether somebody reads them or not, and whoever writes
    /// them is told that nobody takes them any more.
    pub(super) fn until(self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        let (sender, pieces) = channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = self.pass_on(&sender) => {}
                () = end => {
                    let _ = sender.send(Err(io::ErrorKind::PermissionDenied.into())).await;
                }
            }
        });
        Self(pieces)
    }

    async fn pass_on(mut self, to: &Sender<io::Result<Bytes>>) {
        // None is taken before there is room for it.
        while let Ok(room) = to.reserve().await {
            match self.0.recv().await {
                Some(piece) => room.send(piece),
                None => return,
            }
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Writes pieces of one, no faster than they are read; for threads that may wait.
pub(super) struct Writer(pub(super) Sender<io::Result<Bytes>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
