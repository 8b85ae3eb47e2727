//! The workspace's own commands: `cargo xtask`.
#![allow(clippy::print_stdout)]

mod docker;
mod lint;
mod redis;
mod run;
mod test;
mod workspace;

use std::process::ExitCode;

use run::{Failure, Step, Steps};

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]    Run every test of the workspace, doctests included, against a real Redis that is found or fetched.
                 With ARGS, run `cargo test ARGS` with that Redis: `cargo xtask test -p cachify-core l1_`.
  lint           Formatting, clippy, docs, every feature alone; and deny, machete, semver-checks where installed.
  ci             lint, then test.
  redis-image    Build a Docker image from this machine's Redis, for machines that reach no registry.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match command(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(args: &[String]) -> Result<(), Failure> {
    // `cargo xtask` works from any directory of the workspace.
    std::env::set_current_dir(workspace::root()).map_err(|error| error.to_string())?;
    let (name, rest) = args
        .split_first()
        .map_or(("", args), |(name, rest)| (name.as_str(), rest));
    if name != "test" && !rest.is_empty() {
        return Err(format!("`{name}` takes no arguments\n\n{HELP}"));
    }
    match name {
        "test" if !rest.is_empty() => test::some(rest),
        "test" => test::all().map(|summary| println!("\n{summary}")),
        "lint" => steps(&[lint::STEPS]),
        "ci" => steps(&[lint::STEPS, &[("test", test::all)]]),
        "redis-image" => docker::build().map(|image| println!("{image}")),
        "" | "help" | "-h" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("there is no `{unknown}`\n\n{HELP}")),
    }
}

fn steps(groups: &[&[Step]]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    for group in groups {
        steps.run(group)?;
    }
    println!("\n{}", steps.table());
    Ok(())
}
