//! The conformance suite over memory in front of Redis.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cachify_core::testing::Stage;

fn stage() -> Stage {
    Stage::tiered(&redis_fixture::shared())
}

cachify_core::conformance!(tokio::test, stage());

/// The conformance suite for handles with their own prefix.
mod prefixed {
    use super::*;

    fn stage() -> Stage {
        let fleet = Stage::tiered(&redis_fixture::shared());
        Stage::new(move || fleet.handle().with_prefix("tenant-7"))
    }

    cachify_core::conformance!(tokio::test, stage());
}
