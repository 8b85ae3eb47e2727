//! Detection of clients that disconnect.

use std::io;

use cachify_core::http::HangupStream;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, Listener};
use poem::web::{LocalAddr, RemoteAddr};

/// A listener whose server drops a handler when its client disconnects.
///
/// By itself, poem's server keeps running an HTTP/1 request after its client disconnects: its locks
/// and permits stay held, and its computation continues although no client waits for it. With this
/// listener, locks and permits are released, and a waiter takes over the computation.
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
    /// Creates a listener that watches the connections of `listener`.
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
    /// Creates an acceptor that watches the connections of `acceptor`, for
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
        Ok((HangupStream::new(inner), local, remote, scheme))
    }
}
