//! The tokio runtime that a call runs on.

use tokio::runtime::Handle;

use crate::{Error, ErrorKind};

#[cfg(feature = "blocking")]
pub(crate) mod blocked;

/// Returns the runtime that the caller runs on. Without this check, a timer would panic outside a
/// runtime.
pub(crate) fn current() -> Result<Handle, Error> {
    Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Configuration,
            "cachify was called outside of a tokio runtime; call it from a task or inside of \
             `Runtime::block_on`, or use feature `blocking` (`blocking::block_on`)",
        )
    })
}
