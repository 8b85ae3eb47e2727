//! The parts of the users API that don't depend on a framework: users, their database, the command
//! line, and the infrastructure of a server. The cache and the locks are in the apps.

mod ending;
mod flags;
mod model;
mod problem;
mod store;
mod telemetry;

pub use ending::{Ending, Updates, exit};
pub use flags::Flags;
pub use model::{Invalid, NewUser, User, UserId};
pub use problem::{BODY_TIME, BodyProblems, LockProblems, PathProblems, Problem, allowed};
pub use store::{OpenError, Store, StoreError};
pub use telemetry::{announce, listen, log_to_stderr, render_metrics};
