//! Clients that go away.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that refuses to write once its client has gone, so that a server that writes
/// nevertheless drops the handler.
#[derive(Debug)]
pub struct HangupStream<S> {
    inner: S,
    gone: bool,
}

impl<S> HangupStream<S> {
    /// Watches a connection.
    pub fn new(inner: S) -> Self {
        let gone = false;
        Self { inner, gone }
    }
}

impl<S: Unpin> HangupStream<S> {
    /// The connection to write to.
    ///
    /// After an error of reading, the server goes on to write and flush; only an error there has it
    /// drop the handler.
    fn writer(&mut self) -> io::Result<Pin<&mut S>> {
        if self.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(Pin::new(&mut self.inner))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HangupStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.remaining();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(result) = &read {
            self.gone |= result.is_err() || (before > 0 && buf.remaining() == before);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HangupStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
