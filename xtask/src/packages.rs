//! Programs from the system's packages.

use std::time::Duration;

use crate::run::{ask, exists, run};

/// Installs packages if that needs no password.
pub(crate) fn install(apt: &[&str], brew: &[&str]) -> bool {
    let root = ask("id", &["-u"], Duration::from_secs(5)).is_some_and(|id| id.trim() == "0");
    let sudo = || ask("sudo", &["-n", "true"], Duration::from_secs(5)).is_some();
    let by_apt = exists("apt-get")
        && (root && apt_get(&[], apt) || !root && sudo() && apt_get(&["sudo", "-n"], apt));
    by_apt || exists("brew") && run("brew", &[&["install"], brew].concat()).is_ok()
}

fn apt_get(before: &[&str], packages: &[&str]) -> bool {
    let line = |rest: &[&str]| {
        let line = [before, rest].concat();
        run(line[0], &line[1..]).is_ok()
    };
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    line(&["apt-get", "update"]) && line(&[&install, packages].concat())
}
