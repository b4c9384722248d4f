//! A cluster of several members, started by hand, each behind a proxy for its peers: members can be cut off from each other,
//! killed, added and removed. The product's own clusters have no proxies.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::ports::free_port;
use crate::proxy::Proxy;
use crate::wait::eventually;

/// Seconds that an answer may take. A member that cannot serve may never answer.
const ANSWER: u64 = 3;

/// A running cluster. It goes with this value; its directory is the caller's.
pub struct Members {
    program: PathBuf,
    dir: PathBuf,
    members: Vec<Member>,
    /// The number of the next member.
    next: usize,
}

/// A member of such a cluster.
pub struct Member {
    /// Its name, which no other member had before.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub url: String,
    /// Where it listens for its peers.
    listens: String,
    /// In front of that: what its peers know.
    proxy: Proxy,
    process: Option<Child>,
    is_cut_off: bool,
}

impl Member {
    fn new(number: usize) -> io::Result<Self> {
        let url = || format!("http://127.0.0.1:{}", free_port());
        let listens = url();
        let proxy = Proxy::start(&listens)?;
        let (name, url) = (format!("m{number}"), url());
        Ok(Self { name, id: 0, url, listens, proxy, process: None, is_cut_off: false })
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    fn kill(&mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill()?;
        process.wait().map(drop)
    }

    /// Asks it by the JSON gateway.
    ///
    /// # Errors
    ///
    /// Its answer, if that is an error; or why there is none.
    pub fn ask(&self, call: &str, body: &Value) -> io::Result<Value> {
        let request = minreq::post(format!("{}/v3/{call}", self.url)).with_body(body.to_string());
        let answer = request.with_timeout(ANSWER).send().map_err(io::Error::other)?;
        let text = answer.as_str().map_err(io::Error::other)?;
        match answer.status_code {
            200 => Ok(serde_json::from_str(text)?),
            code => Err(io::Error::other(format!("{} answers {code}: {text}", self.name))),
        }
    }

    fn is_healthy(&self) -> bool {
        minreq::get(format!("{}/health", self.url)).with_timeout(ANSWER).send().is_ok_and(|it| it.status_code == 200)
    }

    /// Whether it answers its peers.
    fn is_started(&self) -> bool {
        minreq::get(format!("{}/version", self.listens)).with_timeout(ANSWER).send().is_ok()
    }
}

/// # Errors
///
/// If it was never true.
fn wait_for(what: &str, look: impl FnMut() -> bool) -> io::Result<()> {
    if eventually(look) { Ok(()) } else { Err(io::Error::other(format!("never: {what}"))) }
}

/// A number, which the gateway writes as text.
fn number(value: &Value, field: &str) -> Option<u64> {
    value.get(field)?.as_str()?.parse().ok()
}

/// A member as the cluster lists it.
#[derive(Clone)]
struct Listed {
    id: u64,
    name: String,
    peer_url: String,
    is_learner: bool,
}

impl Listed {
    fn new(value: &Value) -> Option<Self> {
        let text = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_learner = value.get("isLearner").and_then(Value::as_bool).unwrap_or_default();
        Some(Self { id: number(value, "ID")?, name: text("/name"), peer_url: text("/peerURLs/0"), is_learner })
    }
}

impl Members {
    /// Starts so many members, with their data in `dir`.
    ///
    /// # Errors
    ///
    /// If they do not start.
    pub fn start(program: &Path, dir: &Path, count: usize) -> io::Result<Self> {
        // Another process may take a port before etcd does.
        let mut last = Err(io::Error::other("not tried"));
        for attempt in 1..=3 {
            last = Self::start_in(program, &dir.join(format!("cluster-{attempt}")), count);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn start_in(program: &Path, dir: &Path, count: usize) -> io::Result<Self> {
        fs::create_dir(dir)?;
        let members = (1..=count).map(Member::new).collect::<io::Result<Vec<_>>>()?;
        let mut cluster = Self { program: program.to_owned(), dir: dir.to_owned(), members, next: count + 1 };
        for index in 0..count {
            cluster.spawn(index, false)?;
            // All at once, they would wait for one another.
            cluster.wait_for_start(index)?;
        }
        for index in 0..count {
            cluster.wait_for_health(index)?;
        }
        let list = cluster.list()?;
        for member in &mut cluster.members {
            let listed = list.iter().find(|listed| listed.name == member.name);
            member.id = listed.ok_or(io::ErrorKind::NotFound)?.id;
        }
        Ok(cluster)
    }

    fn spawn(&mut self, index: usize, joins: bool) -> io::Result<()> {
        let peers = self.members.iter().map(|member| format!("{}={}", member.name, member.proxy.endpoint()));
        let peers = peers.collect::<Vec<_>>().join(",");
        let log = self.log(&self.member(index)?.name);
        let member = self.members.get_mut(index).ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(self.dir.join(&member.name)).args(["--name", &member.name]);
        command.args(["--listen-client-urls", &member.url, "--advertise-client-urls", &member.url]);
        command.args(["--listen-peer-urls", &member.listens]);
        command.args(["--initial-advertise-peer-urls", &member.proxy.endpoint(), "--initial-cluster", &peers]);
        command.args(["--initial-cluster-state", if joins { "existing" } else { "new" }]);
        command.args(["--initial-cluster-token", &self.dir.to_string_lossy()]);
        command.args(["--heartbeat-interval", "40", "--election-timeout", "200"]);
        // It refuses changes of the members until all were connected for five seconds.
        command.args(["--strict-reconfig-check=false", "--unsafe-no-fsync", "--logger", "zap"]);
        // Its own settings: some of them end an etcd that is given the same as a flag.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        let log = File::options().append(true).create(true).open(log)?;
        command.envs(crate::GO).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        member.process = Some(command.spawn()?);
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    fn wait_for(&mut self, index: usize, what: &str, is_true: impl Fn(&Member) -> bool) -> io::Result<()> {
        let log = self.log(&self.member(index)?.name);
        let member = self.members.get_mut(index).ok_or(io::ErrorKind::NotFound)?;
        let mut has_ended = false;
        let ended = |member: &mut Member| {
            member.process.as_mut().is_none_or(|process| process.try_wait().is_ok_and(|status| status.is_some()))
        };
        let waited = wait_for(what, || {
            has_ended = ended(member);
            has_ended || is_true(member)
        });
        if waited.is_ok() && !has_ended {
            return Ok(());
        }
        let log = fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        Err(io::Error::other(format!("{} is not {what}; the log ends with {last:?}", member.name)))
    }

    fn wait_for_start(&mut self, index: usize) -> io::Result<()> {
        self.wait_for(index, "started", Member::is_started)
    }

    fn wait_for_health(&mut self, index: usize) -> io::Result<()> {
        self.wait_for(index, "healthy", Member::is_healthy)
    }

    fn member(&self, index: usize) -> io::Result<&Member> {
        self.members.get(index).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The members that there are now.
    #[must_use]
    pub fn all(&self) -> &[Member] {
        &self.members
    }

    /// Where clients reach them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    /// The place of the member that leads, in [`Members::all`].
    ///
    /// # Errors
    ///
    /// If none does.
    pub fn leader(&self) -> io::Result<usize> {
        let mut leader = None;
        wait_for("a member leads", || {
            // It says so itself, and more than half of the members do.
            let named = |member: &Member| number(&member.ask("maintenance/status", &json!({})).ok()?, "leader");
            let views: Vec<_> = self.members.iter().map(named).collect();
            leader = self.members.iter().zip(&views).position(|(member, view)| {
                *view == Some(member.id) && views.iter().filter(|other| *other == view).count() * 2 > views.len()
            });
            leader.is_some()
        })?;
        leader.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Has another member lead. It may fail, as the leader may change by itself.
    ///
    /// # Errors
    ///
    /// If the leader refuses.
    pub fn move_leadership(&self, index: usize) -> io::Result<()> {
        let target = json!({ "targetID": self.member(index)?.id.to_string() });
        self.member(self.leader()?)?.ask("maintenance/transfer-leadership", &target).map(drop)
    }

    /// Kills a member.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn kill(&mut self, index: usize) -> io::Result<()> {
        self.members.get_mut(index).ok_or(io::ErrorKind::NotFound)?.kill()
    }

    /// Asks a member to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(&mut self, index: usize) -> io::Result<()> {
        let member = self.members.get_mut(index).ok_or(io::ErrorKind::NotFound)?;
        let Some(mut process) = member.process.take() else { return Ok(()) };
        Command::new("kill").arg(process.id().to_string()).status()?;
        process.wait().map(drop)
    }

    /// Starts a member again, and waits until it serves.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self, index: usize) -> io::Result<()> {
        self.spawn(index, false)?;
        self.wait_for_health(index)
    }

    /// Cuts a member off from all others, in both directions. Clients still reach it.
    ///
    /// # Errors
    ///
    /// If there is no such member.
    pub fn cut_off(&mut self, index: usize) -> io::Result<()> {
        let id = self.member(index)?.id;
        for (other, member) in self.members.iter_mut().enumerate() {
            if other == index {
                member.is_cut_off = true;
                member.proxy.close();
            } else {
                member.proxy.cut_off(id);
            }
        }
        Ok(())
    }

    /// Ends [`Members::cut_off`], and waits until the member serves.
    ///
    /// # Errors
    ///
    /// If it does not serve.
    pub fn reconnect(&mut self, index: usize) -> io::Result<()> {
        for member in &mut self.members {
            member.is_cut_off = false;
            member.proxy.reconnect();
            member.proxy.open();
        }
        self.wait_for_health(index)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut list = Err(io::Error::from(io::ErrorKind::NotFound));
        wait_for("a member lists all", || {
            let serves = |member: &&Member| member.process.is_some() && !member.is_cut_off;
            let lists = self.members.iter().filter(serves).map(|member| member.ask("cluster/member/list", &json!({})));
            list = lists.reduce(Result::or).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
            list.is_ok()
        })?;
        let list = list?.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(list.iter().filter_map(Listed::new).collect())
    }

    /// Repeats a change of the members until it is done.
    fn change(&self, call: &str, body: &Value, is_done: impl Fn(&[Listed]) -> bool) -> io::Result<()> {
        wait_for(call, || {
            if self.list().is_ok_and(|list| is_done(&list)) {
                return true;
            }
            // What it answers does not matter: the list does.
            for member in self.members.iter().filter(|member| member.process.is_some() && member.id != 0) {
                if member.ask(call, body).is_ok() {
                    break;
                }
            }
            false
        })
    }

    /// Adds a member, starts it, and waits until it has joined; a learner is not promoted. Its place is the last one.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn add(&mut self, is_learner: bool) -> io::Result<()> {
        let added = Member::new(self.next)?;
        self.next += 1;
        let peer = added.proxy.endpoint();
        let listed = |list: &[Listed]| list.iter().find(|listed| listed.peer_url == peer).cloned();
        let body = json!({ "peerURLs": [peer], "isLearner": is_learner });
        self.change("cluster/member/add", &body, |list| listed(list).is_some())?;
        let id = listed(&self.list()?).ok_or(io::ErrorKind::NotFound)?.id;
        self.members.push(Member { id, ..added });
        let index = self.members.len() - 1;
        self.spawn(index, true)?;
        // A learner never is healthy: it serves no linearizable reads.
        if is_learner { self.wait_for_start(index) } else { self.wait_for_health(index) }
    }

    /// Promotes a learner, once it has what the leader has.
    ///
    /// # Errors
    ///
    /// If it never has.
    pub fn promote(&mut self, index: usize) -> io::Result<()> {
        let id = self.member(index)?.id;
        let votes = |list: &[Listed]| list.iter().any(|listed| listed.id == id && !listed.is_learner);
        self.change("cluster/member/promote", &json!({ "ID": id.to_string() }), votes)?;
        self.wait_for_health(index)
    }

    /// Removes a member, then its process and its data.
    ///
    /// # Errors
    ///
    /// If the others refuse.
    pub fn remove(&mut self, index: usize) -> io::Result<()> {
        let id = self.member(index)?.id;
        let is_gone = |list: &[Listed]| list.iter().all(|listed| listed.id != id);
        self.change("cluster/member/remove", &json!({ "ID": id.to_string() }), is_gone)?;
        let mut member = self.members.remove(index);
        member.kill()?;
        member.proxy.close();
        fs::remove_dir_all(self.dir.join(&member.name))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(|member| drop(member.kill()));
    }
}
