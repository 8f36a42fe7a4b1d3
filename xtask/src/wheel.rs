//! The Python package: built, installed into a fresh virtual environment, and tested there.

use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `wheel` takes.
#[derive(clap::Args)]
pub(crate) struct Wheel {
    /// The Python that tests it, 3.10 or newer
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Build what is handed out: optimised and small, which takes minutes
    #[arg(long)]
    dist: bool,
    /// Build for another machine, as `aarch64-unknown-linux-gnu`, with zig as the linker, and test nothing; `rustup target add` it first
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Run the comparison with other libraries too, in a Python that has them
    #[arg(long, value_name = "PYTHON")]
    peers: Option<PathBuf>,
}

/// Of the wheel that is handed out, in bytes.
const LARGEST: u64 = 25 << 20;

/// What builds and tests the wheel; numpy is the only one that it needs itself.
const TOOLS: [&str; 8] =
    ["maturin>=1.9.4,<2", "pytest", "numpy", "pillow", "mypy", "pyright[nodejs]", "nbconvert", "ipykernel"];

/// Where the package lies for other Pythons than that of the fresh environment.
pub(crate) fn package() -> PathBuf {
    root().join("target/wheel/package")
}

/// Builds the wheel, installs it into a fresh environment and runs its tests.
pub(crate) fn wheel(arguments: &Wheel) -> Result<()> {
    if let Err(reason) = usable(&arguments.python) {
        bail!("{reason}");
    }
    build_and_test(arguments, &environment(&arguments.python)?)
}

/// The package's tests with the library as the workspace builds it, which takes no second build of its dependencies. Where there
/// is no Python, or no way to its packages, it says that the tests are skipped.
pub(crate) fn tests() -> Result<()> {
    let base = Path::new("python3");
    let python = match usable(base).map_err(anyhow::Error::msg).and_then(|()| environment(base)) {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("  the tests of the Python package are skipped: {reason:#}");
            return Ok(());
        }
    };
    // With tests, so that features are those of `cargo test`, whose crates are there already.
    run(&mut cargo(&["build", "--workspace", "--lib", "--tests"]))?;
    let package = emptied("package")?;
    let modules = package.join("faithful_xai");
    std::fs::create_dir_all(&modules)?;
    for file in std::fs::read_dir(root().join("crates/python/python/faithful_xai"))? {
        let file = file?;
        if file.file_type()?.is_file() {
            std::fs::copy(file.path(), modules.join(file.file_name()))?;
        }
    }
    let library = format!("{}_native{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let extension = if cfg!(windows) { "_native.pyd" } else { "_native.abi3.so" };
    std::fs::copy(root().join("target/debug").join(library), modules.join(extension))?;
    run(pytest(&python).env("PYTHONPATH", package))
}

fn pytest(python: &Path) -> Command {
    let mut pytest = command(python);
    pytest.args(["-m", "pytest", "--quiet"]).current_dir(root().join("crates/python"));
    pytest
}

/// Why a Python cannot be used.
fn usable(python: &Path) -> std::result::Result<(), String> {
    let name = python.display();
    let asks = "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 10) else 3)";
    let status = Command::new(python).args(["-c", asks]).stderr(Stdio::null()).status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(3)) => Err(format!("`{name}` is older than Python 3.10; name another with --python")),
        Ok(_) => Err(format!("`{name}` has no venv; on Debian, `apt install python3-venv` brings it")),
        Err(error) => {
            Err(format!("there is no `{name}` ({error}); install Python 3.10 or newer, or name it with --python"))
        }
    }
}

/// A folder without what an earlier run left there.
fn emptied(name: &str) -> Result<PathBuf> {
    let folder = root().join("target/wheel").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
    }
    Ok(folder)
}

/// The Python of a fresh environment that has the tools.
fn environment(base: &Path) -> Result<PathBuf> {
    let environment = emptied("environment")?;
    run(command(base).args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    run(&mut pip(&python, &TOOLS))?;
    Ok(python)
}

fn pip(python: &Path, words: &[&str]) -> Command {
    let mut pip = command(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(words);
    pip
}

fn build_and_test(arguments: &Wheel, python: &Path) -> Result<()> {
    let built = emptied("dist")?;
    if arguments.target.is_some() {
        run(&mut pip(python, &["ziglang"]))?;
    }
    run(&mut maturin(python, &built, arguments))?;
    let wheel = only_file(&built)?;
    let bytes = std::fs::metadata(&wheel)?.len();
    eprintln!("  {}: {:.1} MB", wheel.display(), bytes as f64 / 1e6);
    if arguments.dist && bytes > LARGEST {
        bail!("the wheel has {bytes} bytes, more than {LARGEST}");
    }
    if arguments.target.is_some() {
        return Ok(());
    }
    let path = wheel.to_string_lossy().into_owned();
    run(&mut pip(python, &["--no-deps", &path]))?;
    run(&mut pytest(python))?;
    run(&mut pip(python, &["--no-deps", "--upgrade", "--target", &package().to_string_lossy(), &path]))?;
    if let Some(peers) = &arguments.peers {
        let tests = root().join("crates/python/tests/test_peers.py");
        run(command(peers).args(["-m", "pytest", "--quiet"]).arg(tests).env("PYTHONPATH", package()))?;
    }
    Ok(())
}

fn maturin(python: &Path, built: &Path, arguments: &Wheel) -> Command {
    let mut maturin = command(python);
    maturin
        .args(["-m", "maturin", "build", "--locked", "--manifest-path"])
        .arg(root().join("crates/python/Cargo.toml"));
    maturin.arg("--out").arg(built).args(["--profile", if arguments.dist { "dist" } else { "dev" }]);
    match &arguments.target {
        Some(target) => maturin.args(["--target", target, "--zig"]),
        // What is tested here need not run elsewhere.
        None if !arguments.dist => maturin.args(["--compatibility", "linux"]),
        None => &mut maturin,
    };
    // The same sources give the same bytes.
    maturin.env("SOURCE_DATE_EPOCH", "0");
    // It looks for zig beside the first Python of the path.
    let folder = python.parent().map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Ok(path) = std::env::join_paths(folder.into_iter().chain(std::env::split_paths(&path))) {
        maturin.env("PATH", path);
    }
    maturin
}

fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // A Python of the user's own must not mix in.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    match <[PathBuf; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) => bail!("maturin left {} files in `{}`", files.len(), folder.display()),
    }
}
