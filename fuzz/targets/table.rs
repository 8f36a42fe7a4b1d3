#![no_main]

// A panic inside of the Parquet reader is caught and taken for damage. libFuzzer's hook would end the run there; without it,
// only what comes out does.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| faithful_fuzz::table(bytes));
