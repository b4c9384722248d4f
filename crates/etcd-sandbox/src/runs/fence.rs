//! The fence of a run: a user and a role of etcd that can use the run's own keys and nothing else. Both have one name, which
//! follows from the run's id. The line in the index says whether a run has them: the run itself cannot change that line.

use std::fmt;

use etcd_keys::kv::{Compare, Put, Txn};
use etcd_keys::{Error, KeyRange};

use crate::run_id::{RunId, random_hex};
use crate::runs::registry::Registry;

/// The user of a fenced run.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the user, and of its role.
    pub user: String,
    /// The user's password.
    pub password: String,
}

/// Never shows the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// New ones for a run.
    pub(crate) fn fresh(id: &RunId) -> std::io::Result<Self> {
        Ok(Self { user: id.fence_user(), password: random_hex::<16>()? })
    }
}

impl Registry {
    /// Creates the user and the role of a run whose line in the index says that it is fenced.
    pub(crate) async fn create_fence(&self, id: &RunId, credentials: &Credentials) -> Result<(), Error> {
        let keys = KeyRange::prefix(self.roots().run(id));
        self.connection().create_user_for(&credentials.user, &credentials.password, &keys).await
    }

    /// Deletes the user and the role of a run. The run's processes can then do nothing any more.
    pub(crate) async fn delete_fence(&self, id: &RunId) -> Result<(), Error> {
        self.connection().delete_user_and_role(&id.fence_user()).await
    }

    /// The same for a run whose keys stay.
    pub(crate) async fn delete_fence_of_kept(&self, id: &RunId) -> Result<(), Error> {
        self.delete_fence(id).await?;
        let line = self.index_key(id);
        let txn = Txn::new().when(Compare::present(line.as_str())).then(Put::new(line, ""));
        self.connection().all_keys().send(txn).await.map(drop)
    }
}
