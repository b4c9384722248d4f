//! The arguments of `browse`.

use clap::Args;

/// Look around in the keys on the whole terminal; without PREFIX, below the product's root
///
/// Shows one folder at a time: the names up to the next `/`, with the value of the selected key. Keys that change are
/// highlighted. JSON is indented, protobuf is shown by its raw fields, other bytes in hexadecimal. `h` shows the history of a
/// key or a folder, `/` searches, `?` lists all keys of the keyboard, `q` quits. Reads and keeps no more keys than it shows.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask browse\n  cargo xtask browse /Inventory/v1/racks/")]
pub struct Browse {
    /// The folder to begin with, with `/` at its end; or a key
    pub prefix: Option<String>,
    /// Allow deleting: `D` deletes the selected key or folder as `del` does, with its preview, guards and undo file
    #[arg(long)]
    pub write: bool,
}
