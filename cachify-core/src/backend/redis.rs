//! Entries, locks and pools in Redis 6.2 or later, or Valkey.
//!
//! | name | holds | life |
//! |---|---|---|
//! | `PREFIX:cached:{KEY}` | envelope and payload | the entry's |
//! | `PREFIX:cached:{KEY}:lease` | hash: `t:TOKEN` may fill, `w:NODE` waits for that; `s`, `n`, `l` for [`Claim::Join`](super::Claim): since when in µs, how many may join, how many of these are left | 3 s, renewed |
//! | `PREFIX:lock:{KEY}`, `PREFIX:pool:{KEY}` | sorted set: token, deadline in µs | the last deadline |
//! | `..:queue`, `..:places` | the waiters, in order; until when each waits, and how many holders it accepts | as long as there are waiters |
//! | `..:nodes` | until when the waiters of each node count as alive | as long as there are waiters |
//! | `..:ended` | tokens released before their request came | 10 s |
//! | `PREFIX:fence` | the last fencing token of all locks: began as the time in µs, counts on. A cluster needs one in each hash slot | forever |
//! | channel `PREFIX:wake:NODE`, one for each prefix in use, all on one connection | `C KEY`: a lease ended; `DEADLINE TOKEN L KEY` (`P` for a pool): a slot was handed over, or with 0, whether the waiter is still there | |
//!
//! Each operation is one command or one script. What is not idempotent carries the server's time
//! after which it is refused.

mod address;
mod client;
mod entries;
mod error;
mod fitness;
mod greeting;
mod handle;
mod info;
mod limits;
mod link;
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

pub use handle::Redis;
#[cfg(feature = "testing")]
pub(crate) use message::fuzz_message;
pub use options::RedisOptions;
#[cfg(feature = "tls")]
pub use tls::{Pem, TlsOptions};
