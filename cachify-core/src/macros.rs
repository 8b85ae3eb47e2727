//! The macros, with what they do told where their examples can run.

/// Renders a [`Key`](crate::Key): a template whose placeholders are filled as in `format!`, checked
/// when it is compiled.
///
/// A placeholder takes the value of that name where the macro stands, or the expression given for
/// it. `{order.id}` takes a field. What a template may say, and why different values never make the
/// same key, is told at [`KeyTemplate`](crate::KeyTemplate).
///
/// # Examples
///
/// ```
/// use cachify_core::key;
///
/// struct Order {
///     id: u32,
/// }
///
/// let user_id = 7;
/// let order = Order { id: 3 };
/// assert_eq!(key!("read_user-{user_id}").as_str(), "read_user-7");
/// assert_eq!(key!("order-{order.id}").as_str(), "order-3");
/// assert_eq!(key!("list-{page}", page = 1 + 1).as_str(), "list-2");
/// ```
#[doc(inline)]
pub use cachify_macros::key;

/// Makes a struct with named fields a [`CacheKey`](trait@crate::CacheKey):
/// `#[key("update-user-{user_id}")]` says which of its fields make the key.
///
/// # Examples
///
/// ```
/// use cachify_core::CacheKey;
///
/// #[derive(CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// assert_eq!(UpdateUser { user_id: 7 }.key().as_str(), "update-user-7");
/// ```
#[doc(inline)]
pub use cachify_macros::CacheKey;

/// Caches what a function returns, under a key made of its arguments.
///
/// A `Result` caches only its `Ok`; any other value, `None` included, is cached as it is. An error
/// goes to all who waited for it where it is `Clone + Send + Sync + 'static`. Everything else is as
/// with [`Cached`](crate::Cached): one computation for all callers, and none that fails because the
/// backend is away.
///
/// The type must write all of its fields with serde, or a hit over Redis lacks some; see
/// [`Cacheable`](crate::Cacheable#types-that-drop-fields).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The key's template. A placeholder names a parameter, a field of one (`{order.id}`) or a name in a parameter's pattern (`Path(user_id): Path<i64>`). | required |
/// | `page = page.unwrap_or(1)` | The value of the placeholder `{page}`: an expression that may use the arguments, as in [`key!`](macro@crate::key). It may not take what the body needs: `name.as_deref()`, not `name`. A placeholder that has the name of an option cannot be given one. | the parameter of that name |
/// | `ttl = "5m"` | How long a value lives: a whole number of `ms`, `s`, `m`, `h` or `d` in quotes, `300` (seconds), `"never"`, or an expression of what [`Cached::ttl`](crate::Cached::ttl) takes. | the handle's `default_ttl`: 5 minutes |
/// | `ttl_with = \|value\| ..` | Decides it by the value, instead of `ttl`. | |
/// | `cache_if = \|value\| ..` | Stores only values for which it holds. | all are stored |
/// | `jitter = 0.1` | Shortens each life by a random share of up to this much, from `0.0` to `1.0`. | `0.0` |
/// | `with = state.cachify` | The handle, an expression that may use the arguments. | that of the [scope](crate::Cachify::scope), else of [`init`](crate::init()); without either, the function panics |
/// | `companion = name` | Calls the companions by another name; `none` leaves them out, as a trait's methods must. | the function's name |
/// | `method` | Says of an associated function without `self` that it is one. | |
/// | `crate = "path"` | Where cachify is. | the cachify crate in your `Cargo.toml`; with several, an adapter before the core: name one if that is optional or for tests only |
///
/// # Companions
///
/// `reset`, `set` and `get` belong to a type by the name of the function, which one `use` imports
/// along with it. They take the parameters that the key names, by reference and in their order; if
/// `with` uses the arguments, the handle comes first. A parameter that an expression of the key
/// uses is taken as the function takes it: `list::reset(None)`. If the parameter is a pattern, they
/// take the value of the placeholder instead, by reference. Beside a method they are methods:
/// `find_reset(&self, ..)`. There is no `set` where `ttl`, `ttl_with`, `cache_if` or `jitter` uses
/// an argument.
///
/// # Several attributes
///
/// `#[cached]`, [`#[once]`](macro@once), [`#[locked]`](macro@locked) and
/// [`#[pooled]`](macro@pooled) can stand on one function; the first is the outermost. Their
/// companions are one set, and `reset` clears every layer, the inner one first. They have to be
/// written by their own names.
///
/// # Functions that are not async
///
/// They need feature `blocking`, see [`blocking`](crate::blocking). Their companions are not async
/// either.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, cached};
///
/// #[cached(key = "read_user-{user_id}", ttl = "5m")]
/// async fn read_user(names: &[&str], user_id: usize) -> Result<Option<String>, std::io::Error> {
///     Ok(names.get(user_id).map(|name| name.to_string()))
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     cachify_core::init(Cachify::memory())?;
///     read_user(&["Ann"], 0).await?;                       // computed
///     let name = read_user(&["Bob"], 0).await?;            // a hit
///     assert_eq!(name.as_deref(), Some("Ann"));
///
///     read_user::reset(&0).await?;
///     let name = read_user(&["Bob"], 0).await?;
///     assert_eq!(name.as_deref(), Some("Bob"));
///     Ok(())
/// }
/// ```
#[doc(inline)]
#[doc(alias("memoize", "single flight", "singleflight", "stampede", "dogpile"))]
pub use cachify_macros::cached;

