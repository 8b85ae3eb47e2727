//! What every users app must do, tried on the real process over memory and over Redis.
//!
//! An app's `tests/contract.rs` is one line: `users_contract::contract!(env!("CARGO_BIN_EXE_users-axum"));`

// What fails here fails a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
pub mod cases;

pub use app::{App, Launch};

/// Makes a test of each case: of most of them one over memory and one over Redis.
#[macro_export]
macro_rules! contract {
    ($program:expr) => {
        mod memory {
            $crate::contract!(@each $program, $crate::Launch::memory:
                users_are_created_read_and_updated
                what_is_not_a_user_is_a_problem
                h1_an_absent_user_is_not_cached
                c1_a_hit_computes_nothing
                c2_a_stampede_computes_once
                c4_a_read_in_flight_does_not_outlive_an_update
                o1_a_second_update_is_told
                l2_a_second_update_waits_if_it_may
                h6_an_abandoned_update_frees_its_lock_in_the_end
                c12_an_abandoned_update_is_reset_after_its_write
                the_api_describes_itself
                s4_it_ends_when_asked_and_answers_first
            );
        }
        mod redis {
            $crate::contract!(@each $program, $crate::Launch::redis:
                users_are_created_read_and_updated
                h1_an_absent_user_is_not_cached
                c1_a_hit_computes_nothing
                c2_a_stampede_computes_once
                c4_a_read_in_flight_does_not_outlive_an_update
                c4_an_update_is_seen_by_another_process
                o1_a_second_update_is_told
                o1_a_second_update_is_told_by_another_process
                l2_a_second_update_waits_if_it_may
                h6_an_abandoned_update_frees_its_lock_in_the_end
                c12_an_abandoned_update_is_reset_after_its_write
                c7_l7_without_redis_reads_are_served_and_updates_refused
                s4_it_ends_when_asked_and_answers_first
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
