//! The macros. They are documented here, where their examples can run.

/// Renders a [`Key`](crate::Key) from a template that is checked at compile time, with placeholders
/// as in `format!`.
///
/// A placeholder takes the value of the variable of that name, or of the expression given for it.
/// `{order.id}` takes a field. [`KeyTemplate`](crate::KeyTemplate) describes the syntax of
/// templates, and why different values never make the same key.
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

/// Implements [`CacheKey`](trait@crate::CacheKey) for a struct with named fields.
///
/// The attribute `#[key("update-user-{user_id}")]` names the fields that make the key.
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

/// Caches the return value of a function, under a key made of its arguments.
///
/// If the function returns a `Result`, only `Ok` values are cached, and errors only by `cache_err`.
/// Any other value is cached as it is, `None` included.
///
/// Concurrent callers share one computation, and no call fails because the backend is away; see
/// [`Cached`](crate::Cached). If the computation fails, all callers that waited for it get its
/// error, provided that the error type is `Clone + Send + Sync + 'static`.
///
/// The type must serialize all of its fields, or a value read from Redis lacks some; see
/// [`Cacheable`](crate::Cacheable#types-that-drop-fields).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The key template. A placeholder names a parameter, a field of a parameter (`{order.id}`), or a name in a parameter's pattern (`Path(user_id): Path<i64>`). | required |
/// | `page = page.unwrap_or(1)` | The value of the placeholder `{page}`: an expression that may use the arguments, as in [`key!`](macro@crate::key). It must not move an argument that the body needs: write `name.as_deref()`, not `name`. A placeholder with the name of an option cannot be given a value. | the parameter of that name |
/// | `ttl = "5m"` | The time to live of a value: a whole number and a unit (`ms`, `s`, `m`, `h` or `d`) in quotes, `300` (seconds), `"never"`, or an expression of a type that [`Cached::ttl`](crate::Cached::ttl) takes. | the handle's `default_ttl`: 5 minutes |
/// | `ttl_with = \|value\| ..` | Computes the time to live from the value, instead of `ttl`. | |
/// | `cache_if = \|value\| ..` | Stores only the values for which the closure returns `true`. | all values are stored |
/// | `jitter = 0.1` | Shortens each time to live by a random share of up to this much, from `0.0` to `1.0`. | `0.0` |
/// | `stale = "1h"` | The time after its time to live for which a value is [served](crate::Cached::stale) while it is refreshed, or if the refresh fails. | none |
/// | `refresh_early = 1.0` | [Refreshes](crate::Cached::refresh_early) a value before its time to live ends. | not at all |
/// | `soft_limit = "200ms"` | The [time](crate::Cached::soft_limit) that a caller waits for a refresh before it gets the old value. Requires `stale` or `refresh_early`. | see below |
/// | `hard_limit = "5s"` | The [time](crate::Cached::hard_limit) after which a computation ends with an error. The function's error must be `From<Error>`. | none |
/// | `none_ttl = "10s"` | The time to live of `None`, if the function returns an `Option` or a `Result` of an `Option`. | that of other values |
/// | `cache_err = \|error\| ..` | Also [stores](crate::Cached::cache_err) an error for as long as the closure says: it returns `Some` time to live, or `None` to store nothing. | no error is stored |
/// | `with = state.cachify` | The handle: an expression that may use the arguments. | the handle of the [scope](crate::Cachify::scope), or else of [`init`](crate::init()); without either, the function panics |
/// | `companion = name` | Gives the companions another name; `none` leaves them out, which a trait's methods require. | the function's name |
/// | `method` | Marks an associated function without `self`. | |
/// | `crate = "path"` | The path of the cachify crate. | the cachify crate in your `Cargo.toml`, an adapter before the core; name it if that crate is optional or a dev-dependency |
///
/// # Refreshes in the background
///
/// With `stale` or `refresh_early`, a value is refreshed in the background if the body can outlive
/// the call: the function is `async` and no method, its parameters are plain names of owned types
/// without generics, no option uses them, and its future is `Send`. Callers then do not wait for
/// the refresh, or only for `soft_limit`. If the body cannot outlive the call, one caller computes
/// and returns the new value, and the others get the old one.
///
/// # Companions
///
/// `reset`, `expire`, `set` and `get` are functions of a type that has the name of the function, so
/// one `use` imports both. They take the parameters that the key names, by reference and in the
/// function's order. If `with` uses the arguments, they take the handle first. A parameter that an
/// expression of the key uses is taken as the function takes it: `list::reset(None)`. If a
/// parameter is a pattern, they take the value of the placeholder instead, by reference.
///
/// The companions of a method are methods of the same type: `find_reset(&self, ..)`. There is no
/// `set` if an option that applies to values (such as `ttl` or `cache_if`) uses an argument.
///
/// # Several attributes
///
/// `#[cached]`, [`#[once]`](macro@once), [`#[locked]`](macro@locked) and
/// [`#[pooled]`](macro@pooled) can be combined on one function; the first is the outermost. They
/// share one set of companions, and `reset` resets every layer, the inner one first. Write the
/// attributes by their own names, not by those of a `use .. as ..`.
///
/// # Functions that are not async
///
/// They need the feature `blocking`; see [`blocking`](crate::blocking). Their companions are not
/// async either.
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

