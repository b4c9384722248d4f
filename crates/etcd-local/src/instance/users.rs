//! An instance in which authentication is on. Who switches it on is not here: that takes etcd's API, which may take TLS.

use etcd_workspace::SCHEMA_2;

use super::Instance;
use super::start::StartError;
use crate::data::DataDir;

impl Instance {
    /// Writes down that authentication is on, and that the password of `root` is in [`Instance::passwords`]. It stays so until
    /// the data is wiped.
    ///
    /// # Errors
    /// If that cannot be written, or another command keeps the instance locked.
    pub fn note_users(&self) -> Result<(), StartError> {
        let _operation = self.begin_operation()?;
        match self.addresses()? {
            Some(addresses) => {
                self.members(&addresses).iter().try_for_each(Self::note_users_of_member)?;
                self.record_members().map(drop)
            }
            None => self.note_users_of_member(),
        }
    }

    fn note_users_of_member(&self) -> Result<(), StartError> {
        let Some(mut record) = self.saved()? else { return Ok(()) };
        if let Some(mut data) = DataDir::find(&record.data_dir)? {
            data.has_users()?;
        }
        record.schema = SCHEMA_2;
        record.password_file = Some(self.password_file());
        self.save(&record)
    }
}
