//! Containers for the tests, even if no registry is reachable.

use std::path::Path;
use std::time::Duration;
use std::{fs, process};

use crate::run::{Failure, ask, run};

/// The image that [`build`] makes.
const OWN: &str = "cachify-redis:local";
/// The same as `redis_fixture::IMAGE`. This crate does not depend on it, to build quickly.
const OFFICIAL: &str = "redis:7.2-bookworm";

/// Returns the version of the Docker engine, if one answers.
pub(crate) fn engine() -> Option<String> {
    let format = ["version", "--format", "{{.Server.Version}}"];
    ask("docker", &format, Duration::from_secs(10)).map(|version| version.trim().to_owned())
}

/// Returns an image to test with: a local one, else the official one, else one built from `server`.
pub(crate) fn image(server: Option<String>) -> Result<String, Failure> {
    if let Ok(named) = std::env::var("CACHIFY_REDIS_IMAGE") {
        return Ok(named);
    }
    let here = |image: &&str| {
        ask(
            "docker",
            &["image", "inspect", image],
            Duration::from_secs(10),
        )
        .is_some()
    };
    if let Some(image) = [OFFICIAL, OWN].iter().copied().find(here) {
        return Ok(image.into());
    }
    match run("docker", &["pull", OFFICIAL]) {
        Ok(()) => Ok(OFFICIAL.into()),
        Err(_) => build(server),
    }
}

/// Builds an image with only a server and the libraries that it needs.
pub(crate) fn build(server: Option<String>) -> Result<String, Failure> {
    let program = server.ok_or("no Redis on this machine to make an image of")?;
    let libraries = ask("ldd", &[&program], Duration::from_secs(10))
        .ok_or_else(|| format!("`ldd {program}` fails: only a Linux machine can make an image"))?;
    let dir = std::env::temp_dir().join(format!("cachify-image-{}", process::id()));
    let result = assemble(&dir, &program, &paths(&libraries));
    fs::remove_dir_all(&dir).ok();
    result.map(|()| OWN.to_owned())
}

fn assemble(dir: &Path, program: &str, libraries: &[&str]) -> Result<(), Failure> {
    let root = dir.join("root");
    let copy = |from: &str, to: &str| {
        let to = root.join(to.trim_start_matches('/'));
        to.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::copy(from, &to))
            .map_err(|error| format!("cannot copy {from}: {error}"))
    };
    copy(program, "usr/bin/redis-server")?;
    for library in libraries {
        copy(library, library)?;
    }
    fs::create_dir_all(root.join("data")).map_err(|error| error.to_string())?;
    let dockerfile = "FROM scratch\nCOPY root /\nENV PATH=/usr/bin\nWORKDIR /data\nEXPOSE 6379\n\
                      CMD [\"redis-server\", \"--protected-mode\", \"no\"]\n";
    fs::write(dir.join("Dockerfile"), dockerfile).map_err(|error| error.to_string())?;
    run(
        "docker",
        &["build", "--tag", OWN, &dir.display().to_string()],
    )
}

/// Returns the files that `ldd` names.
fn paths(ldd: &str) -> Vec<&str> {
    ldd.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ldd_names_libraries_and_the_loader() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibm.so.6 => /lib/libm.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux.so.2 (0x00007f)\n";
        assert_eq!(
            super::paths(ldd),
            ["/lib/libm.so.6", "/lib64/ld-linux.so.2"]
        );
        assert!(super::paths("\tstatically linked\n").is_empty());
    }
}
