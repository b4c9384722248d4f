//! Removes cargo's last two lines, `Finished …` and `Running …`, from the terminal. Cargo is not called with `--quiet`, because it
//! would then not report that it waits for another cargo, or what it compiles.

use std::env;
use std::io::{self, IsTerminal as _};

use crate::output;

/// The alias sets this variable. Without it, cargo may have been quiet, and the last lines may be the user's.
const ALOUD: &str = "XTASK_ALIAS";

/// If the terminal is hardly wider than cargo's first line, that line may take several lines.
const NARROW: usize = 78;

/// Removes the lines, if that is safe.
pub(crate) fn take_away() {
    let is_smart = env::var_os("TERM").is_some_and(|term| term != "dumb");
    if env::var_os(ALOUD).is_none() || !is_smart || !io::stderr().is_terminal() {
        return;
    }
    let args: Option<Vec<String>> = env::args_os().map(|arg| arg.into_string().ok()).collect();
    if let Some(lines) = args.zip(columns()).and_then(|(args, columns)| lines(&args, columns)) {
        output::say_part(format_args!("\r\x1b[{lines}A\x1b[J"));
    }
}

#[cfg(unix)]
fn columns() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| size.ws_col.into())
}

/// Not every console on Windows can remove lines.
#[cfg(windows)]
fn columns() -> Option<usize> {
    None
}

/// How many lines of the terminal they take. The second shows the whole command line.
fn lines(args: &[String], columns: usize) -> Option<usize> {
    let (program, args) = args.split_first()?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if columns < NARROW || !is_plain(program) || !args.iter().all(|arg| is_plain(arg)) {
        return None;
    }
    let running = "     Running ``".len() + program.len() + args.iter().map(|arg| 1 + shown(arg)).sum::<usize>();
    Some(1 + running.div_ceil(columns))
}

/// The length of an argument as cargo shows it, with quotes if necessary.
fn shown(arg: &str) -> usize {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/,.+".contains(&byte);
    if !arg.is_empty() && arg.bytes().all(is_bare) {
        return arg.len();
    }
    arg.len() + 2 + 3 * arg.bytes().filter(|byte| b"'!".contains(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_may_take_several_lines() {
        let lines = |args: &str, columns| lines(&args.split('|').map(str::to_owned).collect::<Vec<_>>(), columns);
        assert_eq!(lines("target/debug/xtask|etcd-status", 80), Some(2));
        let rest = "x".repeat(80 - "     Running `t `".len());
        assert_eq!(lines(&format!("t|{rest}"), 80), Some(2));
        assert_eq!(lines(&format!("t|{rest}x"), 80), Some(3));
        assert_eq!(lines(&format!("t|{}", rest.replacen('x', " ", 1)), 80), Some(3), "two quotes");
        assert_eq!(lines("t|ü", 80), None);
        assert_eq!(lines("t|a", 40), None);
    }
}
