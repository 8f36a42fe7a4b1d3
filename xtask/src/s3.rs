//! An evaluation in a bucket of a real S3 server on this machine: shards, one of them killed and resumed, one table.

use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct S3 {
    /// A Python with `moto[server]`, whose server speaks S3 over HTTP
    #[arg(long, value_name = "PYTHON")]
    python: PathBuf,
    /// The `faithful` to run, with the feature `s3`; by default it is built
    #[arg(long, value_name = "FILE")]
    faithful: Option<PathBuf>,
    /// The folder for the local run, made anew
    #[arg(long, value_name = "DIR", default_value = "target/s3-check")]
    out: PathBuf,
}

const BUCKET: &str = "faithful-check";
const SHARDS: usize = 3;

/// Evaluates scenes in three shards into a bucket, kills the second one when its first part is there, resumes it, and
/// compares the table with that of a single local run.
pub(crate) fn check(arguments: &S3) -> Result<()> {
    let faithful = if let Some(file) = &arguments.faithful {
        fs::canonicalize(file).with_context(|| format!("no program {}", file.display()))?
    } else {
        run(&mut cargo(&["build", "--release", "--package", "faithful-cli", "--features", "s3"]))?;
        root().join("target/release/faithful")
    };
    let out = std::path::absolute(root().join(&arguments.out))?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("could not clear {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;
    let server = Server::start(&arguments.python)?;
    let place = format!("s3://{BUCKET}/runs/first");

    let shard = |index: usize, resume: bool| {
        let mut command = server.command(&faithful, &evaluate(&place));
        command.args(["--shard", &format!("{index}/{SHARDS}")]).args(resume.then_some("--resume"));
        command
    };
    run(&mut shard(1, false))?;
    let before = server.objects("parts/")?;
    let mut killed = shard(2, false).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait("the second shard's first part", || Ok(server.objects("parts/")? > before))?;
    killed.kill()?;
    ensure!(!killed.wait()?.success(), "the second shard was done before it could be killed");
    println!("killed with {} parts there", server.objects("parts/")?);
    run(&mut shard(3, false))?;
    run(&mut shard(2, true))?;
    ensure!(server.objects("parts/")? == 0, "parts are left after all shards are done");
    ensure!(server.objects("rows-")? == SHARDS, "a finished shard is missing");

    let whole = out.join("whole");
    run(&mut server.command(&faithful, &evaluate(&whole.to_string_lossy())))?;
    let (bucket, local) = (server.table(&faithful, &place)?, server.table(&faithful, &whole.to_string_lossy())?);
    ensure!(bucket == local, "the tables differ:\n{bucket}\n{local}");

    let mut other = server.command(&faithful, &evaluate(&place));
    let other = other.args(["--resume", "--seed", "9"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(!other.success(), "a run with another seed was taken for the one in the bucket");
    println!("three shards in S3, one of them killed and resumed, gave the table of a local run:\n{bucket}");
    Ok(())
}

fn evaluate(out: &str) -> Vec<String> {
    let words = "evaluate --quiet --images scenes --samples 9 --methods grad-cam,layer-cam.expected --draws 8 --steps 200 --out";
    words.split(' ').map(str::to_owned).chain([out.to_owned()]).collect()
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !done()? {
        ensure!(begun.elapsed() < Duration::from_mins(5), "waited five minutes for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The server; it ends with this.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(python: &Path) -> Result<Self> {
        // A port that is free now.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("could not start {}", python.display()))?;
        let mut server = Self { child, port };
        wait("the server", || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}: has the Python `moto[server]`?");
            }
            Ok(server.ask("PUT", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })?;
        Ok(server)
    }

    /// One request about the bucket, and its whole answer.
    fn ask(&self, verb: &str, query: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "{verb} /{BUCKET}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// How many objects of the run begin with `name`.
    fn objects(&self, name: &str) -> Result<usize> {
        let answer = self.ask("GET", &format!("?list-type=2&prefix=runs/first/{name}"))?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the server cannot list: {answer}");
        Ok(answer.matches("<Key>").count())
    }

    /// `faithful` in an environment that knows the server.
    fn command(&self, faithful: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new(faithful);
        command.args(arguments).env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        command.env("AWS_ACCESS_KEY_ID", "check").env("AWS_SECRET_ACCESS_KEY", "check").env("AWS_REGION", "us-east-1");
        command
    }

    /// A run's values, to the last bit.
    fn table(&self, faithful: &Path, place: &str) -> Result<String> {
        let words = ["table", place, "--format", "csv"].map(str::to_owned);
        let output = self.command(faithful, &words).output()?;
        ensure!(output.status.success(), "no table: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
