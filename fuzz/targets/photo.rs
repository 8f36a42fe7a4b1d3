#![no_main]

// A panic inside of a photo's decoder is caught and taken for damage, as Parquet's are.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| faithful_fuzz::photo(bytes));
