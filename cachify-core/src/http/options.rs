//! The options of every adapter: macros write them once, so all adapters have the same.

/// The options of a cached route, on a type with a
/// `fn with(self, impl FnOnce(&mut CacheRules)) -> Self`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_cache_options {
    ($Options:ident) => {
        impl $Options {
            /// Sets the lifetime of responses. Default: the handle's default, 5 minutes unless
            /// changed.
            ///
            /// # Panics
            ///
            /// If the time is a string that cannot be parsed.
            #[track_caller]
            pub fn ttl(self, ttl: impl $crate::IntoTime<$crate::Ttl>) -> Self {
                let ttl = ttl.time();
                self.with(|rules| rules.ttl(ttl))
            }

            /// Serves a response for up to `window` after its lifetime, while it is being refreshed
            /// in the background or if its refresh fails. Default: only responses that say so
            /// themselves, for at most a day.
            ///
            /// The directives `stale-while-revalidate` and `stale-if-error` of a response shorten
            /// this time, and `must-revalidate`, `proxy-revalidate` and `s-maxage` exclude it. A
            /// refresh fails if the handler returns an error, or one of the statuses 500, 502, 503
            /// and 504. See [`CacheRules::stale`]($crate::http::CacheRules::stale).
            ///
            /// # Panics
            ///
            /// Panics if a text is not a time.
            #[track_caller]
            pub fn stale(self, window: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let window = window.time();
                self.with(|rules| rules.stale(window))
            }

            /// Sets the statuses that are cached. Default: 200, 203, 301 and 308.
            pub fn statuses(
                self,
                statuses: impl ::core::iter::IntoIterator<Item = $crate::__private::StatusCode>,
            ) -> Self {
                self.with(|rules| rules.statuses(statuses))
            }

            /// Sets the longest body that is cached, in bytes. Default: 1 MiB. Longer bodies pass
            /// through.
            pub fn limit(self, bytes: usize) -> Self {
                self.with(|rules| rules.limit(bytes))
            }

            /// Lets a handler finish after its client disconnects, so that its response is cached.
            /// Default: the handler is dropped, and a request that waits for its response takes
            /// over.
            ///
            /// At most 1000 handlers at a time do so; see
            /// [`finish_after_disconnect_up_to`](Self::finish_after_disconnect_up_to).
            pub fn finish_after_disconnect(self) -> Self {
                self.finish_after_disconnect_up_to($crate::http::CacheRules::AFTER_DISCONNECT)
            }

            /// Lets at most this many handlers at a time [finish after their clients
            /// disconnect](Self::finish_after_disconnect). Any more are dropped, and counted in
            /// `cachify_ended_with_client_total`.
            pub fn finish_after_disconnect_up_to(self, at_most: usize) -> Self {
                self.with(|rules| rules.finish_after_disconnect(at_most))
            }

            /// Honors `Cache-Control` of requests. Default: it is ignored, so a reload is an
            /// ordinary request.
            ///
            /// - `no-cache` replaces the stored response.
            /// - `max-age` and `min-fresh` replace it if it is too old.
            /// - `max-stale` accepts it for some time after its lifetime, if it is still kept.
            /// - `no-store` stores nothing.
            /// - `only-if-cached` answers with 504 if nothing is stored.
            pub fn honor_request_cache_control(self) -> Self {
                self.with(|rules| rules.honor_request_cache_control(true))
            }

            /// Caches only responses with a lifetime of their own: `s-maxage`, `max-age`,
            /// `Expires`, or a targeted field. Default: the others live for the `ttl`.
            pub fn only_explicit(self) -> Self {
                self.with(|rules| rules.only_explicit(true))
            }

            /// Declares that responses do not depend on the host. Default: a warning when requests
            /// for a second host get the responses of the first, unless the key names the host.
            pub fn same_on_every_host(self) -> Self {
                self.with($crate::http::CacheRules::same_on_every_host)
            }

            /// Ignores cookies with these names. A trailing `*` matches any suffix, and `["*"]`
            /// ignores all cookies. Default: a request with a cookie that the key does not name
            /// passes through uncached.
            ///
            /// Ignored cookies are removed before the handler runs, unless the request bypasses the
            /// cache. In warp, values that were extracted before the cache are not changed.
            pub fn ignore_cookies<S: ::core::convert::Into<::std::string::String>>(
                self,
                names: impl ::core::iter::IntoIterator<Item = S>,
            ) -> Self {
                self.with(|rules| rules.ignore_cookies(names))
            }
        }
    };
}