/// Runs a function unless another caller is running it for the same key, in any process.
///
/// It is the [lock](crate::Cachify::lock) of its key, and never waits for it. If the lock is lost,
/// the body is cancelled at its next `.await`. What the body returns passes through as it is, an
/// error about another lock included.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The lock's key, as in [`#[cached]`](macro@cached). | required |
/// | `on_locked = expression` | What to return when another caller is running it. | an error |
/// | `on_unavailable = expression` | What to return when the backend is away; it is logged. A type that cannot report other errors (the lock was lost, the handle is not fit for locks) gets it for those too. | an error |
/// | `on_error = \|error\| ..` | Makes what to return of every [`Error`](crate::Error) that has no answer of its own. | `From<Error>` of the error type |
/// | `map_err = path` | Makes the error to return of it, or what that error is `From`: for error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | How long a run that died blocks the next one: a time as in [`#[cached]`](macro@cached), at least 1 s. A living one renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | How long a run may take at most, at least 1 s. | without end |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// An answer may use the arguments; but `on_unavailable`, `on_error` and `map_err` may be asked
/// after the body has run, so none that it takes by value.
///
/// Without `on_error` and `map_err`, errors are returned by `From<cachify_core::Error>`; a function
/// that cannot has to have `on_error`, or both `on_locked` and `on_unavailable`, or it does not
/// compile.
///
/// Below `#[cached]`, the cache stores what these options return, unless it is an `Err`.
///
/// # Companions
///
/// `is_locked` and `force_release`, as those of [`#[cached]`](macro@cached).
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, once};
///
/// #[once(key = "daily-report", ttl = "10m", on_locked = (), on_error = |e| eprintln!("report skipped: {e}"))]
/// async fn daily_report() { /* .. */ }
///
/// #[tokio::main]
/// async fn main() -> Result<(), cachify_core::Error> {
///     cachify_core::init(Cachify::memory())?;
///     daily_report().await;
///     assert!(!daily_report::is_locked().await?);
///     Ok(())
/// }
/// ```
#[doc(inline)]
pub use cachify_macros::once;

