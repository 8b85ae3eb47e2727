//! stand-in
use crate::{backend::BoxFuture, cachify::Inner};
use std::{sync::Arc, time::Duration};
#[derive(Debug, Default)]
pub(crate) struct Renewal;
pub(crate) trait Renewable: Send + Sync {
    fn renew<'a>(&'a self, inner: &'a Arc<Inner>) -> BoxFuture<'a, Option<Duration>>;
}
impl Renewal {
    pub(crate) fn register(
        &self,
        _inner: &Arc<Inner>,
        _first: Duration,
        _item: &Arc<dyn Renewable>,
    ) {
    }
}
