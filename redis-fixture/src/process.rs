use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Ends a child and removes its directory if this process ends without doing so itself, for any
/// reason: the kernel closes the pipe that `read` waits on. Ctrl-C reaches the whole process group
/// and must not end the shell first.
const WATCHDOG: &str = r#"trap "" HUP INT TERM; read -r _; eval "$0""#;

/// A shell that runs `cleanup` once this process is gone, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn new(cleanup: &str) -> Self {
        let shell = Command::new("sh")
            .args(["-c", WATCHDOG, cleanup])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.expect("cannot start `sh`, which ends servers after the test process"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // `wait` would close the pipe and so run the cleanup: kill first.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A server process that ends with this one.
#[derive(Debug)]
pub(crate) struct Process {
    // Dropped by hand before the child is reaped: afterwards its id may belong to another process.
    watchdog: Option<Watchdog>,
    child: Child,
    paused: AtomicBool,
}

impl Process {
    pub(crate) fn spawn(program: &Path, args: &[String], dir: &Path) -> Self {
        let log = File::create(dir.join("log")).expect("a log file in our own directory");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle to the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        let cleanup = format!("kill -9 {}; rm -rf '{}'", child.id(), dir.display());
        Self {
            watchdog: Some(Watchdog::new(&cleanup)),
            child,
            paused: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(SeqCst)
    }

    pub(crate) fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the process. It executes no further instruction once this returns.
    pub(crate) fn pause(&self) {
        self.paused.store(true, SeqCst);
        let pid = self.signal(Signal::STOP);
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options).expect("our own child can be waited for");
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
        self.paused.store(false, SeqCst);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("our own child can be signalled");
        pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok(); // first, lest it survive us if we are killed right now
        self.watchdog = None;
        self.child.wait().ok();
    }
}

/// Finds the Redis server program of this machine.
///
/// # Panics
///
/// If `CACHIFY_REDIS_SERVER` names something that is not a file.
pub fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CACHIFY_REDIS_SERVER").map(PathBuf::from) {
        assert!(
            path.is_file(),
            "CACHIFY_REDIS_SERVER names {}, which is not a file",
            path.display()
        );
        return Some(path);
    }
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["redis-server", "valkey-server"];
    names.iter().find_map(|name| {
        dirs.iter()
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())
    })
}

/// Returns the program's major and minor version.
pub(crate) fn version(program: &Path) -> (u32, u32) {
    let output = output(program, &["--version"]);
    let version = output.split_once(" v=").map_or("", |(_, version)| version);
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("{} has no version: {output}", program.display()),
    }
}

fn output(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Returns whether the program was built with TLS.
#[cfg(feature = "tls")]
pub(crate) fn has_tls(program: &Path) -> bool {
    // Without a certificate, no server starts; one with TLS misses it by name.
    output(program, &["--port", "0", "--tls-port", "1"]).contains("No tls-cert-file configured")
}

/// Creates a directory under the system's temporary one; it is removed on drop.
#[derive(Debug)]
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        // Short, because the path of a Unix socket is limited to about 100 bytes.
        let path = std::env::temp_dir().join(format!(
            "redis-{}-{:06x}",
            std::process::id(),
            fastrand::u32(..1 << 24)
        ));
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
