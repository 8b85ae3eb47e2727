//! The requirements on every users app, tested on real processes over memory and over Redis.
//!
//! An app's `tests/contract.rs` is one line,
//! `users_contract::contract!(env!("CARGO_BIN_EXE_users-axum"));`. The requirements on every
//! adapter are in `cachify_core::testing::adapter`.
//!
//! # Differences between the frameworks
//!
//! All answers are the same, with these exceptions:
//!
//! | difference | axum | poem | warp | reason |
//! |---|---|---|---|---|
//! | type of JSON | `application/json` | `application/json; charset=utf-8` | `application/json` | the framework's own |
//! | fields of JSON | as declared | sorted | as declared | poem-openapi makes a tree first |
//! | `detail` of a 4xx | each in the framework's words | | | |
//! | `Cache-Status` of an error | present | absent | present, except for a rejection | errors of poem and rejections of warp have no headers yet |
//! | `/users/7/`, `/users` | 404 | 404 | same as without, or with, the slash | warp's paths end with or without a slash |
//! | `/users/%37` | user 7 | user 7 | 400 | warp does not decode paths |
//! | another method than GET or HEAD on a path without a route | 404 | 404 | 405 | warp's routes reject a path and a method alike |
//! | `Allow` | `GET,HEAD,PUT` | `GET, HEAD, PUT` | `GET, HEAD, PUT` | axum writes its own |
//! | an update with a malformed user while another one runs | 226 | 4xx | 4xx | axum's layer takes the lock before the handler parses the body |

// A failure here is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
pub mod cases;

pub use app::{App, Launch};

/// Generates tests of all cases: most run over memory and over Redis.
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
