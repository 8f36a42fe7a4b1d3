//! A CUDA toolkit to build with: an installed one, or NVIDIA's packages on `PyPI` put together as one.

use crate::shell::run;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of the toolkit, all of one release. candle 0.11's kernels need a compiler; its driver interface links to
/// the libraries.
const PACKAGES: [&str; 8] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-curand==10.4.0.35",
    "nvidia-cublas==13.0.2.14",
];

/// The libraries that a binary needs where it runs, besides the driver's own.
pub(crate) const LIBRARIES: [&str; 6] = [
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudart.so.13",
    "libcurand.so.10",
    "libnvrtc.so.13",
    "libnvrtc-builtins.so.13.0",
];

/// A folder with `bin/nvcc`, `include` and `lib`.
pub(crate) struct Toolkit {
    folder: PathBuf,
    libraries: PathBuf,
}

impl Toolkit {
    /// The toolkit in `folder`.
    pub(crate) fn at(folder: &Path) -> Result<Self> {
        if !folder.join("bin/nvcc").is_file() {
            bail!("`{}` is no CUDA toolkit: it has no bin/nvcc", folder.display());
        }
        let libraries = ["lib64", "lib"].iter().map(|name| folder.join(name)).find(|path| path.is_dir());
        let libraries = libraries.with_context(|| format!("`{}` has no lib64 or lib", folder.display()))?;
        let toolkit = Self { folder: folder.canonicalize()?, libraries: libraries.canonicalize()? };
        if !toolkit.stub().is_file() {
            toolkit.make_stub()?;
        }
        Ok(toolkit)
    }

    /// The toolkit of [`PACKAGES`], installed into `folder` unless it is there.
    pub(crate) fn from_pypi(folder: &Path, python: &Path) -> Result<Self> {
        let toolkit = folder.join("nvidia/cu13");
        if !toolkit.join("lib/libcudart.so").exists() {
            let mut command = Command::new(python);
            command.args(["-m", "pip", "install", "--no-deps", "--upgrade", "--target"]).arg(folder).args(PACKAGES);
            run(&mut command).context("NVIDIA's packages could not be installed; name a toolkit with --toolkit")?;
            link_plain_names(&toolkit.join("lib"))?;
        }
        Self::at(&toolkit)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `PATH` with the compiler in front.
    pub(crate) fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&path));
        Ok(std::env::join_paths(folders)?)
    }

    /// A compiler to name in `NVCC` that leaves out what faithful does not use, and the variables it needs.
    pub(crate) fn short_compiler(&self, folder: &Path) -> Result<[(&'static str, PathBuf); 2]> {
        fs::create_dir_all(folder)?;
        let script = folder.join("nvcc");
        fs::write(&script, WITHOUT_QUANTISED)?;
        run(Command::new("chmod").arg("+x").arg(&script))?;
        Ok([("NVCC", script), ("FAITHFUL_NVCC", self.folder.join("bin/nvcc"))])
    }

    pub(crate) fn library(&self, name: &str) -> PathBuf {
        self.libraries.join(name)
    }

    /// What stands for the driver's library where there is no driver.
    pub(crate) fn stub(&self) -> PathBuf {
        self.libraries.join("stubs/libcuda.so")
    }

    /// Makes a library with every function of `cuda.h`; each says that there is no device.
    fn make_stub(&self) -> Result<()> {
        let header = self.folder.join("include/cuda.h");
        let expanded = Command::new("cc")
            .args(["-E", "-P", "-I"])
            .arg(self.folder.join("include"))
            .arg(&header)
            .output()
            .context("a C compiler is needed, as `cc`")?;
        if !expanded.status.success() {
            bail!("`{}` could not be read: {}", header.display(), String::from_utf8_lossy(&expanded.stderr));
        }
        let stub = self.stub();
        fs::create_dir_all(stub.parent().context("a library lies in a folder")?)?;
        let source = stub.with_extension("c");
        let declarations = String::from_utf8_lossy(&expanded.stdout);
        let functions = functions_of(&declarations);
        // 100 is CUDA_ERROR_NO_DEVICE.
        let mut text = String::new();
        for name in functions {
            let _ = writeln!(text, "int {name}(void) {{ return 100; }}");
        }
        fs::write(&source, text)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]).arg(&stub).arg(&source);
        run(&mut compile)
    }
}

/// What stands for nvcc: candle's kernels for quantised weights, which faithful does not use, take fourteen of sixteen
/// minutes. In their place come functions of the same names that end the program; `src/ffi.rs` of candle's crate, whose
/// folder this is called in, lists them.
const WITHOUT_QUANTISED: &str = r#"#!/bin/sh
for last in "$@"; do
    [ "$previous" = "-o" ] && object=$last
    previous=$last
done
case "$last" in
*mmq_gguf/*.cu | *mmvq_gguf.cu | */moe/*.cu)
    sed -n 's/^ *pub fn \([a-z0-9A-Z_]*\)(.*/\1/p' src/ffi.rs |
        while read -r name; do echo "__attribute__((weak)) void $name(void) { __builtin_trap(); }"; done |
        exec cc -x c -c -fPIC -o "$object" -
    ;;
*) exec "$FAITHFUL_NVCC" "$@" ;;
esac
"#;

/// The names of all functions that a preprocessed header declares and that belong to the driver.
fn functions_of(header: &str) -> BTreeSet<&str> {
    let words = header.match_indices('(').filter_map(|(place, _)| {
        let before = header[..place].trim_end();
        let start = before.rfind(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
        Some(&before[start + 1..])
    });
    let is_driver = |name: &&str| name.strip_prefix("cu").is_some_and(|rest| rest.starts_with(char::is_uppercase));
    words.filter(is_driver).collect()
}

/// `libx.so` for each `libx.so.13`: `PyPI`'s packages have what runs, and a linker looks for the other.
fn link_plain_names(folder: &Path) -> Result<()> {
    for name in LIBRARIES {
        let Some(plain) = name.find(".so.").map(|place| &name[..place + 3]) else { continue };
        let link = folder.join(plain);
        if !link.exists() {
            fs::hard_link(folder.join(name), &link).with_context(|| format!("`{name}` is not where PyPI has it"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::functions_of;

    #[test]
    fn the_drivers_functions_are_found_in_its_header() {
        let header = "typedef enum cudaError_enum { A } CUresult;\nCUresult cuInit(unsigned int Flags);\n\
                      CUresult cuMemAlloc_v2 (CUdeviceptr *dptr, size_t n);\ntypedef void (*CUstreamCallback)(int);\n\
                      static inline int curious(int x); CUresult cuInit(unsigned int Flags);";
        assert_eq!(functions_of(header).into_iter().collect::<Vec<_>>(), ["cuInit", "cuMemAlloc_v2"]);
    }
}