/// Runs a function unless another caller, in any process, is running it for the same key.
///
/// The function holds the [lock](crate::Cachify::lock) of its key while it runs, and never waits
/// for it. If the lock is lost, the body is cancelled at its next `.await`. The body's return value
/// passes through unchanged, even if it is an error about another lock.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The lock's key, as in [`#[cached]`](macro@cached). | required |
/// | `on_locked = expression` | The value to return when another caller is running the key. | an error |
/// | `on_unavailable = expression` | The value to return when the backend is away, which is logged. A return type that cannot report other errors (the lock was lost, the handle is not fit for locks) gets this value for those too. | an error |
/// | `on_error = \|error\| ..` | Turns every [`Error`](crate::Error) that no other option answers into the value to return. | `From<Error>` of the error type |
/// | `map_err = path` | Turns the [`Error`](crate::Error) into the function's error type, or into a type that it implements `From` for. For error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | The time to live of the lock: how long a run whose process died blocks the next one. A time as in [`#[cached]`](macro@cached), at least 1 s. A live run renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | The longest time that a run may take, at least 1 s. | no limit |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// The expressions may use the arguments. But `on_unavailable`, `on_error` and `map_err` may be
/// evaluated after the body has run, so they must not use an argument that the body moves.
///
/// Without `on_error` and `map_err`, errors are converted by `From<cachify_core::Error>`. If the
/// function's type has no such conversion, it needs `on_error`, or both `on_locked` and
/// `on_unavailable`; otherwise it does not compile.
///
/// Below `#[cached]`, the cache stores the values that these options return, unless they are an
/// `Err`.
///
/// # Companions
///
/// `is_locked` and `force_release`, which take the same arguments as those of
/// [`#[cached]`](macro@cached).
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, once};
///
/// #[once(
///     key = "daily-report",
///     ttl = "10m",
///     on_locked = (),
///     on_error = |e| eprintln!("report skipped: {e}")
/// )]
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

/// Runs a function under the lock of a key, for one caller at a time across all processes.
///
/// If the lock is lost, the body is cancelled at its next `.await`, and the error is
/// [`Lost`](crate::ErrorKind::Lost). See [`Lock`](crate::Lock).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The lock's key, as in [`#[cached]`](macro@cached). | required |
/// | `wait = "2s"` | How long to wait for the lock, first come, first served: a time as in [`#[cached]`](macro@cached). | no wait |
/// | `on_locked = expression` | The value to return when the lock is still held after `wait`. | an error |
/// | `on_unavailable = expression` | The value to return when the backend is away, which is logged. A return type that cannot report other errors (the lock was lost, the handle is not fit for locks) gets this value for those too. | an error |
/// | `on_error = \|error\| ..` | Turns every [`Error`](crate::Error) that no other option answers into the value to return. | `From<Error>` of the error type |
/// | `map_err = path` | Turns the [`Error`](crate::Error) into the function's error type, or into a type that it implements `From` for. For error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | The time to live of the lock: how long a dead holder blocks the next one. A time as in [`#[cached]`](macro@cached), at least 1 s. A live holder renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | The longest time that a holder may take, at least 1 s. | no limit |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// Without `on_error` and `map_err`, errors are converted as in [`#[once]`](macro@once). Below
/// `#[cached]`, the cache stores the values that these options return, unless they are an `Err`.
///
/// # Companions
///
/// `is_locked` and `force_release`, which take the same arguments as those of
/// [`#[cached]`](macro@cached).
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

/// Limits the number of callers that run a function for the same key at a time, across all
/// processes.
///
/// If the permit is lost, the body is cancelled at its next `.await`, and the error is
/// [`Lost`](crate::ErrorKind::Lost). See [`Pool`](crate::Pool).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `key = "user-{user_id}"` | The pool's key, as in [`#[cached]`](macro@cached). | required |
/// | `max = 10` | The number of callers that may run at a time: an expression of type `u32` that may use the arguments, at least 1. | required |
/// | `wait = "2s"` | How long to wait for a permit, first come, first served: a time as in [`#[cached]`](macro@cached). | no wait |
/// | `on_full = expression` | The value to return when no permit is free after `wait`. | an error |
/// | `on_unavailable = expression` | The value to return when the backend is away, which is logged. A return type that cannot report other errors (the permit was lost, the handle is not fit for locks) gets this value for those too. | an error |
/// | `on_error = \|error\| ..` | Turns every [`Error`](crate::Error) that no other option answers into the value to return. | `From<Error>` of the error type |
/// | `map_err = path` | Turns the [`Error`](crate::Error) into the function's error type, or into a type that it implements `From` for. For error types that are not yours. | `From<Error>` of the error type |
/// | `ttl = "30s"` | The time to live of a permit: how long a dead holder keeps it. A time as in [`#[cached]`](macro@cached), at least 1 s. A live holder renews it. | the handle's `lock_ttl`: 30 s |
/// | `max_hold = "10m"` | The longest time that a holder may take, at least 1 s. | no limit |
/// | `with`, `companion`, `method`, `crate` | As in [`#[cached]`](macro@cached). | |
///
/// Without `on_error` and `map_err`, errors are converted as in [`#[once]`](macro@once). Below
/// `#[cached]`, the cache stores the values that these options return, unless they are an `Err`.
///
/// # Companions
///
/// `in_use` returns the number of permits in use. It takes the same arguments as the companions of
/// [`#[cached]`](macro@cached).
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
