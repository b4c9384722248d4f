//! `etcd-console` with the command `browse`: a program of its own, because the screen's crates take long to build, and most
//! people do not need them. Has no code of its own.

fn main() -> std::process::ExitCode {
    etcd_console::main()
}
