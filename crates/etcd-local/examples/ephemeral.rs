//! An etcd for as long as this program lives: prints its pid and its endpoint, then waits for the end of stdin.
//! Close stdin or kill the program, and the server is gone, too.
//!
//! `cargo run -p etcd-local --example ephemeral [ETCD]`, where ETCD is a version, a requirement or a path.

use std::error::Error;
use std::io::{Read, Write};

use etcd_local::{Builder, Env};

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Builder::new(Env::from_process()?, ".")?;
    if let Some(wanted) = std::env::args().nth(1) {
        builder = builder.etcd(wanted.parse()?);
    }
    let etcd = builder.start_ephemeral()?;
    println!("{} {} {}", etcd.pid(), etcd.endpoints().join(","), etcd.dir().display());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
