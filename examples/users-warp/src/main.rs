//! `cargo run -p users-warp -- --help`

use std::process::ExitCode;

use clap::Parser;

/// The users API on warp.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: users::Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    users::log_to_stderr();
    let flags = Cli::parse().flags;
    let served = async { users_warp::serve(flags, users::Ending::on_signals()?).await };
    users::exit(served.await)
}
