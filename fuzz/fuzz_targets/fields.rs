//! Fuzzes header fields of requests and responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachify_core::testing::fuzzing::fields(bytes));
