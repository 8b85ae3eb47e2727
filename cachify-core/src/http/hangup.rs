//! Detection of clients that disconnect.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that refuses writes once its client has gone. A server that ignores the end of
/// reading, and writes anyway, gets an error and drops the handler.
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
    /// Returns the connection to write to, or an error if the client has gone.
    ///
    /// After a failed read, the server still writes and flushes. Only an error there makes it drop
    /// the handler.
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
