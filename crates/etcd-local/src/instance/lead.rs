//! Leading others to a running server: programs that go by its record alone.

use etcd_workspace::{InstanceError, liveness};

use super::Instance;
use super::observe::{Presence, Server};
use super::start::StartError;

impl Instance {
    /// Writes the record of a running server anew where it is lost or damaged. Starts nothing.
    ///
    /// # Errors
    /// If the record cannot be written, or another command keeps the instance locked.
    pub fn lead_others(&self) -> Result<(), StartError> {
        if let Err(InstanceError::Missing { .. } | InstanceError::Damaged { .. }) = liveness(&self.dir) {
            let _operation = self.begin_operation()?;
            if self.record_members()? {
                return Ok(());
            }
            if let Presence::Present(Server { record: Some(record), is_orphan: false, .. }) = self.observe()? {
                self.save(&record)?;
            }
        }
        Ok(())
    }
}
