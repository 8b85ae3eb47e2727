//! The requirements on every users app, and on every adapter about HTTP, tested on real processes
//! over memory and over Redis.
//!
//! An app's `tests/contract.rs` is one line:
//! `users_contract::contract!(env!("CARGO_BIN_EXE_users-axum"));`. Its `tests/http.rs` puts the
//! routes of [`probe`] behind the adapter: `users_contract::http!(serve);`.
//!
//! # Differences between the frameworks
//!
//! All answers are the same, with these exceptions:
//!
//! | what | axum | poem | warp | why |
//! |---|---|---|---|---|
//! | type of JSON | `application/json` | and `; charset=utf-8` | `application/json` | the framework's own |
//! | fields of JSON | as declared | sorted | as declared | poem-openapi makes a tree first |
//! | `detail` of a 4xx | each in the framework's words | | | |
//! | `Cache-Status` of an error | there | not there | there, except for a rejection | errors of poem and rejections of warp have no headers yet |
//! | HEAD for what is not cached | fills nothing | fills where the middleware is inside of the method | fills nothing | there poem shows a HEAD as a GET |
//! | `/users/7/`, `/users` | 404 | 404 | as without, or with, the slash | warp's paths end with or without |
//! | `/users/%37` | user 7 | user 7 | 400 | warp does not decode paths |
//! | another method than GET or HEAD on a path without a route | 404 | 404 | 405 | warp's routes reject a path and a method alike |
//! | `Allow` | `GET,HEAD,PUT` | `GET, HEAD, PUT` | `GET, HEAD, PUT` | axum writes its own |
//! | an update with a malformed user while another one runs | 226 | 4xx | 4xx | axum's layer takes the lock before the handler parses the body |
//! | routes that share one cache | the first is cached, the others bypass | the same | the key must tell them apart | warp does not say which route matched |
//! | what a handler sees of conditions and ignored cookies | nothing | nothing | what a filter extracted before the cache | the cache cannot change extracted values |
//! | body of a route with a guard argument | a `BodyLayer` reads it first | the argument reads it first | the order of the filters decides | axum's arguments cannot read a body before the last one |

// A failure here is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
pub mod cases;
pub mod http;
pub mod probe;

pub use app::{App, Launch};
pub use probe::{Answer, Probe, Setup};

/// Generates a test of each case, for most of them one over memory and one over Redis.
#[macro_export]
macro_rules! contract {
    ($program:expr) => {
        mod memory {
            $crate::contract!(@each $program, $crate::Launch::memory:
                users_are_created_read_and_updated
                what_is_not_a_user_is_a_problem
                json_may_be_typed_and_sent_in_other_ways
                h3_a_user_is_read_as_http_reads
                h1_an_absent_user_is_not_cached
                c1_a_hit_computes_nothing
                c2_a_stampede_computes_once
                c4_a_read_in_flight_does_not_outlive_an_update
                o1_a_second_update_is_told
                l2_a_second_update_waits_if_it_may
                h6_an_abandoned_read_passes_on
                h6_an_abandoned_update_frees_its_lock_in_the_end
                c12_an_abandoned_update_is_reset_after_its_write
                the_api_describes_itself
                an_update_that_does_not_commit_is_an_error
                s4_it_ends_when_asked_and_answers_first
                s4_half_a_request_does_not_keep_it_from_ending
                s4_a_second_signal_ends_it_at_once
            );
        }
        mod redis {
            $crate::contract!(@each $program, $crate::Launch::redis:
                users_are_created_read_and_updated
                what_is_not_a_user_is_a_problem
                h3_a_user_is_read_as_http_reads
                h1_an_absent_user_is_not_cached
                c1_a_hit_computes_nothing
                c2_a_stampede_computes_once
                c3_two_processes_compute_once
                c4_a_read_in_flight_does_not_outlive_an_update
                c4_a_read_in_flight_elsewhere_does_not_outlive_an_update
                c4_an_update_is_seen_by_another_process
                o1_a_second_update_is_told
                o1_a_second_update_is_told_by_another_process
                l1_a_storm_of_updates_never_overlaps
                l2_a_second_update_waits_if_it_may
                h6_an_abandoned_read_passes_on
                h6_an_abandoned_update_frees_its_lock_in_the_end
                c12_an_abandoned_update_is_reset_after_its_write
                c12_an_abandoned_update_is_reset_although_the_app_ends
                c7_l7_with_a_redis_that_hangs_reads_are_served_and_updates_refused
                c7_l7_without_redis_reads_are_served_and_updates_refused
                c7_it_starts_while_redis_is_away
                an_update_that_does_not_commit_is_an_error
                h9_a_new_database_does_not_meet_the_entries_of_an_old_one
                s4_it_ends_when_asked_and_answers_first
                s4_half_a_request_does_not_keep_it_from_ending
            );
        }
    };
    (@each $program:expr, $launch:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::cases::run($crate::cases::$case($launch($program)));
            }
        )*
    };
}

