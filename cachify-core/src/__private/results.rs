//! Joins the results of several operations.

use crate::Error;

/// Returns the first error. All operations have run.
pub fn all<const N: usize>(results: [Result<(), Error>; N]) -> Result<(), Error> {
    results.into_iter().collect()
}

/// Returns whether any operation returned `true`, or the first error. All operations have run.
pub fn any<const N: usize>(results: [Result<bool, Error>; N]) -> Result<bool, Error> {
    results
        .into_iter()
        .try_fold(false, |any, result| Ok(any | result?))
}
