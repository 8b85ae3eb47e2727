//! `cargo run -p users-poem -- --help`

use clap::Parser;

/// The users API on poem.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: users::Flags,
}

#[tokio::main]
async fn main() -> Result<(), users_poem::BoxError> {
    users::log_to_stderr();
    users_poem::serve(Cli::parse().flags, users::shutdown()?).await
}
