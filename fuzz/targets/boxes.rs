#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| faithful_fuzz::boxes(bytes));
