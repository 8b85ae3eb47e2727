//! The machine, and the versions of what was measured.

use std::process::Command;

use crate::schema::{Machine, Versions};

/// The packages that this build was made of.
const LOCKED: &str = include_str!("../../Cargo.lock");

pub(crate) fn machine() -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let cpu = cpu.or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]));
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.and_then(|it| it.split(' ').next()?.parse::<f64>().ok());
    let kernel = said("uname", &["-sr"]);
    let system = field(&read("/etc/os-release").replace('=', ":"), "PRETTY_NAME");
    let system = [system.map(|it| it.replace('"', "")), kernel];
    Machine {
        cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: (memory.unwrap_or_default() / 1024.0 / 102.4).round() / 10.0,
        system: system.into_iter().flatten().collect::<Vec<_>>().join(", "),
    }
}

pub(crate) fn versions() -> Versions {
    let frameworks = ["axum", "poem", "warp", "goose", "tokio"];
    Versions {
        cachify: env!("CARGO_PKG_VERSION").to_owned(),
        rustc: env!("LOADTEST_RUSTC").to_owned(),
        commit: commit(),
        frameworks: frameworks.into_iter().filter_map(locked).collect(),
        ..Versions::default()
    }
}

fn locked(name: &str) -> Option<(String, String)> {
    let (_, package) = LOCKED.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    let (version, _) = package.split_once('"')?;
    Some((name.to_owned(), version.to_owned()))
}

/// Of the sources, where they still are.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let here = ["-C", env!("CARGO_MANIFEST_DIR")];
        said("git", &[&here, arguments].concat())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let dirty = if changes.is_empty() { "" } else { "+dirty" };
    Some(commit + dirty)
}

/// Returns the output of a program, if there is one and it succeeded.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}
