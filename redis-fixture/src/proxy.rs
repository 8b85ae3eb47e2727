use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::mem::take;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::net::{Port, is_peer, split, tunnel};

/// A network that fails on demand, in front of a server.
///
/// A mode applies to data sent after the call that sets it. The last call wins;
/// [`resume`](Self::resume) ends all modes.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    url: String,
    /// The accepting thread; `None` while connections are refused.
    accepting: Mutex<Option<JoinHandle<()>>>,
    _port: Port,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<String>,
    /// The port to which connections of other servers go, untouched by any mode.
    peers: Option<u16>,
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicU64,
    request_bytes: AtomicU64,
    held_bytes: AtomicU64,
    swallowed_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    open: HashMap<u64, Connection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Delay(Duration),
    Hold,
    /// Holds replies, but not on connections that subscribed.
    HoldAnswers,
    /// Keeps requests that contain this.
    Keep(&'static str),
    BlackHole,
    /// A black hole for connections that subscribed.
    Deafen,
    Refuse,
}

#[derive(Debug)]
struct Connection {
    /// The client's, then the server's.
    sockets: Vec<TcpStream>,
    /// Requests that are kept.
    kept: Vec<u8>,
    /// It carried a `SUBSCRIBE`.
    subscribed: bool,
    /// Bytes are missing: no real network would deliver the bytes that follow them.
    torn: bool,
}

impl Proxy {
    /// Starts a proxy in front of the server at `url` (`redis://[user:password@]host:port[/db]`).
    pub fn start(url: &str) -> Self {
        Self::between(url, None)
    }

