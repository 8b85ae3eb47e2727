//! The current handle, which macros without `with = ..` use: the handle of the scope, or else the
//! global one.

use std::future::Future;
use std::sync::OnceLock;

use crate::{Cachify, Error, ErrorKind};

static GLOBAL: OnceLock<Cachify> = OnceLock::new();

tokio::task_local! {
    static SCOPE: Cachify;
}

/// Makes `cachify` the handle of every function in the program whose macro does not name one.
///
/// Tests that run in parallel should use a handle each; see [`Cachify::scope`].
///
/// # Errors
///
/// [`Configuration`](ErrorKind::Configuration) if called a second time; the first handle stays.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, ErrorKind};
///
/// cachify_core::init(Cachify::memory())?;
/// let again = cachify_core::init(Cachify::memory());
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::Configuration);
/// # Ok::<(), cachify_core::Error>(())
/// ```
pub fn init(cachify: Cachify) -> Result<(), Error> {
    GLOBAL.set(cachify).map_err(|_| {
        Error::new(
            ErrorKind::Configuration,
            "`init` was called before, and its handle stays: call it once, or use \
             `Cachify::scope` for a part of the program",
        )
    })
}

impl Cachify {
    /// Runs `future` with this handle as the current one: the handle of every function whose macro
    /// does not name one.
    ///
    /// The scope covers `future` and everything it awaits, but not the tasks that it spawns; give
    /// those a scope of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::Cachify;
    ///
    /// #[tokio::main]
    /// async fn main() {
    ///     let inside = Cachify::memory().scope(async { Cachify::current() }).await;
    ///     assert!(inside.is_some());
    ///     assert!(Cachify::current().is_none());
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As for `future`.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        SCOPE.scope(self.clone(), future)
    }

    /// Runs `work` with this handle as the current one. This is [`scope`](Self::scope) for
    /// functions that are not async.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::Cachify;
    ///
    /// assert!(Cachify::memory().sync_scope(|| Cachify::current().is_some()));
    /// ```
    pub fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        SCOPE.sync_scope(self.clone(), work)
    }

    /// Returns the current handle: the one of the surrounding [`scope`](Self::scope), or else the
    /// one given to [`init`].
    pub fn current() -> Option<Self> {
        with(Self::clone)
    }
}

/// Calls `work` with the current handle, without a clone. Returns `None` if there is no handle.
fn with<T>(work: impl FnOnce(&Cachify) -> T) -> Option<T> {
    let mut work = Some(work);
    let scoped = SCOPE.try_with(|cachify| work.take().map(|work| work(cachify)));
    match scoped {
        Ok(output) => output,
        Err(_) => Some(work?(GLOBAL.get()?)),
    }
}

/// Calls `work` with the current handle.
///
/// # Panics
///
/// If there is no current handle.
pub(crate) fn with_current<T>(work: impl FnOnce(&Cachify) -> T) -> T {
    with(work).unwrap_or_else(|| {
        panic!(
            "no cachify handle: call `init(cachify)` when the program starts, run this inside \
             `cachify.scope(..)` (a spawned task does not inherit the scope), or name a handle in \
             the macro: `with = ..`"
        )
    })
}
