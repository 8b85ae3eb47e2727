//! Runs the commands of READMEs and book in a clean clone, as a reader would, and compares their
//! output with the printed output.

mod page;
mod script;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::redis::{self, Redis};
use crate::run::{Failure, run};
use crate::workspace;
use page::Page;

/// The pages that a reader follows one after the other, in one shell.
fn sessions(root: &Path) -> Result<Vec<Vec<String>>, Failure> {
    let summary = root.join("docs/src/SUMMARY.md");
    let summary =
        fs::read_to_string(&summary).map_err(|error| format!("{}: {error}", summary.display()))?;
    let readmes = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/README.md",
        "loadtest/README.md",
    ];
    let mut sessions: Vec<Vec<String>> = readmes.map(|page| vec![page.to_owned()]).into();
    let mut tutorial = Vec::new();
    for rest in summary.split("](").skip(1) {
        let page = rest.split(')').next().unwrap_or_default();
        let path = format!("docs/src/{page}");
        if page.starts_with("tutorial/") {
            tutorial.push(path);
        } else {
            sessions.push(vec![path]);
        }
    }
    sessions.push(tutorial);
    Ok(sessions)
}

/// Runs the commands that take seconds, in debug builds. With `all`, runs everything as written.
pub(crate) fn check(all: bool) -> Result<String, Failure> {
    let start = Instant::now();
    let (_, target) = workspace::load()?;
    // Outside of the workspace, so that `cargo new` adds no members to it. The path is always the
    // same, so that later runs find earlier builds.
    let dir = std::env::temp_dir().join("cachify-commands");
    fs::remove_dir_all(&dir).ok();
    fs::create_dir_all(dir.join("out")).map_err(|error| error.to_string())?;
    let clone = dir.join("cachify");
    run(
        "git",
        &["clone", "--quiet", ".", &clone.display().to_string()],
    )?;
    let Redis::Program(server) = redis::provide()? else {
        return Ok("left out: no Redis on this machine".into());
    };

    let (mut blocks, mut left_out, mut failures) = (0, 0, Vec::new());
    for (number, pages) in (1..).zip(sessions(&clone)?) {
        let mut session = Session {
            all,
            clone: &clone,
            out: dir.join("out").join(number.to_string()),
            server: &server,
            target: &target,
            blocks: 0,
            left_out: 0,
        };
        if let Err(failure) = session.run(&pages) {
            println!("\n{failure}");
            failures.push(failure);
        }
        blocks += session.blocks;
        left_out += session.left_out;
    }
    if !failures.is_empty() {
        return Err(format!(
            "{}\nsee {} for what was run",
            failures.join("\n"),
            dir.display()
        ));
    }
    fs::remove_dir_all(&dir).ok();
    let rest = match left_out {
        0 => String::new(),
        _ => format!(", {left_out} left out (`--all` runs most of them)"),
    };
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!(
        "{blocks} blocks of commands did what they say{rest}, in {seconds:.0} s"
    ))
}

struct Session<'a> {
    all: bool,
    clone: &'a Path,
    out: PathBuf,
    server: &'a str,
    target: &'a Path,
    blocks: usize,
    left_out: usize,
}

impl Session<'_> {
    fn run(&mut self, pages: &[String]) -> Result<(), Failure> {
        let mut script = script::Script::new(self.all);
        for path in pages {
            script.page(&Page::read(self.clone, path)?)?;
        }
        self.blocks = script.blocks;
        self.left_out = script.left_out;
        if script.blocks == 0 {
            return Ok(());
        }
        println!("\n=== {}", pages.join(" "));
        fs::create_dir_all(&self.out).map_err(|error| error.to_string())?;
        let file = self.out.join("script");
        fs::write(&file, script.text(&free_ports()?)).map_err(|error| error.to_string())?;
        let status = Command::new("bash")
            .arg(&file)
            .current_dir(self.clone)
            .env("CLONE", self.clone)
            .env("OUT", &self.out)
            .env("SERVER", self.server)
            .env("CARGO_TARGET_DIR", self.target)
            // Cargo sets these for its child processes, and they would name the wrong package.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CACHIFY_URL")
            .status()
            .map_err(|error| format!("bash: {error}"))?;
        if !status.success() {
            return Err(format!("a command of {} fails", pages.join(", ")));
        }
        let mut failures = Vec::new();
        for (place, expected) in &script.transcripts {
            let path = self.out.join(script::file_of(place));
            let printed = fs::read_to_string(&path).unwrap_or_default();
            if let Err(difference) = script::compare(expected, &printed) {
                failures.push(format!("{place}: {difference}"));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("\n"))
        }
    }
}

/// Free ports in place of those that the pages name, which another program may use.
fn free_ports() -> Result<Vec<(&'static str, String)>, Failure> {
    let listeners = script::PORTS.map(|port| (port, TcpListener::bind("127.0.0.1:0")));
    let mut ports = Vec::new();
    for (port, listener) in &listeners {
        let address = listener.as_ref().map(TcpListener::local_addr);
        let Ok(Ok(free)) = address else {
            return Err("no free port".into());
        };
        ports.push((*port, free.port().to_string()));
    }
    Ok(ports)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{page::Page, script::Script, sessions};
    use crate::workspace;

    #[test]
    fn all_commands_can_be_tried() {
        let root = workspace::root();
        let mut blocks = 0;
        for session in sessions(&root).unwrap() {
            let mut script = Script::new(true);
            for path in session {
                script.page(&Page::read(&root, &path).unwrap()).unwrap();
            }
            blocks += script.blocks;
        }
        assert!(blocks > 30, "only {blocks}");
    }
}
