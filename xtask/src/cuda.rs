//! `cargo xtask build-cuda` and `gpu-check`: a folder for GPU machines, made on a machine without a GPU.

use crate::cuda_toolkit::{LIBRARIES, Toolkit};
use crate::shell::{cargo, root, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What goes into the folder.
const BINARIES: [&str; 2] = ["faithful", "faithful-gpu-check"];
/// What is said there to who opens it on another machine.
const README: &str = include_str!("gpu_folder.md");

/// Builds `faithful` and `faithful-gpu-check` for NVIDIA's GPUs, with the libraries they need, in one folder.
#[derive(clap::Args)]
pub(crate) struct BuildCuda {
    /// A CUDA 13 toolkit (the folder with bin/nvcc); by default one from `PyPI`'s NVIDIA packages, kept in target
    #[arg(long)]
    toolkit: Option<PathBuf>,
    /// The Python that installs those packages
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The GPU's compute capability without its point: 80 is an A100, 90 an H100 or H200
    #[arg(long, default_value_t = 90)]
    compute_cap: u32,
    /// Compute convolutions by `cuDNN`; the toolkit must have it
    #[arg(long)]
    cudnn: bool,
    /// Compile candle's kernels for quantised weights too, which faithful does not use: many minutes more
    #[arg(long)]
    all_kernels: bool,
    /// Where what is built lies on the way
    #[arg(long)]
    target_dir: Option<PathBuf>,
    /// The folder that is made
    #[arg(long, default_value = "dist/faithful-cuda")]
    out: PathBuf,
}

pub(crate) fn build(arguments: &BuildCuda) -> Result<()> {
    let toolkit = match &arguments.toolkit {
        Some(folder) => Toolkit::at(folder)?,
        None => Toolkit::from_pypi(&root().join("target/cuda-toolkit"), &arguments.python)?,
    };
    let target = arguments.target_dir.clone().unwrap_or_else(|| root().join("target/cuda"));
    let feature = if arguments.cudnn { "cudnn" } else { "cuda" };
    let features = format!("faithful-cli/{feature},faithful-gpu-check/{feature}");
    let build = ["build", "--release", "--package", "faithful-cli", "--package", "faithful-gpu-check"];
    let mut command = cargo(&build);
    command.args(["--features", &features, "--target-dir"]).arg(&target);
    command.env("CUDA_HOME", toolkit.folder()).env("CUDA_COMPUTE_CAP", arguments.compute_cap.to_string());
    command.env("PATH", toolkit.path()?);
    if !arguments.all_kernels {
        command.envs(toolkit.short_compiler(&target.join("short-nvcc"))?);
    }
    run(&mut command)?;
    collect(&root().join(&arguments.out), &target.join("release"), &toolkit)
}

/// Puts the folder together: what was there of an older one is replaced.
fn collect(out: &Path, built: &Path, toolkit: &Toolkit) -> Result<()> {
    let libraries = out.join("lib");
    fs::create_dir_all(&libraries).with_context(|| format!("cannot make `{}`", libraries.display()))?;
    for name in BINARIES {
        copy(&built.join(name), &out.join(name))?;
    }
    for name in LIBRARIES {
        copy(&toolkit.library(name), &libraries.join(name))?;
    }
    // For machines without a driver: LD_LIBRARY_PATH=lib/without-driver runs everything on the CPU.
    let stub = libraries.join("without-driver");
    fs::create_dir_all(&stub)?;
    copy(&toolkit.stub(), &stub.join("libcuda.so.1"))?;
    fs::write(out.join("README.md"), README)?;
    eprintln!("{}: {} and {} libraries", out.display(), BINARIES.join(", "), LIBRARIES.len());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

/// Compares a GPU of this machine with its CPU; see `docs/gpu.md`.
#[derive(clap::Args)]
pub(crate) struct GpuCheck {
    /// Build for the CPU: the compositions that GPUs run are checked there, with `--device cpu`
    #[arg(long)]
    cpu: bool,
    /// Options of `faithful-gpu-check`, such as `--parts operations`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

pub(crate) fn check(arguments: &GpuCheck) -> Result<()> {
    let mut command = cargo(&["run", "--release", "--package", "faithful-gpu-check"]);
    if arguments.cpu {
        command.args(["--", "--device", "cpu", "--parts", "operations,methods"]);
    } else {
        command.args(["--features", "cuda", "--"]);
    }
    run(command.args(&arguments.options))
}
