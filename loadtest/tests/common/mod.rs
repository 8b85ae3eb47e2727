//! The program, what it says, and a service.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program, with arguments that have no blanks.
pub(crate) fn loadtest(output: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let arguments = arguments.split_whitespace();
    command.arg("--output").arg(output).args(arguments);
    command
}

/// A run of the program that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) output: TempDir,
}

/// Runs the program with these environment variables.
pub(crate) fn run(arguments: &str, environment: &[(&str, &str)]) -> Ended {
    let output = tempfile::tempdir().unwrap();
    let mut command = loadtest(output.path(), arguments);
    let ended = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: ended.status.code(),
        stdout: text(&ended.stdout),
        stderr: text(&ended.stderr),
        output,
    }
}

impl Ended {
    /// Its report, if it ended with this exit code.
    pub(crate) fn report(&self, code: i32) -> Value {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{stdout}{stderr}");
        let report = std::fs::read(self.output.path().join("report.json")).unwrap();
        serde_json::from_slice(&report).unwrap()
    }
}

/// A sample app that runs until this is dropped: its standard input ends then.
pub(crate) struct Service {
    process: Child,
    pub(crate) url: String,
}

pub(crate) fn serve(app: &str) -> Service {
    let mut process = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["serve", "--app", app, "--listen", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap();
    let url = url.to_owned();
    Service { process, url }
}

impl Service {
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}
