//! The options of every adapter, written once: all adapters have the same options.

/// The options of a cached route, on a type with a
/// `fn with(self, impl FnOnce(&mut CacheRules)) -> Self`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_cache_options {
    ($Options:ident) => {
        impl $Options {
            /// Sets how long responses live. Default: the handle's default, 5 minutes if that was
            /// not changed.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
            #[track_caller]
            pub fn ttl(self, ttl: impl $crate::IntoTime<$crate::Ttl>) -> Self {
                let ttl = ttl.time();
                self.with(|rules| rules.ttl(ttl))
            }

            /// Which statuses are cached. Default 200, 203, 301 and 308.
            pub fn statuses(
                self,
                statuses: impl ::core::iter::IntoIterator<Item = $crate::__private::StatusCode>,
            ) -> Self {
                self.with(|rules| rules.statuses(statuses))
            }

            /// Sets the longest body that is cached, in bytes. Default 1 MiB; longer ones pass
            /// through.
            pub fn limit(self, bytes: usize) -> Self {
                self.with(|rules| rules.limit(bytes))
            }

            /// Lets a handler finish, and its response be cached, although the client went away.
            /// Default: the handler is dropped, and a request that waits for its response takes
            /// over.
            ///
            /// At most 1000 handlers run like this at a time; see
            /// [`finish_after_disconnect_up_to`](Self::finish_after_disconnect_up_to).
            pub fn finish_after_disconnect(self) -> Self {
                self.finish_after_disconnect_up_to($crate::http::CacheRules::AFTER_DISCONNECT)
            }

            /// Lets at most this many handlers at a time
            /// [finish after their clients disconnect](Self::finish_after_disconnect). Further ones
            /// are dropped, and counted in `cachify_ended_with_client_total`.
            pub fn finish_after_disconnect_up_to(self, at_most: usize) -> Self {
                self.with(|rules| rules.finish_after_disconnect(at_most))
            }

            /// Honors `Cache-Control` of requests: `no-cache` replaces the stored response,
            /// `max-age` and `min-fresh` replace it if it is too old, `no-store` stores nothing,
            /// and `only-if-cached` answers 504 if nothing is stored. Default: a reload is an
            /// ordinary request.
            pub fn honor_request_cache_control(self) -> Self {
                self.with(|rules| rules.honor_request_cache_control(true))
            }

            /// Caches only responses that say how long they are fresh: by `s-maxage`, `max-age`,
            /// `Expires`, or a targeted field. Default: the others live for the `ttl`.
            pub fn only_explicit(self) -> Self {
                self.with(|rules| rules.only_explicit(true))
            }

            /// Says that responses do not depend on the host. Default: a warning when requests for
            /// a second host get the responses of the first, unless the key names the host.
            pub fn same_on_every_host(self) -> Self {
                self.with($crate::http::CacheRules::same_on_every_host)
            }

            /// Ignores cookies with these names. A trailing `*` matches any suffix, and `["*"]`
            /// says that responses depend on no cookie. Default: a request with a cookie passes
            /// through uncached, unless the key names it.
            ///
            /// The handler of a cacheable response does not see the ignored cookies. Values that
            /// were extracted before the cache, as in warp, are not changed.
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
/// `fn rules(self, impl FnOnce(&mut HoldRules)) -> Self`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_hold_options {
    ($Options:ident) => {
        impl $Options {
            /// Sets how long a lock or permit blocks others after its process died. Default: the
            /// handle's `lock_ttl`, 30 s. At least 1 s. A live request renews its lock or permit.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
            #[track_caller]
            pub fn ttl(self, ttl: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let ttl = ttl.time();
                self.rules(|rules| rules.ttl(ttl))
            }

            /// Sets how long the handler may take before it is stopped, so that the next one may
            /// start. Default: 1 minute. At least 1 s.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
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

            /// Sets the longest body, in bytes, that is read before a lock or permit is taken.
            /// Default: 2 MiB. A longer one is answered 413.
            pub fn body_limit(self, bytes: usize) -> Self {
                self.rules(|rules| rules.body_mut().limit(bytes))
            }

            /// Sets how long a body may take to arrive before a lock or permit is taken. Default:
            /// 10 s. A slower one is answered 408.
            ///
            /// # Panics
            ///
            /// If a text is not a time.
            #[track_caller]
            pub fn body_time(self, time: impl $crate::IntoTime<::core::time::Duration>) -> Self {
                let time = time.time();
                self.rules(|rules| rules.body_mut().time(time))
            }

            /// Leaves the body to the handler, for long uploads. A stalled client then keeps its
            /// lock or permit until [`max_hold`](Self::max_hold) stops the handler.
            pub fn stream_body(self) -> Self {
                self.rules(|rules| rules.body_mut().stream())
            }
        }
    };
}

/// The options of a cached route whose key is a template, beside those of
/// `__cachify_cache_options`.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_template_options {
    ($Options:ident) => {
        impl $Options {
            /// Shares entries between routes. Default: only the first route that is seen is cached.
            /// Requests of other routes, and requests whose route the framework does not report,
            /// pass through with a warning, unless the template names `{path}`.
            ///
            /// For routes that answer alike, and for a single endpoint that no router serves.
            pub fn same_on_every_route(self) -> Self {
                self.with($crate::http::CacheRules::same_on_every_route)
            }
        }
    };
}

/// An adapter's own error, for which it can implement the traits of its framework.
#[doc(hidden)]
#[macro_export]
macro_rules! __cachify_rejection {
    ($(#[$doc:meta])* $Rejection:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $Rejection(pub $crate::Error);

        impl ::core::convert::From<$crate::Error> for $Rejection {
            fn from(error: $crate::Error) -> Self {
                Self(error)
            }
        }

        impl ::core::fmt::Display for $Rejection {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::core::error::Error for $Rejection {
            fn source(&self) -> ::core::option::Option<&(dyn ::core::error::Error + 'static)> {
                ::core::error::Error::source(&self.0)
            }
        }
    };
}
