//! The hard limit of a computation.

use std::future::Future;

use super::policy::HardLimitOf;
use crate::{Error, ErrorKind, Key};

/// Ends a computation that takes longer than its hard limit.
pub(super) async fn within<T, E>(
    limit: Option<HardLimitOf<E>>,
    key: &Key,
    computation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(HardLimitOf { limit, error }) = limit else {
        return computation.await;
    };
    let in_time = tokio::time::timeout(limit, computation).await;
    in_time.unwrap_or_else(|_| {
        let message = format!("the computation was ended after its hard limit of {limit:?}");
        let timeout = Error::new(ErrorKind::Timeout, message);
        Err(error(timeout.with_template(key.template())))
    })
}
