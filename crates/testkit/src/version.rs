//! The etcds that tests run against, and servers of them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Settings};

/// An etcd that the system has: 3.4 on the machines that we know.
const SYSTEM: &str = "/usr/bin/etcd";

/// Variables for Go, for the etcds of tests: twelve tests share two processors, and none of their servers lives long.
pub const GO: [(&str, &str); 2] = [("GOMAXPROCS", "1"), ("GOGC", "400")];

/// A version of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etcd {
    /// The system's, which may be missing.
    System,
    /// 3.5.
    V3_5,
    /// 3.6. Most tests leave it out: it behaves as 3.5 or 3.7 does.
    V3_6,
    /// 3.7, the default.
    V3_7,
}

impl Etcd {
    /// The versions that most tests run against: the oldest, the newest, and the system's if there is one.
    pub fn every() -> impl Iterator<Item = Self> {
        [Self::System, Self::V3_5, Self::V3_7].into_iter().filter(|etcd| etcd.wanted().is_some())
    }

    /// `None`: this machine does not have it.
    #[must_use]
    pub fn wanted(self) -> Option<Wanted> {
        let exactly = |minor, patch| Some(Wanted::Exactly(semver::Version::new(3, minor, patch)));
        match self {
            Self::System => Path::new(SYSTEM).exists().then(|| Wanted::At(SYSTEM.into())),
            Self::V3_5 => exactly(5, 27),
            Self::V3_6 => exactly(6, 7),
            Self::V3_7 => exactly(7, 2),
        }
    }

    /// A builder of servers of this version.
    ///
    /// # Panics
    ///
    /// If this machine does not have the version.
    #[must_use]
    pub fn builder(self, workspace: impl AsRef<Path>) -> Builder {
        builder(workspace).etcd(self.wanted().unwrap())
    }

    /// The program.
    ///
    /// # Panics
    ///
    /// If this machine does not have the version.
    #[must_use]
    pub fn program(self) -> PathBuf {
        let wanted = self.wanted().unwrap();
        self.builder(env!("CARGO_MANIFEST_DIR")).binaries().find(&wanted).unwrap().path
    }

    /// A server that no other test uses, with more arguments.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    #[must_use]
    pub fn alone(self, args: &[&str]) -> Ephemeral {
        let builder = self.builder(env!("CARGO_MANIFEST_DIR"));
        args.iter().fold(builder, |builder, arg| builder.arg(*arg)).start_ephemeral().unwrap()
    }

    /// The endpoint of a server that the tests of a process share, each below a prefix of its own.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    #[must_use]
    pub fn shared_endpoint(self) -> String {
        static SERVERS: [OnceLock<Mutex<Ephemeral>>; 4] = [const { OnceLock::new() }; 4];
        let [system, v3_5, v3_6, v3_7] = &SERVERS;
        let server = match self {
            Self::System => system,
            Self::V3_5 => v3_5,
            Self::V3_6 => v3_6,
            Self::V3_7 => v3_7,
        };
        let endpoints = server.get_or_init(|| Mutex::new(self.alone(&[]))).lock().unwrap().endpoints();
        endpoints.into_iter().next().unwrap()
    }
}

/// A builder of servers of the default version.
///
/// # Panics
///
/// If the environment cannot be read.
#[must_use]
pub fn builder(workspace: impl AsRef<Path>) -> Builder {
    let cache = kept().join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).without("ETCDBINPATH");
    let env = GO.iter().fold(env, |env, (name, value)| env.with(name, value));
    Builder::with_settings(env, workspace.as_ref(), Settings::default())
}

/// Where tests keep what the next ones can use, such as etcds: cargo's place for temporary files, or XTASK_TEST_TMPDIR for
/// a user who may not write there. No user's cache is touched.
///
/// # Panics
///
/// If this is not a test that cargo built.
#[must_use]
pub fn kept() -> PathBuf {
    std::env::var_os("XTASK_TEST_TMPDIR").map_or_else(
        || {
            // target/debug/deps/test
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).unwrap().join("tmp")
        },
        PathBuf::from,
    )
}
