//! Entries, locks and pools in Redis 6.2 or later, or Valkey.
//!
//! | name | contents | lifetime |
//! |---|---|---|
//! | `PREFIX:cached:{KEY}` | envelope and payload | the entry's |
//! | `PREFIX:cached:{KEY}:lease` | hash: a field `t:TOKEN` for each token that may fill, `w:NODE` for each node that waits. For [`Claim::Join`](super::Claim), `s` is the start of the round in µs, `n` its size, `l` the callers that may still join | 3 s, renewed |
//! | `PREFIX:lock:{KEY}`, `PREFIX:pool:{KEY}` | sorted set: tokens by deadline in µs | until the last deadline |
//! | `..:queue`, `..:places` | the waiters in order of arrival; for each, the end of its wait and the number of holders it accepts | while there are waiters |
//! | `..:nodes` | for each node, the time until which its waiters count as alive | while there are waiters |
//! | `..:ended` | tokens that were released before their request arrived | 10 s |
//! | `PREFIX:fence` | the last fencing token of all locks. It starts as the time in µs and counts up. A cluster needs one in each hash slot | forever |
//! | channel `PREFIX:wake:NODE`, one for each prefix in use, all on one connection | `C KEY`: a lease ended. `DEADLINE TOKEN L KEY` (`P` for a pool): a slot was handed over. A deadline of 0 asks whether the waiter is still there. `H TOKEN`: a heartbeat of the process itself | |
//! | channel `PREFIX:reset` | `KEY`: the entry was reset, or is about to be replaced. For processes that keep copies in memory | |
//!
//! Each operation is one command or one script. A request that is not idempotent carries the time,
//! by the server's clock, after which the server refuses it.

mod address;
mod client;
mod entries;
mod error;
mod fitness;
mod follower;
mod greeting;
mod handle;
mod info;
mod limits;
mod link;
mod lives;
mod message;
mod options;
mod policy;
mod reach;
mod release;
mod rights;
mod room;
mod script;
mod server;
mod shared;
mod slots;
mod subscriber;
mod subscription;
mod time;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use follower::Follower;
pub use handle::Redis;
#[cfg(feature = "testing")]
pub(crate) use message::fuzz_message;
pub use options::RedisOptions;
#[cfg(feature = "tls")]
pub use tls::{Pem, TlsOptions};
