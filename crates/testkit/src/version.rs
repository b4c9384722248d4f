//! The etcds that tests run against.

use std::path::Path;

use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Settings};

/// An etcd that the system has: 3.4 on the machines that we know.
const SYSTEM: &str = "/usr/bin/etcd";

/// A version of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etcd {
    /// The system's, which may be missing.
    System,
    /// 3.5.
    V3_5,
    /// 3.6.
    V3_6,
    /// 3.7, the default.
    V3_7,
}

impl Etcd {
    /// `None`: this machine does not have it.
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
    pub fn builder(self, tmp: &str, workspace: impl AsRef<Path>) -> Builder {
        builder(tmp, workspace).etcd(self.wanted().unwrap())
    }
}

/// A builder of servers of the default version that keeps what it installs in `tmp`, which is `CARGO_TARGET_TMPDIR`: the
/// tests share it, and no user's cache is touched.
pub fn builder(tmp: &str, workspace: impl AsRef<Path>) -> Builder {
    let cache = Path::new(tmp).join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).without("ETCDBINPATH");
    Builder::with_settings(env, workspace.as_ref(), Settings::default())
}
