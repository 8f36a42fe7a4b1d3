//! An evaluation on a real Slurm: a controller and a node on this machine, an array of three tasks, one table.

use crate::shell::{cargo, root, run};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Slurm {
    /// The `faithful` to run; by default it is built
    #[arg(long, value_name = "FILE")]
    faithful: Option<PathBuf>,
    /// The folder for the daemons' files and the runs, made anew
    #[arg(long, value_name = "DIR", default_value = "target/slurm-check")]
    out: PathBuf,
}

const METHODS: &str = "grad-cam,expected-grad-cam,layer-cam.expected";

/// Starts Slurm (Debian: `apt install slurm-wlm munge`), submits `deploy/slurm.sbatch` as an array of three, and holds
/// its merged table against the one of a single run.
pub(crate) fn check(arguments: &Slurm) -> Result<()> {
    let out = std::path::absolute(root().join(&arguments.out))?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("could not clear {}", out.display()))?;
    }
    fs::create_dir_all(out.join("munge"))?;
    let faithful = if let Some(file) = &arguments.faithful {
        fs::canonicalize(file).with_context(|| format!("no program {}", file.display()))?
    } else {
        run(&mut cargo(&["build", "--release", "--package", "faithful-cli"]))?;
        root().join("target/release/faithful")
    };
    let folder = faithful.parent().context("the program has no folder")?;
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
            .chain([PathBuf::from("/usr/sbin")]),
    )?;
    let cluster = Cluster::start(&out, &path)?;
    let images = root().join("fixtures/scenes");

    let sharded = out.join("sharded");
    let mut submit = Command::new("sbatch");
    submit.args(["--wait", "--array=0-2", "--cpus-per-task=1", "--mem=200"]).current_dir(&out);
    submit.arg(root().join("deploy/slurm.sbatch")).arg(&images).arg(&sharded).args(["scenes-vgg", METHODS]);
    run(submit.env("SLURM_CONF", &cluster.configuration).env("PATH", &path))?;

    let whole = out.join("whole");
    let mut evaluate = Command::new(&faithful);
    evaluate.args(["evaluate", "--quiet", "--model", "scenes-vgg", "--methods", METHODS]);
    run(evaluate.arg("--images").arg(&images).arg("--out").arg(&whole))?;

    let shards = fs::read_dir(&sharded)?.filter_map(Result::ok);
    let shards = shards.filter(|entry| entry.file_name().to_string_lossy().ends_with("-of-3.parquet")).count();
    ensure!(shards == 3, "{shards} finished shards in {} instead of 3", sharded.display());
    let (sharded, whole) = (table(&faithful, &sharded)?, table(&faithful, &whole)?);
    ensure!(sharded == whole, "the tables differ:\n{sharded}\n{whole}");
    println!("three Slurm tasks gave the table of a single run, {} values", whole.as_array().map_or(0, Vec::len));
    Ok(())
}

/// A run's table without the times.
fn table(faithful: &Path, run: &Path) -> Result<Value> {
    let output = Command::new(faithful).arg("table").arg(run).args(["--format", "json"]).output()?;
    ensure!(output.status.success(), "no table: {}", String::from_utf8_lossy(&output.stderr));
    let mut table: Value = serde_json::from_slice(&output.stdout)?;
    let mut values = table["values"].take();
    for value in values.as_array_mut().into_iter().flatten() {
        value.as_object_mut().map(|value| value.remove("seconds"));
    }
    Ok(values)
}

/// The daemons; they end with it.
struct Cluster {
    daemons: Vec<Child>,
    configuration: PathBuf,
}

impl Cluster {
    fn start(out: &Path, path: &std::ffi::OsStr) -> Result<Self> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").context("no host name: Slurm needs Linux")?;
        let host = host.trim().split('.').next().unwrap_or_default().to_owned();
        let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?;
        let (user, out_text) = (user.trim(), out.display());
        let configuration = out.join("slurm.conf");
        // Any key does: nothing but these daemons knows it.
        let key: Vec<u8> = (0..=255)
            .cycle()
            .zip(format!("{:?}", Instant::now()).bytes().cycle())
            .take(1024)
            .map(|(i, byte): (u8, u8)| i.wrapping_mul(31) ^ byte)
            .collect();
        fs::write(out.join("munge/key"), key)?;
        for (file, mode) in [("munge/key", "600"), ("munge", "700"), ("", "755")] {
            run(Command::new("chmod").arg(mode).arg(out.join(file)))?;
        }
        for folder in ["state", "spool"] {
            fs::create_dir_all(out.join(folder))?;
        }
        fs::write(
            &configuration,
            format!(
                "ClusterName=faithful\nSlurmctldHost={host}\nSlurmctldPort=36817\nSlurmdPort=36818\n\
                 AuthType=auth/munge\nAuthInfo=socket={out_text}/munge.sock\nCryptoType=crypto/munge\n\
                 SlurmUser={user}\nSlurmdUser={user}\nStateSaveLocation={out_text}/state\n\
                 SlurmdSpoolDir={out_text}/spool\nSlurmctldPidFile={out_text}/slurmctld.pid\n\
                 SlurmdPidFile={out_text}/slurmd.pid\nProctrackType=proctrack/pgid\nTaskPlugin=task/none\n\
                 SelectType=select/cons_tres\nJobAcctGatherType=jobacct_gather/none\nReturnToService=2\n\
                 MpiDefault=none\nNodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=1000 State=UNKNOWN\n\
                 PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
            ),
        )?;
        let mut cluster = Self { daemons: Vec::new(), configuration: configuration.clone() };
        let mut start = |name: &str, arguments: &[&str]| -> Result<()> {
            let log = File::create(out.join(format!("{name}.log")))?;
            let mut daemon = Command::new(name);
            daemon.args(arguments).env("SLURM_CONF", &configuration).env("PATH", path).current_dir(out);
            let daemon = daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
            let daemon = daemon.with_context(|| format!("could not start {name}: `apt install slurm-wlm munge`"))?;
            cluster.daemons.push(daemon);
            Ok(())
        };
        let munge = |flag: &str, file: &str| format!("--{flag}={out_text}/{file}");
        let munge = [
            munge("key-file", "munge/key"),
            munge("socket", "munge.sock"),
            munge("pid-file", "munge/pid"),
            munge("log-file", "munge/log"),
            munge("seed-file", "munge/seed"),
        ];
        let munge: Vec<&str> =
            ["--force", "--foreground"].into_iter().chain(munge.iter().map(String::as_str)).collect();
        start("munged", &munge)?;
        std::thread::sleep(Duration::from_secs(1));
        start("slurmctld", &["-D"])?;
        start("slurmd", &["-D"])?;
        let begun = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let mut sinfo = Command::new("sinfo");
            sinfo.args(["--noheader", "--format=%T"]).env("SLURM_CONF", &configuration);
            let states = sinfo.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            if states.is_ok_and(|states| states.contains("idle")) {
                return Ok(cluster);
            }
            if begun.elapsed() > Duration::from_mins(1) {
                bail!("the node is not ready after a minute; see the logs in {}", out.display());
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // A daemon that has ended by itself cannot be killed, which is as good.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
