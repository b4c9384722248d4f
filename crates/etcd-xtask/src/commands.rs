//! The commands that start, stop, describe and look after etcd, one file each: from arguments to an exit code. What runs
//! tests is in `runs`, and what speaks etcd's API is `etcd-console`'s.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod env_vars;
pub(crate) mod etcd_compact;
pub(crate) mod etcd_down;
pub(crate) mod etcd_install;
pub(crate) mod etcd_list;
pub(crate) mod etcd_logs;
pub(crate) mod etcd_member;
pub(crate) mod etcd_reset;
pub(crate) mod etcd_restart;
pub(crate) mod etcd_status;
pub(crate) mod etcd_up;
pub(crate) mod etcdctl;
