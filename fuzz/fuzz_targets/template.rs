//! Fuzzes key templates, and keys rendered from hostile arguments.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachify_core::testing::fuzzing::template(bytes));
