//! `cargo run -p users-axum -- --help`

use clap::Parser;

/// The users API on axum.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: users::Flags,
}

#[tokio::main]
async fn main() -> Result<(), users_axum::BoxError> {
    users::log_to_stderr();
    users_axum::serve(Cli::parse().flags, users::shutdown()?).await
}
