//! An undo file, line by line, and whether it is whole: complete, in order, and of its range. Writes nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::UndoError;
use super::format::{self, Entry, Header, Line};

/// Reads a file from end to end; answers its header and how many keys it has.
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
                return Err(lines.damaged("its key does not come after the one before".to_owned()));
            }
            Some(Line::Entry(entry)) if range.as_ref().is_some_and(|range| !range.contains(&entry.key)) => {
                return Err(lines.damaged(format!("its key is not in the file's range, {}", header.range)));
            }
            Some(Line::Entry(entry)) => (keys, last) = (keys + 1, entry.key),
            Some(Line::End(said)) if said == keys && keys == header.keys => break,
            Some(Line::End(said)) => {
                let reason = format!("it has {keys} keys, but should have {} ({said} at its end)", header.keys);
                return Err(lines.damaged(reason));
            }
            None => return Err(lines.cut_off()),
        }
    }
    match lines.next()? {
        None => Ok((header, keys)),
        Some(_) => Err(lines.damaged("there is more after the end".to_owned())),
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
        // Before it is opened: a pipe would wait for somebody to write.
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

    /// As [`Lines::entry`], in a file that was whole when it was checked; `None`: this was the last one.
    pub(super) fn entry_of_whole(&mut self) -> Result<Option<Entry>, UndoError> {
        match self.entry()? {
            Some(Line::Entry(entry)) => Ok(Some(entry)),
            Some(Line::End(_)) => Ok(None),
            None => Err(self.cut_off()),
        }
    }

    fn cut_off(&self) -> UndoError {
        self.damaged("the file is cut off here: its last line is missing".to_owned())
    }

    fn damaged(&self, reason: String) -> UndoError {
        UndoError::Damaged { path: self.path.clone(), line: self.number, reason }
    }
}
