//! Reads an undo file line by line, and checks that it is complete, in order, and within its range. Writes nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::UndoError;
use super::format::{self, Entry, Header, Line};

/// Checks a whole file. Returns its header and the number of keys.
pub(super) fn check(path: &Path) -> Result<(Header, u64), UndoError> {
    let mut lines = Lines::open(path)?;
    let header = match lines.next()? {
        Some(line) => Header::parse(line),
        None => Err("the file is empty".to_owned()),
    };
    let header = header.map_err(|reason| lines.damaged(reason))?;
    let range = header.key_range().map_err(|reason| lines.damaged(reason))?;
    let (mut keys, mut last) = (0, Vec::new());
    loop {
        match lines.entry()? {
            Some(Line::Entry(entry)) if entry.key <= last => {
                return Err(lines.damaged("the key does not come after the key of the line before".to_owned()));
            }
            Some(Line::Entry(entry)) if range.as_ref().is_some_and(|range| !range.contains(&entry.key)) => {
                return Err(lines.damaged(format!("the key is not in the file's range, {}", header.range)));
            }
            Some(Line::Entry(entry)) => (keys, last) = (keys + 1, entry.key),
            Some(Line::End(count)) if count == keys && keys == header.keys => break,
            Some(Line::End(count)) => {
                let reason =
                    format!("the file has {keys} keys, but its header says {} and its footer {count}", header.keys);
                return Err(lines.damaged(reason));
            }
            None => return Err(lines.incomplete()),
        }
    }
    match lines.next()? {
        None => Ok((header, keys)),
        Some(_) => Err(lines.damaged("there are lines after the footer".to_owned())),
    }
}

/// A file's lines, one at a time.
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: String,
    number: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, UndoError> {
        let failed = |source| UndoError::File { what: "read", path: path.to_owned(), source };
        // Checked before opening, because opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(UndoError::NotRegular { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 18, file),
            line: String::new(),
            number: 0,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<&str>, UndoError> {
        self.line.clear();
        self.number += 1;
        match self.file.read_line(&mut self.line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.line.trim_end())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.damaged("not valid UTF-8".to_owned())),
            Err(source) => Err(UndoError::File { what: "read", path: self.path.clone(), source }),
        }
    }

    pub(super) fn entry(&mut self) -> Result<Option<Line>, UndoError> {
        let parsed = self.next()?.map(format::parse).transpose();
        let mut line = parsed.map_err(|reason| self.damaged(reason))?;
        if let Some(Line::Entry(entry)) = &mut line {
            entry.line = self.number;
        }
        Ok(line)
    }

    /// As [`Lines::entry`], for a file that was complete when it was checked; `None` at the end.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, UndoError> {
        match self.entry()? {
            Some(Line::Entry(entry)) => Ok(Some(entry)),
            Some(Line::End(_)) => Ok(None),
            None => Err(self.incomplete()),
        }
    }

    fn incomplete(&self) -> UndoError {
        self.damaged("the file is incomplete: its footer is missing".to_owned())
    }

    fn damaged(&self, reason: String) -> UndoError {
        UndoError::Damaged { path: self.path.clone(), line: self.number, reason }
    }
}
