//! `cargo run -p users-warp -- --help`

use clap::Parser;

/// The users API on warp.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: users::Flags,
}

#[tokio::main]
async fn main() -> Result<(), users_warp::BoxError> {
    users::log_to_stderr();
    users_warp::serve(Cli::parse().flags, users::shutdown()?).await
}
