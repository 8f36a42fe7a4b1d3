//! A binary for GPUs finds NVIDIA's libraries in the folder `lib` beside itself: it runs where no toolkit is installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        // The old kind of entry, which the libraries' own libraries are looked up by as well.
        println!("cargo::rustc-link-arg-bins=-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib");
    }
}
