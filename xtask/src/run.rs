use std::fmt::Write as _;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A failure in words.
pub(crate) type Failure = String;

/// A step of a longer run: its name, and its work, which returns a remark for the summary.
pub(crate) type Step = (&'static str, fn() -> Result<String, Failure>);

/// Runs a command with its output on the terminal.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<(), Failure> {
    run_with(program, args, &[])
}

/// Runs a command with environment variables, and its output on the terminal.
pub(crate) fn run_with(program: &str, args: &[&str], envs: &[(&str, &str)]) -> Result<(), Failure> {
    let line = announce(program, args);
    let status = Command::new(program)
        .args(args)
        .envs(envs.iter().copied())
        .status()
        .map_err(|error| format!("{line}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}"))
    }
}

/// Prints the command, and returns it.
pub(crate) fn announce(program: &str, args: &[&str]) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    let line = format!("{name} {}", args.join(" "));
    println!("\n$ {line}");
    line
}

/// Returns the output of a command that succeeds within `limit`, or `None` if it fails, hangs or
/// does not exist.
pub(crate) fn ask(program: &str, args: &[&str], limit: Duration) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let end = Instant::now() + limit;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > end {
            child.kill().ok();
            child.wait().ok();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let text = reader.join().ok()?.ok()?;
    child.wait().ok()?.success().then_some(text)
}

/// Returns whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    on_path(program).is_some()
}

/// Looks for a program on the `PATH`.
pub(crate) fn on_path(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .map(|file| file.display().to_string())
}

/// Steps that are timed and summarized. The first failure ends them.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<(&'static str, Duration, Result<String, Failure>)>,
}

impl Steps {
    pub(crate) fn run(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for (name, work) in steps {
            println!("\n=== {name}");
            let start = Instant::now();
            let result = work();
            let failure = result.as_ref().err().map(|why| format!("{name}: {why}"));
            self.rows.push((name, start.elapsed(), result));
            if let Some(failure) = failure {
                println!("\n{}", self.table());
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Returns one line for each step, with its time and outcome.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for (name, time, result) in &self.rows {
            let remark = match result {
                Ok(remark) if remark.is_empty() => "ok",
                Ok(remark) => remark,
                Err(_) => "FAILED",
            };
            let _ = writeln!(table, "{name:<10} {:>6.1} s  {remark}", time.as_secs_f64());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::{Steps, ask};
    use std::time::Duration;

    #[test]
    fn asking_takes_success_only_and_no_longer_than_allowed() {
        let long = Duration::from_secs(10);
        assert_eq!(ask("echo", &["hello"], long).as_deref(), Some("hello\n"));
        assert_eq!(ask("sh", &["-c", "echo no; exit 1"], long), None);
        assert_eq!(ask("no-such-program", &[], long), None);
        assert_eq!(ask("sleep", &["600"], Duration::from_millis(50)), None);
    }

    #[test]
    fn the_first_failing_step_ends_the_run() {
        let mut steps = Steps::default();
        let result = steps.run(&[
            ("one", || Ok("fine".into())),
            ("two", || Err("broken".into())),
            ("three", || unreachable!("not after a failure")),
        ]);
        assert_eq!(result, Err("two: broken".into()));
        let table = steps.table();
        assert!(
            table.contains("fine") && table.contains("FAILED"),
            "{table}"
        );
        assert!(!table.contains("three"), "{table}");
    }
}
