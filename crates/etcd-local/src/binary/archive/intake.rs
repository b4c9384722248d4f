//! What of an archive is let in: the judgement on each member, whatever format it comes in. The only part that writes.

use std::io::{self, Read};
use std::path::Path;

use super::{ArchiveError, Fault, Layout, Stop, at_fault};
use crate::binary::Sha256;
use crate::binary::source::{Purpose, write_new};

/// The largest program of any etcd release has 33 MB.
const LARGEST_MEMBER: u64 = 200 << 20;
/// All members together; the largest release unpacks to 80 MB.
const LARGEST_TOTAL: u64 = 600 << 20;
/// etcd 3.4, with all its documentation, has some 200.
const MOST_MEMBERS: u32 = 5_000;

/// What a member says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Takes in members one by one.
pub(super) struct Intake<'a> {
    layout: &'a Layout<'a>,
    into: &'a Path,
    taken: Vec<(String, Sha256)>,
    members: u32,
    total: u64,
}

enum Verdict<'n> {
    Take(&'n str),
    Ignore,
}

impl<'a> Intake<'a> {
    pub(super) fn new(layout: &'a Layout<'a>, into: &'a Path) -> Self {
        Self { layout, into, taken: Vec::new(), members: 0, total: 0 }
    }

    /// One more member or header, before anything of it is believed.
    pub(super) fn count(&mut self) -> Result<(), Stop> {
        self.members = self.members.saturating_add(1);
        if self.members > MOST_MEMBERS {
            return Err(ArchiveError::TooLarge { limit: format!("{MOST_MEMBERS} members") }.into());
        }
        Ok(())
    }

    /// Judges a member and reads exactly `size` bytes of it, to its file or to nowhere.
    pub(super) fn member(&mut self, name: &[u8], kind: Kind, size: u64, content: &mut dyn Read) -> Result<(), Stop> {
        self.count()?;
        if size > LARGEST_MEMBER {
            return Err(at_fault(name, Fault::TooLarge));
        }
        self.total = self.total.saturating_add(size);
        if self.total > LARGEST_TOTAL {
            return Err(ArchiveError::TooLarge { limit: format!("{LARGEST_TOTAL} bytes") }.into());
        }
        let mut content = content.take(size);
        let copied = match self.judge(name, kind).map_err(|fault| at_fault(name, fault))? {
            Verdict::Ignore => io::copy(&mut content, &mut io::sink())?,
            Verdict::Take(program) => {
                let mut faults = Faults { inner: content, fault: None };
                let written = write_new(&mut faults, &self.into.join(program), Purpose::Program);
                // A fault of the archive is not one of the disk.
                if let Some(fault) = faults.fault {
                    return Err(fault.into());
                }
                let (copied, sum) = written.map_err(ArchiveError::Write)?;
                self.taken.push((program.to_owned(), sum));
                copied
            }
        };
        if copied == size { Ok(()) } else { Err(ArchiveError::CutOff.into()) }
    }

    fn judge<'n>(&self, name: &'n [u8], kind: Kind) -> Result<Verdict<'n>, Fault> {
        let name = std::str::from_utf8(name).map_err(|_| Fault::ImproperName)?;
        if name.starts_with('/') || name.contains(['\\', ':']) {
            return Err(Fault::LeadsOut);
        }
        if name.chars().any(char::is_control) {
            return Err(Fault::ImproperName);
        }
        let (path, slash) = name.strip_suffix('/').map_or((name, false), |path| (path, true));
        let mut parts = path.split('/');
        match parts.clone().find(|part| part.is_empty() || *part == "." || *part == "..") {
            Some("..") => return Err(Fault::LeadsOut),
            Some(_) => return Err(Fault::ImproperName),
            None => {}
        }
        if slash && kind == Kind::File {
            return Err(Fault::WrongKind);
        }
        if parts.next() != Some(self.layout.top) {
            return Err(Fault::OutsideTop);
        }
        let Some(first) = parts.next() else {
            return if kind == Kind::Directory { Ok(Verdict::Ignore) } else { Err(Fault::WrongKind) };
        };
        self.judge_inner(first, parts.next().is_none(), kind)
    }

    /// A name below the top folder: its first part, and whether that is all.
    fn judge_inner<'n>(&self, first: &'n str, is_all: bool, kind: Kind) -> Result<Verdict<'n>, Fault> {
        let expected = self.layout.programs.iter().find(|program| program.eq_ignore_ascii_case(first));
        if let Some(expected) = expected {
            let again = self.taken.iter().any(|(taken, _)| taken == expected);
            return match kind {
                _ if !is_all => Err(Fault::WrongKind),
                Kind::Directory => Err(Fault::WrongKind),
                Kind::File if again => Err(Fault::Duplicate),
                Kind::File if expected != first => Err(Fault::Unexpected),
                Kind::File => Ok(Verdict::Take(first)),
            };
        }
        let is_text = ["README", "LICENSE", "CHANGELOG"].iter().any(|text| first.starts_with(text));
        let harmless = match kind {
            Kind::File if is_all => is_text || first == self.layout.ignored,
            Kind::File | Kind::Directory => first == "Documentation",
        };
        if harmless { Ok(Verdict::Ignore) } else { Err(Fault::Unexpected) }
    }

    /// The sums of the programs, in the layout's order; all must have come.
    pub(super) fn finish(self) -> Result<Vec<(String, Sha256)>, ArchiveError> {
        let find = |program: &String| {
            let taken = self.taken.iter().find(|(name, _)| name == program).cloned();
            taken.ok_or_else(|| ArchiveError::Missing { name: format!("{}/{program}", self.layout.top) })
        };
        self.layout.programs.iter().map(find).collect()
    }
}

/// Remembers the error of the reader that it passes on, so that it is not taken for the writer's.
struct Faults<R> {
    inner: R,
    fault: Option<io::Error>,
}

impl<R: Read> Read for Faults<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.fault = Some(error);
            kind.into()
        })
    }
}
