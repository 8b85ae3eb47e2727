//! The conformance suite for backends: tests of each promise. [`conformance!`](crate::conformance)
//! lists them.
//!
//! The tests sleep only where a promise is about time, and a little longer than the promised time.
//! Gates order everything else. On a paused clock the tests take no time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_imports,
    reason = "these are tests, and their names say what they test"
)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Fault, Op, Stage, waiting};
use crate::backend::SlotKind;
use crate::{Cachify, Error, ErrorKind, Key};

mod cached;
mod faults;
mod flights;
mod locks;
mod pools;
mod prefixes;
mod resets;
mod stale;

/// Generates a test of each promise: `conformance!(ATTRIBUTE, STAGE)`.
///
/// `ATTRIBUTE` turns an async function into a test, and `STAGE` is an expression for a
/// [`Stage`](crate::testing::Stage). [`testing`](crate::testing) has an example.
#[macro_export]
macro_rules! conformance {
    ($attribute:meta, $stage:expr) => {
        $crate::conformance! { @list @test $attribute, $stage }
    };
    // The only list of the cases. Only the cases listed here are exported, so the compiler reports
    // a missing one as dead code.
    (@list $($to:tt)*) => {
        $crate::conformance! { $($to)*;
            cached {
                c1_a_value_lives_for_its_ttl
                c1_some_none_and_ok_are_values
                c3_a_cold_key_is_computed_once_by_two_processes
                c3_s2_a_miss_that_was_overtaken_by_a_fill_is_a_hit
                c3_s3_who_lost_the_lease_cannot_store
                c3_a_leader_that_fails_is_followed_at_once_elsewhere
                c4_s1_no_joiner_gets_what_began_before_a_reset
                c4_s4_what_a_reset_overtook_is_not_stored
                c4_s5_a_set_overtakes_what_is_being_computed
                c4_no_ended_lease_is_revived_for_an_older_leader
                c3_a_lease_that_was_asked_for_again_is_kept_alive
                c6_a_value_of_another_type_is_replaced
                c9_an_expired_entry_is_kept_stale_and_its_lease_ends
                c12_s8_a_reset_that_was_polled_once_happens
                c12_s35_an_update_that_is_cancelled_resets
                c13_a_hit_equals_what_was_stored
            }
            flights {
                c2_s34_a_leader_cancelled_at_any_operation_is_replaced_at_once
                c2_an_error_is_shared_with_those_who_waited
                c2_a_panicking_leader_is_replaced_at_once
                c4_while_nothing_can_be_confirmed_joiners_get_what_began_after_they_came
                c4_no_read_is_older_than_a_reset_before_it
                c3_a_computation_that_hangs_elsewhere_is_taken_over
                c3_the_first_of_those_that_compute_is_stored
                c3_a_slow_computation_is_no_stampede_among_processes
                c4_a_reset_elsewhere_frees_those_who_wait_for_a_hung_computation
                c4_a_set_that_was_overtaken_is_never_seen_again
                c4_a_read_during_a_set_waits_for_it
                c5_what_is_not_cacheable_is_neither_stored_nor_handed_on
                c12_a_set_that_is_dropped_leaves_no_old_value
            }
            stale {
                c9_of_two_processes_one_refreshes_and_all_others_are_served
                c9_a_caller_without_a_window_gets_no_stale_value
                c9_a_stale_value_is_served_if_its_refresh_fails
                c9_s9_after_a_reset_an_error_is_an_error
                c9_a_reset_beats_a_refresh
                c9_no_value_is_served_past_its_window
                c9_a_refresh_that_fails_is_tried_again_after_growing_pauses
                c9_an_expired_entry_keeps_its_end
                c9_an_expire_beats_a_computation
                c9_c8_an_expire_that_is_not_confirmed_becomes_a_reset
                c9_a_refresh_in_the_background_outlives_its_caller
                c9_a_refresh_in_the_background_ends_with_the_handle
                c9_a_refresh_in_the_background_that_panics_or_fails_is_contained
                c9_a_reset_beats_a_refresh_in_the_background
                c9_one_caller_refreshes_early_and_all_others_are_served
                c9_a_slow_refresh_costs_its_soft_limit
                c9_a_computation_ends_at_its_hard_limit
                c5_chosen_errors_are_cached
            }
            resets {
                c4_a_reset_of_several_keys_resets_all_of_them
                c4_resets_of_several_keys_do_not_wait_for_one_another
                c8_of_several_resets_each_that_failed_is_queued_and_counted
                c8_what_the_backend_lost_is_reset_again
                c8_no_reader_gets_what_was_lost_while_it_asked
                c8_every_handle_over_a_backend_repeats_its_own_resets
                c12_a_reset_of_several_keys_that_was_polled_once_happens
                c12_an_update_of_several_keys_resets_them_however_it_ends
            }
            locks {
                l1_one_holder_at_a_time
                l1_py02_only_the_owner_releases
                l1_py07_a_key_is_one_lock_however_it_is_taken
                l2_zero_wait_fails_at_once
                l2_first_come_first_served
                l2_py06_waiting_ends_in_time
                l2_s15_nobody_overtakes_a_live_waiter
                l2_s15_dead_waiters_are_no_reason_to_refuse
                l2_s12_a_dead_holder_is_followed_by_exactly_one
                l2_s13_a_deadline_that_meets_a_hand_off_leaks_nothing
                l2_one_waiter_asks_for_all
                l2_a_waiter_that_is_not_polled_is_not_in_the_way
                l2_many_waiters_that_are_not_polled_are_not_in_the_way
                l3_a_live_guard_is_renewed
                l3_a_failed_renewal_is_tried_again
                l3_max_hold_ends_it
                l3_a_ttl_under_a_second_is_refused
                l4_forced_release_cancels_the_work
                l4_a_guard_that_cannot_renew_knows_before_the_next_holder
                l5_fencing_tokens_increase
                l6_s14_an_acquire_cancelled_anywhere_leaves_nothing
                l6_s14_cancelled_at_any_poll_nothing_is_left
                l6_s6_an_acquire_that_timed_out_leaves_nothing
                l6_py08_a_cancelled_release_leaves_nothing
                l6_s32_release_and_renewal_are_tried_while_the_backend_fails
                l7_all_waiters_hear_that_the_backend_is_away
                l8_a_lock_can_be_looked_at_and_forced
                o1_py04_one_run_at_a_time_and_the_bodys_errors_are_its_own
                o2_py03_a_long_run_keeps_its_lock
            }
            pools {
                p1_never_more_than_max
                p1_every_caller_brings_its_own_max
                p1_a_waiter_is_served_by_its_own_max
                p1_a_dead_waiter_is_not_in_the_way_of_those_who_accept_more
                p2_a_dead_holders_permit_comes_back
                p2_a_live_permit_is_renewed_and_knows_its_loss
                p2_py18_a_failed_release_does_not_cost_the_result
                p3_py17_waiters_are_served_in_order_and_full_means_full
                p3_py19_a_pool_within_itself_gives_everything_back
            }
            prefixes {
                k3_handles_with_different_prefixes_never_meet
                k3_a_prefix_is_one_place_for_all_its_handles
                s4_a_handle_with_a_prefix_waits_for_its_own_and_closes_nothing
            }
            faults {
                c7_a_backend_that_fails_costs_a_budget_at_most
                c7_after_a_few_failures_a_backend_costs_nothing_until_it_is_back
                c7_a_failed_store_does_not_lose_the_value
                c8_s7_a_reset_without_an_answer_is_repeated
                c8_a_failed_set_becomes_a_reset
                c8_resets_that_cannot_be_queued_say_so
                l7_s33_without_a_backend_nobody_is_locked_out_or_let_in
                s4_dropping_the_last_handle_ends_its_tasks
                s4_close_waits_for_releases_and_resets
                s4_a_closed_handle_refuses_locks_and_computes_reads
                s6_different_troubles_are_different_kinds
            }
        }
    };
    (@export; $($file:ident { $($case:ident)* })*) => {
        $(pub use self::$file::{$($case),*};)*
    };
    (@test $attribute:meta, $stage:expr; $($file:ident { $($case:ident)* })*) => {
        $($(
            #[$attribute]
            async fn $case() {
                $crate::testing::conformance::$case(&$stage).await;
            }
        )*)*
    };
}

conformance! { @list @export }

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Polls `future` once and returns whether it is ready.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Awaits an event that must happen without any timeout expiring, and panics after 10 s.
async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let output = timeout(10 * SECOND, future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within 10 s"))
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            sleep(5 * MILLI).await;
        }
    })
    .await;
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn backend_timeout(cachify: &Cachify) -> Duration {
    cachify.inner.engine.settings.backend_timeout
}

async fn queue_grows_to(cachify: &Cachify, kind: SlotKind, key: &Key, len: usize) {
    until("the queue grows", async || {
        waiting(cachify, kind, key).await == len
    })
    .await;
}
