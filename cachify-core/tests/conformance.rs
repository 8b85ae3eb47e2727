//! The conformance suite over memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod memory {
    use std::sync::Arc;

    use cachify_core::Cachify;
    use cachify_core::backend::memory::Memory;
    use cachify_core::clock::Clock;
    use cachify_core::testing::Stage;

    fn stage() -> Stage {
        let clock = Clock::test();
        let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
        Stage::new(move || {
            Cachify::builder()
                .backend(memory.clone())
                .clock(clock.clone())
                .connect_lazy()
        })
    }

    cachify_core::conformance!(tokio::test(start_paused = true), stage());

    // Threads that poll without a pause: more of them than processors would mostly wait for each
    // other.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn c4_no_read_is_older_than_a_reset_before_it_on_several_threads() {
        // In a task: otherwise the test's own thread would poll without a pause beside the two.
        let rounds = tokio::spawn(async {
            for _ in 0..20 {
                cachify_core::testing::conformance::c4_no_read_is_older_than_a_reset_before_it(
                    &stage(),
                )
                .await;
            }
        });
        rounds.await.unwrap();
    }
}

/// The conformance suite for handles with their own prefix.
mod prefixed {
    use std::sync::Arc;

    use cachify_core::Cachify;
    use cachify_core::backend::memory::Memory;
    use cachify_core::clock::Clock;
    use cachify_core::testing::Stage;

    fn stage() -> Stage {
        let clock = Clock::test();
        let memory = Arc::new(Memory::builder().clock(clock.clone()).build());
        Stage::new(move || {
            let builder = Cachify::builder().backend(memory.clone());
            let cachify = builder.clock(clock.clone()).connect_lazy()?;
            cachify.with_prefix("tenant-7")
        })
    }

    cachify_core::conformance!(tokio::test(start_paused = true), stage());
}