/// Runs a function under the lock of a key: for one caller at a time, in all processes.
///
/// If the lock is lost, the body is cancelled at its next `.await`, and the error is
/// [`Lost`](crate::ErrorKind::Lost). See [`Lock`](crate::Lock).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The lock's key, as in [`#[cached]`](macro@cached). | required |
/// | `wait = "2s"` | How long to wait for the lock, first come, first served: a time as in [`#[cached]`](macro@cached). | not at all |
/// | `on_locked = expression` | What to return when the lock is held, and was for as long as `wait`. | an error |
/// | `on_unavailable = expression` | What to return when the backend is away; it is logged. A type that cannot report other errors (the lock was lost, the handle is not fit for locks) gets it for those too. | an error |
/// | `on_error = \|error\| ..` | Makes what to return of every [`Error`](crate::Error) that has no answer of its own. | `From<Error>` of the error type |
/// | `map_err = path` | Makes the error to return of it, or what that error is `From`: for error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | How long a holder that died blocks the next one: a time as in [`#[cached]`](macro@cached), at least 1 s. A living one renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | How long a holder may take at most, at least 1 s. | without end |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// Without `on_error` and `map_err`, errors are returned as in [`#[once]`](macro@once). Below
/// `#[cached]`, the cache stores what these options return, unless it is an `Err`.
///
/// # Companions
///
/// `is_locked` and `force_release`, as those of [`#[cached]`](macro@cached).
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, Error, locked};
///
/// struct Order {
///     id: u32,
/// }
///
/// #[locked(key = "charge-{order.id}", wait = "2s")]
/// async fn charge(order: &Order) -> Result<u32, Error> {
///     Ok(order.id)
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     cachify_core::init(Cachify::memory())?;
///     let order = Order { id: 3 };
///     assert_eq!(charge(&order).await?, 3);
///     assert!(!charge::is_locked(&order).await?);
///     Ok(())
/// }
/// ```
#[doc(inline)]
#[doc(alias = "mutex")]
pub use cachify_macros::locked;

/// Limits how many callers of a key run a function at a time, in all processes together.
///
/// If the permit is lost, the body is cancelled at its next `.await`, and the error is
/// [`Lost`](crate::ErrorKind::Lost). See [`Pool`](crate::Pool).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The pool's key, as in [`#[cached]`](macro@cached). | required |
/// | `max = 10` | How many may run at a time: an expression of type `u32` that may use the arguments, at least 1. | required |
/// | `wait = "2s"` | How long to wait for a permit, first come, first served: a time as in [`#[cached]`](macro@cached). | not at all |
/// | `on_full = expression` | What to return when all permits are out, and were for as long as `wait`. | an error |
/// | `on_unavailable = expression` | What to return when the backend is away; it is logged. A type that cannot report other errors (the permit was lost, the handle is not fit for locks) gets it for those too. | an error |
/// | `on_error = \|error\| ..` | Makes what to return of every [`Error`](crate::Error) that has no answer of its own. | `From<Error>` of the error type |
/// | `map_err = path` | Makes the error to return of it, or what that error is `From`: for error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | How long a holder that died keeps its permit: a time as in [`#[cached]`](macro@cached), at least 1 s. A living one renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | How long a holder may take at most, at least 1 s. | without end |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// Without `on_error` and `map_err`, errors are returned as in [`#[once]`](macro@once). Below
/// `#[cached]`, the cache stores what these options return, unless it is an `Err`.
///
/// # Companions
///
/// `in_use`: the number of permits that callers hold. It takes arguments as those of [`#[cached]`](macro@cached) do.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, Error, pooled};
///
/// #[pooled(key = "vendor-{tenant}", max = 10, on_full = Ok("later"))]
/// async fn call_vendor(tenant: &str) -> Result<&'static str, Error> {
///     Ok("now")
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     cachify_core::init(Cachify::memory())?;
///     assert_eq!(call_vendor("acme").await?, "now");
///     assert_eq!(call_vendor::in_use("acme").await?, 0);
///     Ok(())
/// }
/// ```
#[doc(inline)]
#[doc(alias = "semaphore")]
pub use cachify_macros::pooled;
