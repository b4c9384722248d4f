//! `bench start`: our starts beside the same binary started by hand with its default flags, in turn, and
//! each command as a whole process. In private directories and on free ports.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use etcd_local::binary::{Route, Tool, Wanted};
use semver::Version;
use serde::Deserialize;

use super::process::finish;
use super::{Report, Row, Subject};

/// The version of the default, and the one whose restarts take longest by hand.
const NEW: Version = Version::new(3, 7, 2);
const OLD: Version = Version::new(3, 5, 27);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(rounds: u32, subject: &Subject<'_>) -> Result<Report> {
    let mut rows = Vec::new();
    for (version, fresh, restart) in [(NEW, 0.2, 0.35), (OLD, 0.2, 0.1)] {
        let binary = subject.cx.builder()?.binaries().install(
            Tool::Etcd,
            &Wanted::Exactly(version.clone()),
            Route::Auto,
            None,
        )?;
        rows.extend(starts(rounds, &version, (subject.xtask, &binary.path), (fresh, restart))?);
        if version == NEW {
            rows.extend(commands(rounds, (subject.xtask, &binary.path))?);
        }
    }
    Ok(Report::new("start", rounds, rows))
}

fn starts(rounds: u32, version: &Version, (xtask, etcd): (&Path, &Path), targets: (f64, f64)) -> Result<Vec<Row>> {
    let (mut fresh, mut restart) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        let ours = Workspace::new(xtask, etcd)?;
        fresh[0].push(ours.up()?.ready_ms);
        ours.xtask(&["etcd-down"])?;
        let plain = Plain::new(etcd)?;
        fresh[1].push(plain.start()?);
        restart[0].push(ours.up()?.ready_ms);
        ours.xtask(&["etcd-down"])?;
        restart[1].push(plain.start()?);
    }
    let name = format!("plain {version}");
    let [ours, plain] = fresh;
    let [ours_again, plain_again] = restart;
    Ok(vec![
        Row::against(format!("fresh start, etcd {version}"), ours, &name, plain, Some(targets.0))?,
        Row::against(format!("restart on its data, etcd {version}"), ours_again, &name, plain_again, Some(targets.1))?,
    ])
}

fn commands(rounds: u32, (xtask, etcd): (&Path, &Path)) -> Result<Vec<Row>> {
    let [mut over, mut status, mut again, mut reset, mut down, mut memory] = [const { Vec::new() }; 6];
    for _ in 0..rounds {
        let ours = Workspace::new(xtask, etcd)?;
        let up = ours.up()?;
        over.push(up.whole_ms - up.ready_ms);
        memory.push(up.peak_mb);
        status.push(ours.xtask(&["etcd-status"])?.whole_ms);
        again.push(ours.xtask(&["etcd-up"])?.whole_ms);
        reset.push(ours.xtask(&["etcd-reset", "--yes"])?.whole_ms);
        down.push(ours.xtask(&["etcd-down"])?.whole_ms);
    }
    let mut rows = vec![
        Row::absolute("`etcd-up` beyond spawn to ready", "ms", over, Some(50.0))?,
        Row::absolute("`etcd-up` when it is up", "ms", again, None)?,
        Row::absolute("`etcd-status`", "ms", status, Some(30.0))?,
        Row::absolute("`etcd-reset` of a running instance", "ms", reset, Some(250.0))?,
        Row::absolute("`etcd-down`", "ms", down, Some(60.0))?,
    ];
    // Only Linux shows a running process's peak; 0 means that it was not seen.
    if memory.iter().all(|megabytes| *megabytes > 0.0) {
        rows.push(Row::absolute("memory of `etcd-up`", "MB", memory, Some(15.0))?);
    }
    Ok(rows)
}

/// A workspace of our own, so that nothing of the user's is touched.
struct Workspace {
    dir: tempfile::TempDir,
    xtask: PathBuf,
    etcd: PathBuf,
}

/// One call of this program.
struct Call {
    whole_ms: f64,
    ready_ms: f64,
    peak_mb: f64,
}

impl Workspace {
    fn new(xtask: &Path, etcd: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("xtask-bench-").tempdir()?;
        fs::write(dir.path().join("Cargo.toml"), "[workspace]\n\n[workspace.metadata.etcd]\nport = \"auto\"\n")?;
        Ok(Self { dir, xtask: xtask.to_owned(), etcd: etcd.to_owned() })
    }

    fn up(&self) -> Result<Call> {
        #[derive(Deserialize)]
        struct Answer {
            ready_ms: f64,
        }

        let (call, stdout) = self.call(&["etcd-up", "--format", "json"])?;
        let answer: Answer = serde_json::from_slice(&stdout).context("`etcd-up` answered no JSON")?;
        Ok(Call { ready_ms: answer.ready_ms, ..call })
    }

    fn xtask(&self, args: &[&str]) -> Result<Call> {
        Ok(self.call(args)?.0)
    }

    fn call(&self, args: &[&str]) -> Result<(Call, Vec<u8>)> {
        let mut command = Command::new(&self.xtask);
        command.args(args).current_dir(self.dir.path()).env("CARGO_MANIFEST_DIR", self.dir.path());
        command.env("ETCDBINPATH", &self.etcd).env_remove("ETCDDATA");
        let (out, err) = (self.dir.path().join("out"), self.dir.path().join("err"));
        let run = finish(command.stdout(File::create(&out)?).stderr(File::create(&err)?))?;
        ensure!(run.success, "`{}` failed: {}", args.join(" "), fs::read_to_string(&err)?);
        Ok((Call { whole_ms: run.seconds * 1e3, ready_ms: 0.0, peak_mb: run.peak_mb }, fs::read(&out)?))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = self.xtask(&["etcd-down"]);
    }
}

/// An etcd as somebody starts it by hand: ports and directory, and nothing else said.
struct Plain {
    dir: tempfile::TempDir,
    etcd: PathBuf,
}

impl Plain {
    fn new(etcd: &Path) -> Result<Self> {
        Ok(Self { dir: tempfile::Builder::new().prefix("xtask-bench-").tempdir()?, etcd: etcd.to_owned() })
    }

    /// Milliseconds from spawn to the first healthy answer. It is stopped again.
    fn start(&self) -> Result<f64> {
        let (client, peer) = free_urls()?;
        let log = File::create(self.dir.path().join("log"))?;
        let began = Instant::now();
        let mut server = Server(
            Command::new(&self.etcd)
                .arg(format!("--data-dir={}", self.dir.path().join("data").display()))
                .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
                .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
                .arg(format!("--initial-cluster=default={peer}"))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?,
        );
        while !is_healthy(&client) {
            if let Some(status) = server.0.try_wait()? {
                bail!("the plain etcd ended: {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the plain etcd was not healthy after {PATIENCE:?}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}

/// Two URLs that nobody has now.
fn free_urls() -> Result<(String, String)> {
    let (client, peer) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((format!("http://{}", client.local_addr()?), format!("http://{}", peer.local_addr()?)))
}

/// Ends the server with the scope, as somebody does by hand: by Ctrl-C's milder brother.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

fn is_healthy(url: &str) -> bool {
    let answer = minreq::get(format!("{url}/health")).with_timeout(5).send();
    answer.is_ok_and(|answer| answer.as_str().is_ok_and(|body| body.contains(r#""health":"true""#)))
}
