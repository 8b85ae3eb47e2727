//! Clients that go away.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, Listener};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A listener whose server drops a handler when its client goes away.
///
/// By itself, poem's server keeps running an HTTP/1 request after its client disconnects: its locks
/// and permits stay held, and its computation continues for no one. With this listener, locks and
/// permits are free at once, and a waiter takes over the computation.
///
/// Make it the outermost listener, around TLS. A client that shuts down its sending side counts as
/// disconnected, even if it still reads.
///
/// # Examples
///
/// ```no_run
/// use cachify_poem::HangupListener;
/// use poem::{Route, Server, listener::TcpListener};
///
/// # async fn run() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:8000");
/// Server::new(HangupListener::new(listener)).run(Route::new()).await
/// # }
/// ```
#[must_use = "a listener does nothing until a server runs it"]
#[derive(Debug)]
pub struct HangupListener<L>(L);

impl<L> HangupListener<L> {
    /// Watches the connections of `listener`.
    pub fn new(listener: L) -> Self {
        Self(listener)
    }
}

impl<L: Listener> Listener for HangupListener<L> {
    type Acceptor = HangupAcceptor<L::Acceptor>;

    async fn into_acceptor(self) -> io::Result<Self::Acceptor> {
        Ok(HangupAcceptor::new(self.0.into_acceptor().await?))
    }
}

/// The acceptor of a bound [`HangupListener`].
#[must_use = "an acceptor does nothing until a server runs it"]
#[derive(Debug)]
pub struct HangupAcceptor<A>(A);

impl<A> HangupAcceptor<A> {
    /// Watches the connections of `acceptor`: for
    /// [`Server::new_with_acceptor`](poem::Server::new_with_acceptor).
    pub fn new(acceptor: A) -> Self {
        Self(acceptor)
    }
}

impl<A: Acceptor> Acceptor for HangupAcceptor<A> {
    type Io = HangupStream<A::Io>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (inner, local, remote, scheme) = self.0.accept().await?;
        let gone = false;
        Ok((HangupStream { inner, gone }, local, remote, scheme))
    }
}

/// A connection that refuses to write once its client has gone.
#[derive(Debug)]
pub struct HangupStream<S> {
    inner: S,
    gone: bool,
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
