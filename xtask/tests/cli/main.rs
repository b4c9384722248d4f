//! The real `xtask` binary against real etcds, each test in a workspace, an environment and on ports of its
//! own. What etcd-local does without a command line is tested there.

#![cfg(unix)] // Windows is proven by .ci/windows-proof
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod adopter;
mod alias;
mod bad_input;
mod bad_luck;
mod choices;
mod circles;
mod completing;
mod damaged_data;
#[cfg(target_os = "linux")] // mounts
mod doctor;
mod each_version;
mod environment;
mod fenced;
mod handing_over;
mod health;
mod hints;
mod house;
mod installing;
mod ipv6;
mod keys;
#[cfg(target_os = "linux")] // seccomp
mod lacking_system;
mod learners;
mod lifecycle;
mod logs;
mod machine;
mod members;
mod mistakes;
mod observed;
mod on_demand;
mod one_member;
mod playground;
mod protoc_launcher;
mod quiet;
#[cfg(target_os = "linux")] // mounts
mod read_only;
mod report;
mod run_tests;
mod runners;
mod runs;
mod scripts;
mod secure_clusters;
mod several;
mod shards;
#[cfg(target_os = "linux")] // /proc, mounts, namespaces
mod situations;
mod starting;
mod tls;
mod upgrading;
mod users;
mod whose_etcd;
mod words;
