//! Memory in front of Redis, with a bound on how stale a value from memory can be.
//!
//! Redis has the entries, locks and pools. Memory has copies of entries, for as long as this
//! process hears of resets.
//!
//! **Reset messages.** The scripts that reset an entry, expire it or begin to replace it publish
//! its key. A fill publishes nothing: it follows a reset, which was published, or the end of an
//! entry, which every process knows.
//!
//! **Horizon.** Three times within the bound, the process publishes a heartbeat to itself, which
//! comes back over the same connection as the reset messages. The horizon is the moment when the
//! last heartbeat that came back was *sent*: all resets from before it were heard. A copy is used
//! only while the horizon is younger than the bound. So a value from memory may have been reset
//! only within the bound, and no two clocks are compared.
//!
//! **Insertion.** A copy is kept only if no reset message came since before its value was asked
//! for. The [`Mark`](super::Mark) of that time has the epoch, which changes when the subscription
//! ends, and the generation of the key's stripe, which changes with a reset message for one of the
//! stripe's keys. This process's own resets change the generation before they are sent, and again
//! when they are confirmed.
//!
//! | race | outcome |
//! |---|---|
//! | a `GET` reads the old value, and the reset message arrives first | the generation changed: not kept |
//! | the reset message arrives before the `GET` is sent | the `GET` finds no old value |
//! | a fill is confirmed, and a reset message arrives before its answer | the generation changed: not kept |
//! | a message is lost: cut connection, full output buffer | the epoch changes, and all copies go |
//! | half-open connection, starved listener, paused process, suspended machine | no heartbeat comes back, and memory is bypassed after the bound |

mod handle;
mod horizon;
mod near;
mod options;
mod prefixes;
mod stripes;

pub use handle::Tiered;
pub use options::TierOptions;
