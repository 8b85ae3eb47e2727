//! Fuzzes messages on the channel of a process.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachify_core::testing::fuzzing::message(bytes));
