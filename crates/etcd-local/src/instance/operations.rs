//! The commands on an instance, of one member or several.

use std::path::PathBuf;

use etcd_workspace::{MemberRecord, Record};

use super::observe::{ObserveError, Seen};
use super::start::{StartError, Up};
use super::start_members;
use super::stop::{Down, Reset, ResetError, StopError};
use super::{Instance, Status};
use crate::data::Trash;

impl Instance {
    /// Makes sure that the instance runs and is ready, all its members. A member whose data is gone is replaced, if the others
    /// are a majority. Several members that run with another etcd than [`Builder::etcd`](crate::Builder::etcd) asks for are upgraded one by one.
    ///
    /// # Errors
    /// If it does not end ready; the servers that this call started are then stopped again. If only the replacement or the
    /// upgrade of a member fails, the other members go on.
    pub fn up(&self) -> Result<Up, StartError> {
        match self.addresses()? {
            Some(addresses) => start_members::up(self, &addresses),
            None if self.builder.requested.is_several() => start_members::create(self),
            None => self.up_member(),
        }
    }

    /// Describes the instance. Takes no lock for longer than a look, starts nothing, repairs nothing.
    ///
    /// # Errors
    /// If the instance's directory may not be read.
    pub fn status(&self) -> Result<Status, ObserveError> {
        match self.addresses()? {
            Some(addresses) => self.status_of_members(&self.members(&addresses)),
            None => self.status_of_member(),
        }
    }

    /// Stops the servers that run. The data stays.
    ///
    /// # Errors
    /// If a server lives on.
    pub fn down(&self) -> Result<Down, StopError> {
        if self.addresses()?.is_none() {
            return self.down_member();
        }
        let _operation = self.begin_operation()?;
        match self.addresses()? {
            Some(addresses) => self.stop_members(&self.members(&addresses)),
            None => Ok(Down { stopped: Vec::new(), data_dir: self.data_dir() }),
        }
    }

    /// What [`Instance::reset`] would wipe, if anything; of several members the directory that all their data is in.
    ///
    /// # Errors
    /// If it would refuse, or what is there cannot be found out.
    pub fn wipes(&self) -> Result<Option<PathBuf>, ResetError> {
        let Some(addresses) = self.addresses().map_err(StopError::from)? else { return self.wipes_of_member() };
        let members = self.members(&addresses);
        let wiped = members.iter().map(Self::wipes_of_member).collect::<Result<Vec<_>, _>>()?;
        Ok(wiped.iter().any(Option::is_some).then(|| self.data_of_members(&members)))
    }

    /// Stops the servers, wipes the data that they had last (else the configured data directory), and starts them again if
    /// any was running, on the same ports and with a new cluster id.
    ///
    /// # Errors
    /// If data is not ours, no etcd is found to start again, or a server does not stop, in which cases nothing was wiped;
    /// or if the servers do not start again.
    pub fn reset(&self) -> Result<Reset, ResetError> {
        if self.addresses().map_err(StopError::from)?.is_none() {
            return self.reset_member();
        }
        let wiped = self.wipes()?;
        let _operation = self.begin_operation().map_err(StopError::from)?;
        let Some(addresses) = self.addresses().map_err(StopError::from)? else {
            return Ok(Reset { wiped: None, up: None });
        };
        let members = self.members(&addresses);
        let seen = members.iter().map(Self::look).collect::<Result<Vec<_>, _>>().map_err(StopError::from)?;
        let record = self.saved().map_err(StopError::from)?;
        let binary = match seen.iter().all(Seen::is_stopped) {
            true => None,
            false => Some(self.binary_again(record.as_ref())?),
        };
        self.stop_members(&members)?;
        let again = self.with_tls_of(record.as_ref());
        // Forgotten first: members of a cluster that was ready are not started without data.
        if let Some(record) = record {
            let members = record.members.into_iter();
            let members = members.map(|member| MemberRecord { pids: Vec::new(), process: None, ..member }).collect();
            self.save(&Record { cluster_id: None, pids: Vec::new(), members, ..record })?;
        }
        let mut paths = Vec::new();
        for member in &members {
            let record = member.saved().map_err(StopError::from)?;
            let path = member.next_data_dir(record.as_ref());
            if let Some(data) = member.own_data(&path)? {
                data.put_away(&member.dir)?;
            }
            // There are no users in the new data yet: who asks for a learner to be added is none.
            if let Some(record) = record {
                member.save(&Record { password_file: None, ..record })?;
            }
            paths.push((path, &member.dir));
        }
        let up = match binary {
            Some(binary) => Some(start_members::start(&again, &addresses, &binary)?),
            None => None,
        };
        // The slow part comes last: the new servers serve already.
        for (path, dir) in paths {
            Trash::left_beside(&path, dir).into_iter().try_for_each(Trash::delete)?;
        }
        Ok(Reset { wiped, up })
    }

    /// The names of its members and their logs; empty if it has one member.
    #[must_use]
    pub fn member_logs(&self) -> Vec<(String, PathBuf)> {
        // By their directories: a log is there to be read when a record is not. Opening the log says why it cannot be read.
        let names = etcd_workspace::member_names(&self.dir).unwrap_or_default();
        let log = |name: String| (name.clone(), self.dir.join(name).join("etcd.log"));
        names.into_iter().map(log).collect()
    }
}