    /// Starts a proxy between `url` and its clients; other servers reach the port `peers` through
    /// it whatever its mode.
    pub(crate) fn between(url: &str, peers: Option<u16>) -> Self {
        let (before, target, after) = split(url);
        let (port, listener) = Port::listen();
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target.into()),
            peers,
            state: Mutex::new(State {
                mode: Mode::Pass,
                open: HashMap::new(),
            }),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            swallowed_bytes: AtomicU64::new(0),
        });
        let accepting = Mutex::new(Some(shared.clone().accept(listener)));
        Self {
            shared,
            address,
            url: format!("{before}{address}{after}"),
            accepting,
            _port: port,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the proxied address, with the credentials and database of the server's.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Leads new connections to the server at `url`, as a name that is moved does. Open ones stay
    /// where they are.
    pub fn retarget(&self, url: &str) {
        let (_, target, _) = split(url);
        target.clone_into(&mut lock(&self.shared.target));
    }

    /// Refuses new connections. Open ones stay open; [`cut`](Self::cut) closes them.
    pub fn refuse(&self) {
        self.shared.set(Mode::Refuse);
        if let Some(thread) = lock(&self.accepting).take() {
            TcpStream::connect(self.address).ok(); // wakes it
            thread.join().ok();
        }
    }

    /// Accepts and keeps connections, and swallows every byte in both directions.
    ///
    /// [`resume`](Self::resume) closes the connections that lost bytes this way.
    pub fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    /// Lets requests through and holds their replies until [`resume`](Self::resume).
    pub fn hold_replies(&self) {
        self.set(Mode::Hold);
    }

    /// Holds replies as [`hold_replies`](Self::hold_replies) does, but lets messages of channels
    /// through: on connections that subscribed, nothing is held.
    pub fn hold_answers(&self) {
        self.set(Mode::HoldAnswers);
    }

    /// Swallows every byte on connections that subscribed, or that try to, as
    /// [`black_hole`](Self::black_hole) does. All others work.
    pub fn deafen(&self) {
        self.set(Mode::Deafen);
    }

    /// Keeps all requests from the first one that contains `word`, until [`strand`](Self::strand).
    pub fn keep_requests(&self, word: &'static str) {
        self.set(Mode::Keep(word));
    }

    /// Returns the number of bytes of requests that are kept.
    pub fn kept_bytes(&self) -> usize {
        let state = self.shared.lock();
        state.open.values().map(|open| open.kept.len()).sum()
    }

    /// Closes the connections whose requests are kept, at the client's end only: these requests are
    /// still on their way. All other connections are back to normal.
    pub fn strand(&self) -> Stranded {
        let mut state = self.shared.lock();
        state.mode = Mode::Pass;
        let mut stranded = Vec::new();
        for open in state.open.values_mut().filter(|open| !open.kept.is_empty()) {
            stranded.extend(
                open.sockets
                    .pop()
                    .map(|server| (server, take(&mut open.kept))),
            );
            open.close();
        }
        Stranded(stranded)
    }

    /// Delays every reply by this duration.
    pub fn delay(&self, delay: Duration) {
        self.set(Mode::Delay(delay));
    }

    /// Closes all open connections. New ones are served as before.
    pub fn cut(&self) {
        for connection in self.shared.lock().open.values() {
            connection.close();
        }
    }

    /// Returns to normal.
    pub fn resume(&self) {
        self.set(Mode::Pass);
        for connection in self
            .shared
            .lock()
            .open
            .values()
            .filter(|connection| connection.torn)
        {
            connection.close();
        }
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// Returns the number of bytes of requests forwarded so far.
    pub fn request_bytes(&self) -> u64 {
        self.shared.request_bytes.load(SeqCst)
    }

    /// Returns the number of bytes of replies that have arrived but were not delivered. Once it is
    /// not zero under [`hold_replies`](Self::hold_replies), the server has executed a request whose
    /// sender does not know.
    pub fn held_bytes(&self) -> u64 {
        self.shared.held_bytes.load(SeqCst)
    }

    /// Returns the number of bytes of requests and replies that a [`black_hole`](Self::black_hole)
    /// swallowed so far.
    pub fn swallowed_bytes(&self) -> u64 {
        self.shared.swallowed_bytes.load(SeqCst)
    }

    fn set(&self, mode: Mode) {
        self.shared.set(mode);
        let mut accepting = lock(&self.accepting);
        if accepting.is_none() {
            let listener = TcpListener::bind(self.address)
                .expect("the proxy's port, refused until now, is taken");
            *accepting = Some(self.shared.clone().accept(listener));
        }
    }
}

/// Requests whose senders have closed their connections.
#[derive(Debug)]
#[must_use = "they arrive when they are told to"]
pub struct Stranded(Vec<(TcpStream, Vec<u8>)>);

impl Stranded {
    /// Delivers them to the server.
    pub fn arrive(self) {
        for (mut server, requests) in self.0 {
            server.write_all(&requests).expect("the server still reads");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.cut();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    fn accept(self: Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if self.lock().mode == Mode::Refuse {
                    return;
                }
                if let Some(port) = self.peers.filter(|_| is_peer(&client)) {
                    tunnel(client, port);
                    continue;
                }
                let id = self.connections.fetch_add(1, SeqCst);
                let shared = self.clone();
                thread::spawn(move || {
                    shared.serve(id, &client).ok();
                    if let Some(connection) = shared.lock().open.remove(&id) {
                        connection.close();
                    }
                });
            }
        })
    }

    /// Forwards requests from `client` to the server until either closes.
    fn serve(self: &Arc<Self>, id: u64, mut client: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        client.set_nodelay(true)?;
        let sockets = vec![client.try_clone()?];
        self.lock().open.insert(
            id,
            Connection {
                sockets,
                kept: Vec::new(),
                subscribed: false,
                torn: false,
            },
        );
        let mut server = if self.swallows(id, 0) {
            None
        } else {
            Some(self.connect(id, client)?)
        };
        loop {
            let len = client.read(&mut buffer)?;
            if len == 0 {
                self.outlast_black_hole(id);
                return Ok(());
            }
            if buffer[..len].windows(9).any(|word| word == b"SUBSCRIBE")
                && let Some(open) = self.lock().open.get_mut(&id)
            {
                open.subscribed = true;
            }
            if self.swallows(id, len) {
                continue;
            }
            if self.keeps(id, &buffer[..len]) {
                continue;
            }
            let server = match &mut server {
                Some(server) => server,
                none => none.insert(self.connect(id, client)?),
            };
            // Count first: a client that has a reply must find its request counted.
            self.request_bytes.fetch_add(len as u64, SeqCst);
            server.write_all(&buffer[..len])?;
        }
    }

    fn connect(self: &Arc<Self>, id: u64, client: &TcpStream) -> io::Result<TcpStream> {
        let target = lock(&self.target).clone();
        let server = TcpStream::connect(target)?;
        server.set_nodelay(true)?;
        if let Some(connection) = self.lock().open.get_mut(&id) {
            connection.sockets.push(server.try_clone()?);
        }
        let (sender, receiver) = channel();
        let (shared, from) = (self.clone(), server.try_clone()?);
        thread::spawn(move || shared.collect(&from, &sender));
        let (shared, to) = (self.clone(), client.try_clone()?);
        thread::spawn(move || shared.deliver(id, &receiver, &to));
        Ok(server)
    }

    /// Reads replies as soon as the server sends them, so that the server never notices a delay.
    fn collect(&self, mut server: &TcpStream, replies: &Sender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = server.read(&mut buffer) {
            self.held_bytes.fetch_add(len as u64, SeqCst);
            if replies
                .send((Instant::now(), buffer[..len].to_vec()))
                .is_err()
            {
                self.held_bytes.fetch_sub(len as u64, SeqCst);
            }
        }
    }

    /// Delivers replies to the client when they are due.
    fn deliver(&self, id: u64, replies: &Receiver<(Instant, Vec<u8>)>, mut client: &TcpStream) {
        for (arrived, bytes) in replies {
            self.wait_due(id, arrived);
            if !self.swallows(id, bytes.len()) {
                client.write_all(&bytes).ok();
            }
            self.held_bytes.fetch_sub(bytes.len() as u64, SeqCst);
        }
        self.outlast_black_hole(id);
        client.shutdown(Shutdown::Both).ok();
    }

    /// The end of a connection does not pass a black hole either.
    fn outlast_black_hole(&self, id: u64) {
        let mut state = self.lock();
        while state.swallows(id) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_due(&self, id: u64, arrived: Instant) {
        let mut state = self.lock();
        loop {
            let left = match state.mode {
                Mode::Hold => Duration::MAX,
                Mode::HoldAnswers if !state.subscribed(id) => Duration::MAX,
                Mode::Delay(delay) => (arrived + delay).saturating_duration_since(Instant::now()),
                _ => return,
            };
            if left.is_zero() {
                return;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Returns whether these requests, and so all that follow them, are kept.
    fn keeps(&self, id: u64, requests: &[u8]) -> bool {
        let mut state = self.lock();
        let Mode::Keep(word) = state.mode else {
            return false;
        };
        let Some(open) = state.open.get_mut(&id) else {
            return false;
        };
        let mut parts = requests.windows(word.len());
        let keeps = !open.kept.is_empty() || parts.any(|part| part == word.as_bytes());
        if keeps {
            open.kept.extend_from_slice(requests);
        }
        keeps
    }

    /// Returns whether bytes of this connection are being lost, or were: nothing may follow a gap.
    fn swallows(&self, id: u64, bytes: usize) -> bool {
        let mut state = self.lock();
        let lost = state.swallows(id);
        let Some(connection) = state.open.get_mut(&id) else {
            return true;
        };
        connection.torn |= lost && bytes > 0;
        let swallows = lost || connection.torn;
        if swallows {
            self.swallowed_bytes.fetch_add(bytes as u64, SeqCst);
        }
        swallows
    }
}

impl State {
    fn subscribed(&self, id: u64) -> bool {
        self.open.get(&id).is_some_and(|open| open.subscribed)
    }

    /// Returns whether bytes of this connection get lost now.
    fn swallows(&self, id: u64) -> bool {
        match self.mode {
            Mode::BlackHole => true,
            Mode::Deafen => self.subscribed(id),
            _ => false,
        }
    }
}

impl Connection {
    fn close(&self) {
        for socket in &self.sockets {
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
