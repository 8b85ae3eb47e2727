//! Temporary folders, which a run that is killed leaves behind and the next run removes.

use std::io;
use std::path::Path;

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

const PREFIX: &str = "loadtest-";

/// A folder that is gone when it is dropped. Its name tells the process that it belongs to.
pub(crate) fn folder() -> io::Result<TempDir> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir()
}

/// Removes the folders of processes that are gone.
pub(crate) fn sweep() {
    sweep_in(&std::env::temp_dir());
}

fn sweep_in(parent: &Path) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner);
        if owner.is_some_and(|owner| test_kill_process(owner) == Err(rustix::io::Errno::SRCH)) {
            // Another run may be removing it as well.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn owner(name: &str) -> Option<Pid> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let (dead, alive) = (dead.id(), std::process::id());
        let theirs = format!("loadtest-{dead}-x");
        let kept = [
            format!("loadtest-{alive}-x"),
            "loadtest-report".to_owned(),
            format!("other-{dead}-x"),
        ];
        for name in kept.iter().chain([&theirs]) {
            std::fs::create_dir_all(parent.path().join(name).join("inner")).unwrap();
        }
        sweep_in(parent.path());
        assert!(!parent.path().join(theirs).exists());
        for name in kept {
            assert!(parent.path().join(&name).exists(), "{name}");
        }
    }
}
