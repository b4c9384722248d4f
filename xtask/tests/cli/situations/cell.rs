//! One cell of the table: a command in a situation, what it said, and what is wrong with that. And how they are shown.

use std::fmt::Write as _;

use super::class::Class;
use super::rows::{Concern, Row};
use crate::playground::Run;

pub(super) struct Cell {
    pub(super) row: &'static Row,
    /// The command, or what was done with it.
    what: String,
    class: Class,
    pub(super) run: Run,
    /// What is wrong; empty where nothing is.
    pub(super) faults: Vec<String>,
}

impl Cell {
    /// Judges what needs no look at the world: the words, and the code.
    pub(super) fn of(row: &'static Row, run: Run, (expected, code): (Class, i32)) -> Self {
        let class = Class::of(row, &run);
        let mut faults = Vec::new();
        if class != expected && class != Class::Unsaid {
            faults.push(format!("it takes the instance for {class:?}, not for {expected:?}"));
        }
        if run.code != Some(code) {
            faults.push(format!("exit code {:?}, not {code}", run.code));
        }
        let count = |word: &str| run.stderr.lines().filter(|line| line.starts_with(word)).count();
        // That it is stopped is an answer of `etcd-status`, and doctor's findings say what to do.
        let is_answer = row.concern == Concern::Checks || (row.concern, run.code) == (Concern::Describes, Some(3));
        let explains = run.code != Some(0) && !is_answer;
        if count("error: ") != usize::from(explains) {
            faults.push(format!("{} lines with `error: `", count("error: ")));
        }
        if explains && count("hint: ") == 0 {
            faults.push("no `hint: `".to_owned());
        }
        if run.stderr.contains("panicked") {
            faults.push("a panic".to_owned());
        }
        Self { row, what: row.line(), class, run, faults }
    }

    /// A hint that was followed.
    pub(super) fn of_hint(row: &'static Row, hint: &[String], (run, fault): (Run, Option<String>)) -> Self {
        let what = format!("{} → {}", row.name, hint.join(" "));
        Self { row, what, class: Class::Unsaid, run, faults: fault.into_iter().collect() }
    }

    /// The line that says most: the first of stderr, else of stdout.
    fn first_line(&self) -> &str {
        let mut lines = [&self.run.stderr, &self.run.stdout].into_iter().flat_map(|text| text.lines());
        lines.find(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// The whole of a situation at a glance, then all that was said where it was wrong.
pub(super) fn table(situation: &str, cells: &[Cell]) -> String {
    let short = |text: &str, length| text.chars().take(length).collect::<String>();
    let mut text = format!("\n{situation}\n");
    for cell in cells {
        let mark = if cell.faults.is_empty() { ' ' } else { '!' };
        let code = cell.run.code.map_or("-".to_owned(), |code| code.to_string());
        let (what, class) = (short(&cell.what, 26), format!("{:?}", cell.class));
        let _ = writeln!(text, "{mark} {what:<26} {class:<9} {code:>3}  {}", short(cell.first_line(), 100));
    }
    for cell in cells.iter().filter(|cell| !cell.faults.is_empty()) {
        let _ = write!(text, "\n{} in `{situation}`: {}\n", cell.what, cell.faults.join("; "));
        let _ = write!(text, "--- stdout\n{}--- stderr\n{}", cell.run.stdout, cell.run.stderr);
    }
    text
}
