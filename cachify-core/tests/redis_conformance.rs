//! The conformance suite over Redis.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cachify_core::Cachify;
use cachify_core::testing::Stage;

fn stage() -> Stage {
    let url = redis_fixture::shared();
    Stage::new(move || {
        Cachify::builder()
            .redis(&url)
            .prefix("conformance")
            .connect_lazy()
    })
}

cachify_core::conformance!(tokio::test, stage());

/// The conformance suite for handles with their own prefix.
mod prefixed {
    use super::*;

    fn stage() -> Stage {
        let url = redis_fixture::shared();
        Stage::new(move || {
            let builder = Cachify::builder().redis(&url).prefix("unused");
            builder.connect_lazy()?.with_prefix("tenant-7")
        })
    }

    cachify_core::conformance!(tokio::test, stage());
}
