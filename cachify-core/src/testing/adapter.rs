//! The conformance suite for adapters: a test of each promise about HTTP, over real sockets.
//!
//! [`adapter_conformance!`](crate::adapter_conformance) generates the tests for an adapter that
//! serves the routes below: `adapter_conformance!(ATTRIBUTE, STAGE, SERVE, layers)`. `ATTRIBUTE`
//! turns an async function into a test, `STAGE` is an expression for a [`Stage`], and `SERVE` is
//! the path of an async function that serves a [`TestApp`]. The word `layers` is optional. It adds
//! the cases for adapters that wrap a handler, as a layer does, and that therefore make keys of
//! requests and read bodies themselves.
//!
//! # Testing an adapter
//!
//! Write a function that serves the routes below with the adapter until it is dropped. The
//! [`TestApp`] has everything it needs: the listener, the handle, and the handlers. A handler
//! passes its name, the headers and the body to [`Probe::answer`], and converts the result into a
//! response of the framework:
//!
//! ```
//! use bytes::Bytes;
//! use cachify_core::testing::adapter::{Content, Probe, TestApp};
//! use http::{HeaderMap, Response};
//!
//! # struct Body;
//! # impl Body {
//! #     fn whole(_: Bytes) -> Self { Self }
//! #     fn pieces(_: cachify_core::testing::adapter::Pieces) -> Self { Self }
//! # }
//! async fn handler(probe: &Probe, name: &str, headers: HeaderMap, body: Bytes) -> Response<Body> {
//!     let answer = probe.answer(name, &headers, body).await;
//!     answer.map(|content| match content {
//!         Content::Whole(bytes) => Body::whole(bytes),
//!         Content::Stream(pieces) => Body::pieces(pieces),
//!     })
//! }
//!
//! async fn serve(app: TestApp) {
//!     // Make the routes of `app.cachify` and `app.probe` here.
//!     while let Ok((stream, _)) = app.listener.accept().await {
//!         // The server of the framework takes the connection.
//!         # drop(stream);
//!     }
//! }
//!
//! cachify_core::adapter_conformance!(tokio::test, cachify_core::testing::Stage::memory(), serve);
//! # fn main() {}
//! ```
//!
//! The adapters of this repository do this in `tests/conformance.rs`, in 200 to 300 lines. Run the
//! cases over [memory](Stage::memory) and over [Redis](Stage::redis). For features that only one
//! framework has, write further tests with a [`Server`].
//!
//! # Routes
//!
//! Each handler returns the result of [`Probe::answer`] for its name, the request's headers and its
//! body, and runs in the [scope](Cachify::scope) of the handle. All entries live for 5 minutes.
//!
//! | route | options | name of the handler |
//! |---|---|---|
//! | GET, HEAD, POST, DELETE `/page/{name}` | cached by `page-{name}` | `{name}` |
//! | GET `/query` | cached by `query-{query}` | `query` |
//! | GET `/mine` | cached by `mine-{header.authorization}` | `mine` |
//! | GET `/session` | cached by `session-{cookie.session}` | `session` |
//! | GET `/host` | cached by `host-{host}` | `host` |
//! | GET `/files/{rest}` | cached by `files-{rest}`: several segments, undecoded | `files` |
//! | GET `/listen/{name}` | cached by `listen-{name}`, honors `Cache-Control` of requests | `{name}` |
//! | GET `/detached/{name}` | cached by `detached-{name}`, finishes after its client disconnected | `{name}` |
//! | GET, HEAD `/stale/{name}` | cached by `stale-{name}`, stale for up to a minute | `{name}` |
//! | GET `/missing/{name}` | cached by `missing-{name}`, status 404 as well | `{name}` |
//! | GET `/small/{name}` | cached by `small-{name}`, up to 10 bytes | `{name}` |
//! | PUT `/plain/{name}` | none | `{name}` |
//! | PUT `/lock/{name}` | lock `hold-{name}` | `{name}` |
//! | PUT `/once/{name}` | once `hold-{name}` | `{name}` |
//! | PUT `/pool/{name}` | pool `hold-{name}` of 2 | `{name}` |
//! | PUT `/patient/{name}` | lock `hold-{name}`, waits for a minute | `{name}` |
//! | PUT `/short/{name}` | lock `hold-{name}` with a time to live of 1 s | `{name}` |
//! | PUT `/streamed/{name}` | lock `hold-{name}`, held for at most 1 s, the handler reads the body | `{name}` |
//! | PUT `/replaced/lock/{name}` | lock `hold-{name}` with a time to live of 1 s, other answers | `{name}` |
//! | PUT `/replaced/once/{name}` | once `hold-{name}`, other answers | `{name}` |
//! | PUT `/replaced/pool/{name}` | pool `hold-{name}` of 1, other answers | `{name}` |
//! | PUT `/guard/lock/{name}` | the handler has the lock `hold-{name}` as an argument | `{name}` |
//! | PUT `/guard/once/{name}` | the handler has the guard of once `hold-{name}` as an argument | `{name}` |
//! | PUT `/guard/pool/{name}` | the handler has a permit of pool `hold-{name}` of 2 as an argument | `{name}` |
//! | PUT `/own/{kind}/{name}` | once `hold-{name}`, other answers; calls [`Probe::own`] and returns its error | |
//!
//! Routes with "other answers" answer contention with the status 226 and the body `busy`, and other
//! errors with 502 and [`ErrorKind::as_str`](crate::ErrorKind::as_str). Bodies are read before a
//! lock or permit is acquired, even if it is an argument of the handler. The word `layers` requires
//! more routes:
//!
//! | route | options | name of the handler |
//! |---|---|---|
//! | GET `/paged` | cached by `paged-{query.page}` | `paged` |
//! | GET `/users/{name}`, `/orders/{name}` | both cached by one layer of `row-{name}` | the path |
//! | GET `/nested/a/{name}`, `/nested/b/{name}` | both cached by one layer of `path-{path}`, inside of a nested router | `{name}` |
//! | PUT `/unfilled/query`, `/unfilled/header`, `/unfilled/path` | locks `x-{query.page}`, `x-{header.x-tenant}`, `x-{other}` | `unfilled` |
//! | PUT `/limited/{name}` | pool `hold-{name}` of 1, reads 100 bytes for up to 500 ms | `{name}` |
//! | PUT `/item/{id}` | the handler has the lock of a typed key as an argument, with the fields `id: u64` and `part: String`; returns `{id} {part}` | |
//!
//! # Differences between adapters
//!
//! | | axum | poem | warp |
//! |---|---|---|---|
//! | cases of `layers` | all | all | none: filters make keys, read bodies and reject requests without a part of the key |
//! | routes that share one cache | the first is cached, the others bypass | the same | the key must tell them apart: warp does not say which route matched |
//! | conditions and ignored cookies that a handler sees | none | none | those that a filter extracted before the cache |
//! | `Cache-Status` of an error | present | none: errors have no headers yet | present, except for a rejection |
//! | HEAD of an uncached page | fills nothing | fills if the middleware is inside the method, since poem shows it as a GET | fills nothing |
//! | body of a route with a guard argument | a `BodyLayer` reads it first | the argument reads it first | the order of the filters decides |
//! | `Content-Length` of a HEAD miss | as of GET | none: poem removes the body | as of GET |
//! | trailers | kept; tested without a server, since HTTP/1.1 drops them | the same | none |

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::Stage;
use crate::Cachify;

