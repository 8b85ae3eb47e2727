//! The users API that the sample apps serve, less the framework: what a user is, where users are kept, the command line, and what
//! every server needs besides. No cache, no lock: those are the apps' business.

mod flags;
mod model;
mod problem;
mod store;
mod telemetry;

pub use flags::Flags;
pub use model::{Invalid, NewUser, User, UserId};
pub use problem::Problem;
pub use store::{Store, StoreError};
pub use telemetry::{Updates, announce, log_to_stderr, render_metrics, shutdown};
