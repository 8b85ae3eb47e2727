//! The commands of this workspace: `cargo xtask`.
#![allow(clippy::print_stdout)]

mod book;
mod browser;
mod circles;
mod commands;
mod docker;
mod fuzz;
mod lint;
mod packages;
mod prose;
mod redis;
mod run;
mod test;
mod weight;
mod workspace;

use std::process::ExitCode;

use run::{Failure, Step, Steps};

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]    Run every test of the workspace, doctests included, against a real Redis and a
                 real browser that are found or fetched.
                 With ARGS, run `cargo test ARGS` with that Redis:
                 `cargo xtask test -p cachify-core l1_`.
  lint           Formatting, clippy, docs, circles, prose, every feature alone, what adapters bring
                 along; and deny, machete, semver-checks where installed.
  circles [PACKAGES]
                 Report modules of a package that import one another.
  prose [PATHS]  Report doc summaries that begin with what, who, how or whether, and lines over
                 100 columns.
  package        Package what is published, and compile each package by itself.
  book           Build the book, with an mdbook that is found or fetched, and say where it is.
  commands       Run the commands of READMEs and book in a clean clone of what is committed, and
                 compare what they print. With `--all`, also those that take minutes, as they are
                 written.
  fuzz [SECONDS] Fuzz everything that reads untrusted bytes, for 60 s per target unless SECONDS
                 says otherwise.
  cold           Build each adapter from nothing, and compare the time with that of its framework.
  ci             lint, test, package, commands; and book, where there is an mdbook.
  redis-image    Build a Docker image from this machine's Redis, for machines that reach no
                 registry.";

/// The steps of `ci` after `lint`.
const CI: &[Step] = &[
    ("test", test::all),
    ("package", package),
    ("commands", || commands::check(false)),
    ("book", book::step),
];

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
    let all = name == "commands" && rest == ["--all"];
    let timed = name == "fuzz" && rest.len() == 1;
    let free = ["test", "circles", "prose"].contains(&name);
    if !free && !rest.is_empty() && !all && !timed {
        return Err(format!("`{name}` takes no arguments\n\n{HELP}"));
    }
    match name {
        "test" if !rest.is_empty() => test::some(rest),
        "test" => test::all().map(|summary| println!("\n{summary}")),
        "lint" => steps(&[lint::STEPS]),
        "ci" => steps(&[lint::STEPS, CI]),
        "circles" => circles::check(rest).map(|summary| println!("{summary}")),
        "prose" => prose::check(rest).map(|summary| println!("{summary}")),
        "package" => steps(&[&[("package", package)]]),
        "book" => book::build().map(|page| println!("\n{page}")),
        "commands" => commands::check(all).map(|summary| println!("\n{summary}")),
        "fuzz" => {
            let seconds = rest.first().map(String::as_str);
            fuzz::run_all(seconds).map(|summary| println!("\n{summary}"))
        }
        "cold" => weight::cold().map(|summary| println!("\n{summary}")),
        "redis-image" => docker::build(redis::here()?).map(|image| println!("{image}")),
        "" | "help" | "-h" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("there is no `{unknown}`\n\n{HELP}")),
    }
}

/// Packages the published crates, including changes that are not committed yet.
fn package() -> Result<String, Failure> {
    let (packages, _) = workspace::load()?;
    let mut args = vec!["package", "--allow-dirty"];
    for package in packages.iter().filter(|package| package.published) {
        args.extend(["--package", &package.name]);
    }
    run::run(workspace::cargo(), &args)?;
    Ok(String::new())
}

fn steps(groups: &[&[Step]]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    for group in groups {
        steps.run(group)?;
    }
    println!("\n{}", steps.table());
    Ok(())
}