mod limit;
mod probe;
mod server;

pub use self::probe::{Content, Pieces, Probe};
pub use self::server::{Answer, Call, Server};

/// Generates a test of each promise about HTTP for an adapter; see
/// [`testing::adapter`](crate::testing::adapter).
#[macro_export]
macro_rules! adapter_conformance {
    ($attribute:meta, $stage:expr, $serve:path) => {
        $crate::adapter_conformance! { @list @test $attribute, $stage, $serve }
    };
    ($attribute:meta, $stage:expr, $serve:path, layers) => {
        $crate::adapter_conformance! { @list @test $attribute, $stage, $serve }
        $crate::adapter_conformance! { @layers @test $attribute, $stage, $serve }
    };
    // The only list of the cases. Only the cases listed here are exported, so the compiler reports
    // a missing one as dead code.
    (@list $($to:tt)*) => {
        $crate::adapter_conformance! { $($to)*;
            kept {
                h1_what_may_be_cached_is
                h1_what_may_not_be_cached_is_not
                h1_a_key_may_tell_users_and_queries_apart
                h1_other_methods_pass_through_with_their_bodies
                h1_s29_cookies_are_shared_with_nobody_and_slow_for_nobody
                h7_an_unsafe_method_resets_the_key_of_its_route
                h7_c12_an_abandoned_change_resets_the_key_of_its_route
                h9_hosts_and_paths_are_apart_where_the_key_names_them
                h9_hosts_are_apart_over_http2_too
                h9_two_users_are_apart_by_a_cookie_that_the_key_names
                c4_a_reset_is_seen_by_the_route
                h4_what_is_large_or_a_stream_passes_through_whole
                h4_a_stream_that_announces_its_length_is_stored
                h4_a_stream_passes_through_as_it_comes
                h4_a_body_that_breaks_off_breaks_off_for_the_client_too
            }
            answers {
                h3_s31_head_is_answered_from_the_entry_and_never_fills
                h3_conditions_and_ranges_are_answered_from_the_entry
                h3_s28_a_leaders_condition_is_answered_to_nobody_else
                h3_a_reload_is_heard_where_the_route_honors_it
                h3_an_answer_says_how_long_it_will_be_kept
                c6_forged_framing_splits_no_response
            }
            vary {
                h2_s30_variants_are_apart_and_one_reset_clears_them
                h2_c4_a_variant_in_flight_does_not_outlive_a_reset
                h2_another_process_finds_the_variants_and_resets_them
            }
            stale {
                c9_h3_a_stale_response_is_served_while_one_process_refreshes
                c9_s9_a_failure_is_answered_with_the_stale_response_until_a_reset
                c9_c4_a_refresh_does_not_outlive_a_reset
                c9_h3_head_and_conditions_are_answered_from_a_stale_response
            }
            flights {
                c2_requests_at_once_are_one_call
                c3_two_processes_compute_once
                h6_s34_a_client_that_goes_away_passes_its_computation_on
                h6_a_computation_finishes_and_fills_after_a_disconnect
                c4_a_read_in_flight_does_not_outlive_a_reset
                c4_a_read_in_flight_elsewhere_does_not_outlive_a_reset
            }
            holds {
                h5_what_is_taken_is_refused_in_the_same_words
                h5_each_refusal_can_be_replaced
                h5_l7_without_its_backend_locks_are_refused_and_pages_served
                h5_what_was_held_is_given_back_before_the_answer
                h6_a_client_that_goes_away_releases_what_its_request_held
                l2_a_route_waits_as_long_as_it_says
                l4_a_route_that_loses_its_lock_stops_the_handler
                p1_l6_a_slow_upload_costs_others_nothing
                l3_p1_a_streamed_upload_is_bounded_by_max_hold
                h5_o1_an_error_of_the_handlers_own_lock_is_its_answer
                scope_is_the_handle_of_each_request
            }
            guards {
                h5_a_guard_is_refused_where_it_is_taken
                h5_a_guard_is_held_until_the_handler_is_done
                k3_a_guard_excludes_the_layers_of_its_key
            }
        }
    };
    (@layers $($to:tt)*) => {
        $crate::adapter_conformance! { $($to)*;
            layers {
                h1_a_request_that_does_not_fill_the_key_passes_through
                h3_s28_a_handler_sees_no_condition
                h5_a_request_that_does_not_fill_the_key_is_refused
                h5_a_path_that_is_not_utf8_is_the_clients_mistake
                h5_what_makes_no_typed_key_is_the_clients_mistake
                h9_one_layer_over_several_routes_answers_one_of_them
                h9_the_path_of_a_nested_route_is_whole
                p1_l6_a_stalled_or_long_upload_is_refused
            }
        }
    };
    (@export; $($file:ident { $($case:ident)* })*) => {
        $(pub use self::$file::{$($case),*};)*
    };
    (@test $attribute:meta, $stage:expr, $serve:path; $($file:ident { $($case:ident)* })*) => {
        $($(
            #[$attribute]
            async fn $case() {
                let adapter = $crate::testing::adapter::Adapter::new($stage, $serve);
                $crate::testing::adapter::cases::$case(&adapter).await;
            }
        )*)*
    };
}

