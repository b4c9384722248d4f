//! Calls that write, and what a connection knows of its own writes: every write of this crate goes through here, so that the
//! history of keys can tell it from the writes of others. The memory itself is `own_writes`.

use crate::client::connect::Connection;
use crate::client::error::Error;
use crate::client::kv::{OpResponse, TxnResponse};
use crate::client::own_writes::{OwnRevisions, RunningWrite};

impl Connection {
    /// The revisions of the connection's own writes. `None`: it does not remember them; see
    /// [`Connect::remember_writes`](crate::Connect::remember_writes).
    #[must_use]
    pub fn own_revisions(&self) -> Option<OwnRevisions> {
        Some(self.own_writes()?.known())
    }

    /// Called before a write, also before one that only may write.
    pub(crate) fn begin_write(&self) -> RunningWrite<'_> {
        RunningWrite::begin(self.own_writes())
    }

    /// Makes a call that may write. `revision` finds the revision of the write in the answer; `None`: nothing was written.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
        revision: impl FnOnce(&T) -> Option<i64>,
    ) -> Result<T, Error> {
        let write = self.begin_write();
        let answer = call.await;
        match &answer {
            Ok(answer) => write.wrote(revision(answer)),
            Err(error) => write.failed(error),
        }
        answer
    }
}

/// The revision of a transaction; `None`: it wrote nothing.
pub(crate) fn revision_of_txn(answer: &TxnResponse) -> Option<i64> {
    fn has_written(answer: &TxnResponse) -> bool {
        answer.responses.iter().any(|response| match response {
            OpResponse::Get(_) => false,
            OpResponse::Put(_) => true,
            OpResponse::Delete(answer) => answer.deleted > 0,
            OpResponse::Txn(inner) => has_written(inner),
        })
    }
    has_written(answer).then_some(answer.revision)
}
