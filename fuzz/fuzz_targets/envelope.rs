//! Fuzzes entries in Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachify_core::testing::fuzzing::envelope(bytes));