/// Generates a test of each promise about HTTP, on the routes that `serve`, an async function of a
/// [`Setup`], serves.
#[macro_export]
macro_rules! http {
    ($serve:path) => {
        /// The entry point of the tests' child processes. As a test, it does nothing.
        #[test]
        fn probe_process() {
            $crate::probe::run($serve);
        }

        mod memory {
            $crate::http!(@each $crate::Launch::memory:
                h1_what_may_be_cached_is
                h1_what_may_not_be_cached_is_not
                h1_a_key_may_tell_users_and_queries_apart
                h7_an_unsafe_method_resets_the_key_of_its_route
                h7_c12_an_abandoned_change_resets_the_key_of_its_route
                h9_hosts_and_paths_are_apart_where_the_key_names_them
                h9_hosts_are_apart_over_http2_too
                h9_two_users_are_apart_by_a_cookie_that_the_key_names
                h1_s29_cookies_are_shared_with_nobody_and_slow_for_nobody
                h2_s30_variants_are_apart_and_one_reset_clears_them
                h2_c4_a_variant_in_flight_does_not_outlive_a_reset
                h3_s31_head_is_answered_from_the_entry_and_never_fills
                h3_conditions_and_ranges_are_answered_from_the_entry
                h3_s28_a_leaders_condition_is_answered_to_nobody_else
                h3_a_reload_is_heard_where_the_route_listens
                h3_an_answer_says_how_long_it_will_be_kept
                h4_what_is_large_or_a_stream_passes_through_whole
                h5_what_is_taken_is_refused_in_the_same_words
                h6_s34_a_client_that_goes_away_passes_its_computation_on
                h6_a_detached_computation_finishes_and_fills
                h6_a_client_that_goes_away_releases_what_its_request_held
                p1_l6_a_slow_upload_costs_others_nothing
                c4_a_read_in_flight_does_not_outlive_a_reset
            );
        }

        mod redis {
            $crate::http!(@each $crate::Launch::redis:
                h1_what_may_be_cached_is
                h1_what_may_not_be_cached_is_not
                h1_a_key_may_tell_users_and_queries_apart
                h7_an_unsafe_method_resets_the_key_of_its_route
                h7_c12_an_abandoned_change_resets_the_key_of_its_route
                h9_hosts_and_paths_are_apart_where_the_key_names_them
                h9_hosts_are_apart_over_http2_too
                h9_two_users_are_apart_by_a_cookie_that_the_key_names
                h1_s29_cookies_are_shared_with_nobody_and_slow_for_nobody
                h2_s30_variants_are_apart_and_one_reset_clears_them
                h2_c4_a_variant_in_flight_does_not_outlive_a_reset
                h2_another_process_finds_the_variants_and_resets_them
                h3_s31_head_is_answered_from_the_entry_and_never_fills
                h3_conditions_and_ranges_are_answered_from_the_entry
                h3_s28_a_leaders_condition_is_answered_to_nobody_else
                h3_a_reload_is_heard_where_the_route_listens
                h3_an_answer_says_how_long_it_will_be_kept
                h4_what_is_large_or_a_stream_passes_through_whole
                h5_what_is_taken_is_refused_in_the_same_words
                h5_l7_without_redis_locks_are_refused_and_pages_served
                h6_s34_a_client_that_goes_away_passes_its_computation_on
                h6_a_detached_computation_finishes_and_fills
                h6_a_client_that_goes_away_releases_what_its_request_held
                p1_l6_a_slow_upload_costs_others_nothing
                c3_two_processes_compute_once
                c4_a_read_in_flight_does_not_outlive_a_reset
                c4_a_read_in_flight_elsewhere_does_not_outlive_a_reset
            );
        }
    };
    (@each $launch:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::cases::run($crate::http::$case($launch("")));
            }
        )*
    };
}
