//! `cargo xtask etcd-up`, `etcd-down`, `test`, `test-clean` and the rest, in this workspace.

fn main() -> std::process::ExitCode {
    etcd_xtask::main()
}
