//! The handle that a macro without `with = ..` uses: that of the scope, else the global one.

use std::future::Future;
use std::sync::OnceLock;

use crate::{Cachify, Error, ErrorKind};

static GLOBAL: OnceLock<Cachify> = OnceLock::new();

tokio::task_local! {
    static SCOPE: Cachify;
}

/// Makes `cachify` the handle of every function whose macro names none, in the whole program.
///
/// Tests that run side by side want a handle each: see [`Cachify::scope`].
///
/// # Errors
///
/// [`Configuration`](ErrorKind::Configuration) when called a second time: the first handle stays.
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
            "`init` was called before, and its handle stays: call it once, or use `Cachify::scope` for a part of the program",
        )
    })
}

impl Cachify {
    /// Runs `future` with this as the handle of every function whose macro names none.
    ///
    /// It holds for `future` and all that it awaits, but not for tasks that it spawns: give those a
    /// scope of their own.
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
    /// As safe as `future`.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        SCOPE.scope(self.clone(), future)
    }

    /// Runs `work` as [`scope`](Self::scope) does: for functions that are not async.
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

    /// Returns the handle of the [`scope`](Self::scope) that this runs in, else the one given to
    /// [`init`].
    pub fn current() -> Option<Self> {
        with(Self::clone)
    }
}

/// Gives `work` the current handle without a clone; `None` if there is none.
fn with<T>(work: impl FnOnce(&Cachify) -> T) -> Option<T> {
    let mut work = Some(work);
    let scoped = SCOPE.try_with(|cachify| work.take().map(|work| work(cachify)));
    match scoped {
        Ok(output) => output,
        Err(_) => Some(work?(GLOBAL.get()?)),
    }
}

/// Gives `work` the current handle.
///
/// # Panics
///
/// If there is none.
pub(crate) fn with_current<T>(work: impl FnOnce(&Cachify) -> T) -> T {
    with(work).unwrap_or_else(|| {
        panic!(
            "no cachify handle: call `init(cachify)` when the program starts, run this inside of `cachify.scope(..)` \
             (a spawned task does not inherit one), or name a handle in the macro: `with = ..`"
        )
    })
}
