//! Small programs that each answer one question.
//!
//! ```text
//! cargo run -p recipes --example cron
//! CACHIFY_URL=redis://127.0.0.1:6379 cargo run -p recipes --example cron
//! ```
//!
//! | example | question |
//! |---|---|
//! | `session_cache` | How do I cache who is logged in, without tokens in Redis? |
//! | `rate_limit` | How do I allow so many calls in a minute, in the whole fleet? |
//! | `cron` | How does a nightly job run once, although it is started on every replica? |
//! | `webhook` | How do I process each event once, although it is delivered several times? |
//! | `batch_loader` | How do I cache single rows, and read the missing ones by one query? |
//! | `repository` | How do I cache in the methods of a repository? |
//! | `scoped_tests` | How do I test a cached function? |
