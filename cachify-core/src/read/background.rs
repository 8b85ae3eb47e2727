//! Refreshes that run in the background, so that no caller waits for them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tracing::Instrument as _;

use super::access::Access;
use super::path::{Attempt, Lead, Role};
use super::policy::{Policy, Sharing};
use super::value::Cacheable;
use crate::observe::ReadOutcome;

impl<P> Access<P> {
    /// Like [`fetch`](Self::fetch), but a value whose refresh is due is returned at once, and the
    /// refresh runs in the background.
    pub(crate) async fn fetch_or_spawn<T, E, F, Fut>(
        &self,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Cacheable,
        P: Policy<T> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut attempt = match self.seek().await {
            Ok(hit) => return Ok(hit),
            Err(attempt) => attempt,
        };
        let miss = async {
            let role = self.role(&mut attempt, sharing).await;
            // Without a runtime, the caller refreshes it.
            let spawns = self.entries.engine.background.has_runtime();
            match (role, attempt.due.clone()) {
                (Role::Lead(lead), Some(due)) if spawns => {
                    self.refresh(lead, attempt, compute, sharing);
                    Ok(due.serve())
                }
                (role, _) => self.act(role, attempt, compute, sharing).await,
            }
        };
        self.counted(Box::pin(miss).await)
    }

    /// Refreshes the entry in a task, which ends with the handle.
    fn refresh<T, E, F, Fut>(
        &self,
        lead: Lead,
        mut attempt: Attempt<T>,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) where
        T: Cacheable,
        P: Policy<T> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (entries, mut end) = self.entries.detached();
        let access = Self {
            entries,
            ..self.clone()
        };
        attempt.budget = access.budget();
        let task = async move {
            let refresh = access.lead(lead, &mut attempt, compute, sharing);
            let refresh = pin!(AssertUnwindSafe(refresh).catch_unwind());
            if let Either::Left((Err(panic), _)) = select(refresh, pin!(end.changed())).await {
                access.refresh_failed();
                drop(panic);
            }
        };
        let background = &self.entries.engine.background;
        background.spawn_counted(task.in_current_span());
    }
}
