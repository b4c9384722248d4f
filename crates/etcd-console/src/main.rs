//! The program: see the library.

fn main() -> std::process::ExitCode {
    etcd_console::main()
}