#[doc(hidden)]
pub mod cases;

/// The parts of an app that an adapter serves during a test.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestApp {
    /// The source of connections.
    pub listener: TcpListener,
    /// The handle of all routes.
    pub cachify: Cachify,
    /// The handlers.
    pub probe: Probe,
}

/// An adapter and the backend that it is tested over.
#[derive(Clone)]
pub struct Adapter {
    stage: Stage,
    serve: Serve,
}

type Serve = Arc<dyn Fn(TestApp) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Adapter {
    /// Creates an adapter. `serve` serves the routes until it is dropped.
    pub fn new<F>(stage: Stage, serve: impl Fn(TestApp) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Serve = Arc::new(move |app| Box::pin(serve(app)));
        Self { stage, serve }
    }

    /// Starts an app with a handle of its own, which acts as another process.
    async fn start(&self) -> App {
        self.start_over(self.stage.handle()).await
    }

    async fn start_over(&self, cachify: Cachify) -> App {
        let probe = Probe::default();
        let serve = |listener| {
            (self.serve)(TestApp {
                listener,
                cachify: cachify.clone(),
                probe: probe.clone(),
            })
        };
        App {
            server: Server::start(serve).await,
            cachify,
            probe,
        }
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").finish_non_exhaustive()
    }
}

/// A running app.
struct App {
    server: Server,
    cachify: Cachify,
    probe: Probe,
}