/// The options of a held route, on a type with a
/// `fn rules(self, impl FnOnce(&mut HoldRules<_>)) -> Self`. `$Reply` is the framework's trait for
/// responses. The options come in groups:
///
/// | group | options |
/// |---|---|
/// | `hold` | the options of all routes |
/// | `wait` | the wait, for routes whose requests can wait |
/// | `locked`, `running`, `full` | the response while a lock, once or a pool is contended |
/// | `body` | reading bodies; needs a `fn body(self, impl FnOnce(&mut BodyRules)) -> Self` |
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_hold_options {
    ($Options:ident, $Reply:ident: hold) => {
        impl $Options {
            /// Sets the time after which a lock or permit is free again if its process died.
            /// Default: the handle's `lock_ttl`, 30 s. At least 1 s. A live request renews its lock
            /// or permit.
            ///
            /// # Panics
            ///
            /// If the time is a string that cannot be parsed.
            #[track_caller]
            pub fn ttl(self, ttl: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let ttl = ttl.time();
                self.rules(|rules| rules.ttl(ttl))
            }

            /// Sets the time after which the handler is stopped, so that the next one may start.
            /// Default: 1 minute. At least 1 s.
            ///
            /// # Panics
            ///
            /// If the time is a string that cannot be parsed.
            #[track_caller]
            pub fn max_hold(self, max_hold: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let max_hold = max_hold.time();
                self.rules(|rules| rules.max_hold(Some(max_hold)))
            }

            /// Removes the time limit of the handler. A hung handler then blocks the others
            /// forever.
            pub fn no_max_hold(self) -> Self {
                self.rules(|rules| rules.max_hold(None))
            }

            /// Sets the response to all other errors, such as an unavailable backend or a lost
            /// lock. Default: a [`Problem`](crate::Problem), such as 503.
            pub fn on_error<R: $Reply>(
                self,
                answer: impl Fn($crate::Error) -> R + Send + Sync + 'static,
            ) -> Self {
                let answer = move |error| $Reply::into_response(answer(error));
                self.rules(|rules| rules.on_error(answer))
            }
        }
    };
    ($Options:ident, $Reply:ident: wait) => {
        impl $Options {
            /// Sets the longest wait of a request for its turn, first come, first served. Default:
            /// none.
            ///
            /// # Panics
            ///
            /// If the time is a string that cannot be parsed.
            #[track_caller]
            pub fn wait(self, wait: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let wait = wait.time();
                self.rules(|rules| rules.wait(wait))
            }
        }
    };
    ($Options:ident, $Reply:ident: locked) => {
        $crate::__cachify_hold_options!(
            /// Sets the response while another request holds the lock. Default: a
            /// [`Problem`](crate::Problem), 423.
            $Options, $Reply, on_locked
        );
    };
    ($Options:ident, $Reply:ident: running) => {
        $crate::__cachify_hold_options!(
            /// Sets the response while another request runs. Default: a
            /// [`Problem`](crate::Problem), 409.
            $Options, $Reply, on_locked
        );
    };
    ($Options:ident, $Reply:ident: full) => {
        $crate::__cachify_hold_options!(
            /// Sets the response while all permits are taken. Default: a
            /// [`Problem`](crate::Problem), 429.
            $Options, $Reply, on_full
        );
    };
    ($Options:ident, $Reply:ident: body) => {
        impl $Options {
            /// Sets the longest body, in bytes, that is read before a lock or permit is taken.
            /// Default: 2 MiB. A longer body is answered with 413.
            pub fn body_limit(self, bytes: usize) -> Self {
                self.body(|body| body.limit(bytes))
            }

            /// Sets the time in which a body must arrive before a lock or permit is taken. Default:
            /// 10 s. A slower body is answered with 408.
            ///
            /// # Panics
            ///
            /// If the time is a string that cannot be parsed.
            #[track_caller]
            pub fn body_time(self, time: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let time = time.time();
                self.body(|body| body.time(time))
            }

            /// Leaves the body to the handler, for long uploads. A stalled client then keeps its
            /// lock or permit until [`max_hold`](Self::max_hold) stops the handler.
            pub fn stream_body(self) -> Self {
                self.body($crate::http::BodyRules::stream)
            }
        }
    };
    ($Options:ident, $Reply:ident: $($group:ident)+) => {
        $($crate::__cachify_hold_options!($Options, $Reply: $group);)+
    };
    ($(#[$doc:meta])* $Options:ident, $Reply:ident, $on_contended:ident) => {
        impl $Options {
            $(#[$doc])*
            pub fn $on_contended<R: $Reply>(
                self,
                answer: impl Fn() -> R + Send + Sync + 'static,
            ) -> Self {
                self.rules(|rules| rules.on_contended(move || $Reply::into_response(answer())))
            }
        }
    };
}

/// The constructor and the options of a cached route whose key is a template, in a
/// `struct $Route(Arc<CacheRules>)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_cached_route {
    ($Route:ident) => {
        impl $Route {
            /// Caches under the keys of `template`, with the handle's default time to live.
            ///
            /// # Panics
            ///
            /// If the template is malformed, or has a placeholder that no part of a request
            /// fills.
            #[track_caller]
            pub fn new(cachify: &$crate::Cachify, template: &str) -> Self {
                let key = $crate::http::RequestKey::new(template);
                let rules = $crate::http::CacheRules::new(cachify, key);
                Self(::std::sync::Arc::new(rules))
            }

            /// Shares entries between routes. Default: only the first route that is seen is cached.
            /// Requests of other routes, and requests whose route the framework does not report,
            /// pass through with a warning, unless the template names `{path}`.
            ///
            /// Use it for routes with the same responses, and for a single endpoint without a
            /// router.
            pub fn same_on_every_route(self) -> Self {
                self.with($crate::http::CacheRules::same_on_every_route)
            }

            fn with(mut self, change: impl FnOnce(&mut $crate::http::CacheRules)) -> Self {
                change(::std::sync::Arc::make_mut(&mut self.0));
                self
            }
        }

        $crate::__cachify_cache_options!($Route);
    };
}

/// The constructor and the options of a held route whose key is a template, in a
/// `struct $Route(Arc<HeldRoute<Response>>)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_held_route {
    ($Route:ident, $Reply:ident: lock) => {
        impl $Route {
            /// Locks the keys of `template` while the handler runs.
            ///
            /// # Panics
            ///
            /// If the template is malformed.
            #[track_caller]
            pub fn new(cachify: &$crate::Cachify, template: &str) -> Self {
                Self::holding(template, $crate::http::HoldRules::lock(cachify))
            }
        }

        $crate::__cachify_held_route!($Route, $Reply, hold wait locked body);
    };
    ($Route:ident, $Reply:ident: once) => {
        impl $Route {
            /// Runs the handler once at a time for each key of `template`.
            ///
            /// # Panics
            ///
            /// If the template is malformed.
            #[track_caller]
            pub fn new(cachify: &$crate::Cachify, template: &str) -> Self {
                Self::holding(template, $crate::http::HoldRules::once(cachify))
            }
        }

        $crate::__cachify_held_route!($Route, $Reply, hold running body);
    };
    ($Route:ident, $Reply:ident: pool) => {
        impl $Route {
            /// Makes a pool of `max` permits for each key of `template`.
            ///
            /// # Panics
            ///
            /// If the template is malformed.
            #[track_caller]
            pub fn new(cachify: &$crate::Cachify, template: &str, max: u32) -> Self {
                Self::holding(template, $crate::http::HoldRules::pool(cachify, max))
            }
        }

        $crate::__cachify_held_route!($Route, $Reply, hold wait full body);
    };
    ($Route:ident, $Reply:ident, $($options:ident)+) => {
        impl $Route {
            #[track_caller]
            fn holding(template: &str, rules: $crate::http::HoldRules<Response>) -> Self {
                let key = $crate::http::RequestKey::new(template);
                Self(::std::sync::Arc::new($crate::http::HeldRoute::new(key, rules)))
            }

            fn rules(
                mut self,
                change: impl FnOnce(&mut $crate::http::HoldRules<Response>),
            ) -> Self {
                change(&mut ::std::sync::Arc::make_mut(&mut self.0).rules);
                self
            }

            fn body(mut self, change: impl FnOnce(&mut $crate::http::BodyRules)) -> Self {
                change(&mut ::std::sync::Arc::make_mut(&mut self.0).body);
                self
            }
        }

        $crate::__cachify_hold_options!($Route, $Reply: $($options)+);
    };
}

/// An adapter's own error type, for which it can implement the traits of its framework.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_problem {
    ($(#[$doc:meta])* $Problem:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $Problem(pub $crate::Error);

        impl ::core::convert::From<$crate::Error> for $Problem {
            fn from(error: $crate::Error) -> Self {
                Self(error)
            }
        }

        impl ::core::fmt::Display for $Problem {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::core::error::Error for $Problem {
            fn source(&self) -> ::core::option::Option<&(dyn ::core::error::Error + 'static)> {
                ::core::error::Error::source(&self.0)
            }
        }
    };
}
