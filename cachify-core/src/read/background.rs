//! Refreshes that run in the background, so that no caller waits for them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::access::Access;
use super::path::{Attempt, Lead, Role};
use super::policy::{Policy, Sharing};
use super::stale::{Due, Refresh};
use super::value::Value;
use crate::observe::ReadOutcome;

/// The circumstances of a computation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Set if its value will be stored, unless a reset happens in between.
    #[cfg_attr(
        not(feature = "http"),
        allow(dead_code, reason = "only cached routes need it")
    )]
    pub(crate) leased: bool,
    /// Set if it runs in the background.
    pub(crate) background: bool,
}

/// The result of a refresh. `Err` has the panic of the computation. Nothing is sent if the handle
/// ended.
type Refreshed<T, E> = thread::Result<Result<(T, ReadOutcome), E>>;

impl<P> Access<P> {
    /// Like [`fetch`](Self::fetch), but a refresh runs in the background, and the caller waits for it
    /// at most for the soft limit. If `may_spawn` permits no task, the caller refreshes itself.
    pub(crate) async fn fetch_or_spawn<T, E, F, Fut>(
        &self,
        may_spawn: impl FnOnce() -> bool,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> Result<(T, ReadOutcome), E>
    where
        T: Value,
        P: Policy<T> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let compute = |background| {
            move |leased| {
                let run = Run { leased, background };
                compute(run)
            }
        };
        let mut attempt = match self.seek().await {
            Ok(hit) => return Ok(hit),
            Err(attempt) => attempt,
        };
        let miss = async {
            let role = self.role(&mut attempt, sharing).await;
            // Without a runtime, the caller refreshes the entry.
            let background = &self.entries.engine.background;
            let due = attempt.due.clone().filter(|due| due.at_once);
            match (role, due) {
                (Role::Lead(lead), Some(due)) if background.has_runtime() && may_spawn() => {
                    let refresh = self.refresh(lead, attempt, compute(true), sharing);
                    match self.refresh.soft_limit {
                        Some(limit) => self.refreshed(refresh, due, limit).await,
                        None => Ok(due.serve()),
                    }
                }
                (role, _) => self.act(role, attempt, compute(false), sharing).await,
            }
        };
        self.counted(Box::pin(miss).await)
    }

    /// Refreshes the entry in a task, which ends with the handle.
    fn refresh<T, E, F, Fut>(
        &self,
        lead: Lead,
        attempt: Attempt<T>,
        compute: F,
        sharing: Option<Sharing<E>>,
    ) -> oneshot::Receiver<Refreshed<T, E>>
    where
        T: Value,
        P: Policy<T> + Clone + Send + Sync + 'static,
        E: Send + 'static,
        F: FnOnce(bool) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (entries, mut end) = self.entries.detached();
        let access = Self {
            entries,
            refresh: Refresh {
                soft_limit: None,
                ..self.refresh
            },
            ..self.clone()
        };
        let mut attempt = attempt.passed_to(&access);
        let (sender, refreshed) = oneshot::channel();
        let task = async move {
            let refresh = access.lead(lead, &mut attempt, compute, sharing);
            let refresh = pin!(AssertUnwindSafe(refresh).catch_unwind());
            if let Either::Left((result, _)) = select(refresh, pin!(end.changed())).await {
                if result.is_err() {
                    access.refresh_failed();
                }
                // The caller may be gone.
                let _ = sender.send(result);
            }
        };
        let background = &self.entries.engine.background;
        background.spawn_counted(task.in_current_span());
        refreshed
    }

    /// Waits for a refresh. After `limit`, returns the old value instead if it is still there.
    async fn refreshed<T: Value, E>(
        &self,
        mut refresh: oneshot::Receiver<Refreshed<T, E>>,
        due: Due<T>,
        limit: Duration,
    ) -> Result<(T, ReadOutcome), E>
    where
        P: Policy<T>,
    {
        let in_time = match tokio::time::timeout(limit, &mut refresh).await {
            Ok(Ok(Ok(Ok(served)))) => return Ok(served),
            Ok(failed) => Some(failed),
            Err(_) => None,
        };
        let serve = match in_time {
            Some(_) => Due::serve_on_error,
            None => Due::serve,
        };
        if let Some(served) = self.again(&mut self.attempt(), serve).await {
            return Ok(served);
        }
        let result = match in_time {
            Some(failed) => failed,
            None => refresh.await,
        };
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The handle was closed, so nothing tells whether the entry is still there.
            Err(_) => Ok(due.serve_on_error()),
        }
    }
}
