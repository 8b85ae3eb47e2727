//! Small programs that each answer one question.
//!
//! ```text
//! cargo run -p recipes --example cron
//! CACHIFY_URL=redis://127.0.0.1:6379 cargo run -p recipes --example cron
//! ```
//!
//! | example | question |
//! |---|---|
//! | `session_cache` | How do I cache login sessions without storing tokens in Redis? |
//! | `rate_limit` | How do I limit calls per minute across the whole fleet? |
//! | `cron` | How does a nightly job run once, although every replica starts it? |
//! | `webhook` | How do I process each event once, even if it is delivered several times? |
//! | `batch_loader` | How do I cache single rows, and read the missing ones with one query? |
//! | `repository` | How do I cache in the methods of a repository? |
//! | `scoped_tests` | How do I test a cached function? |
