//! A strict reader of zip: the directory at the end and the headers in front must tell the same story, and the members
//! must fill the file without gaps. Field offsets and flags are those of PKWARE's APPNOTE 6.3.10.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::intake::{Intake, Kind};
use super::{ArchiveError, Fault, Stop, at_fault, field, malformed};

const LOCAL_HEADER: usize = 30;
const CENTRAL_HEADER: usize = 46;
const END: usize = 22;
/// The directory of a release takes some 30 KiB.
const LARGEST_DIRECTORY: u64 = 4 << 20;
/// Compression levels and the encoding of names; all other flags but the next change how a member is read.
const HARMLESS_FLAGS: u16 = 0b1000_0000_0110;
/// Checksum and sizes follow the data; the directory has them all the same.
const DESCRIPTOR_FLAG: u16 = 0b1000;
/// Zip64 sizes, and names that replace the name: sections 4.5.3 and 4.6.9.
const OVERRIDING_EXTRAS: [u16; 2] = [0x0001, 0x7075];

pub(super) fn read(file: &mut (impl BufRead + Seek), intake: &mut Intake<'_>) -> Result<(), Stop> {
    let (directory, directory_at, count) = read_directory(file)?;
    let (mut rest, mut next) = (directory.as_slice(), 0);
    for _ in 0..count {
        let (member, after) = Member::parse(rest)?;
        rest = after;
        if member.at != next {
            return Err(malformed("its members overlap, or there is something between them"));
        }
        next = read_member(file, &member, directory_at, intake)?;
    }
    if rest.is_empty() && next == directory_at {
        Ok(())
    } else {
        Err(malformed("there is something that its directory does not tell of"))
    }
}

/// The directory's bytes, where it begins, and how many members it has.
fn read_directory(file: &mut (impl Read + Seek)) -> Result<(Vec<u8>, u64, u16), Stop> {
    let length = file.seek(SeekFrom::End(0))?;
    let end_at = length.checked_sub(END as u64).ok_or(ArchiveError::CutOff)?;
    file.seek(SeekFrom::Start(end_at))?;
    let end = read_bytes(file, END)?;
    if field(&end, 0)? != *b"PK\x05\x06" || short(&end, 20)? != 0 {
        return Err(malformed("it does not end with a zip directory"));
    }
    let (count, size, at) = (short(&end, 10)?, u64::from(long(&end, 12)?), u64::from(long(&end, 16)?));
    if short(&end, 4)? != 0 || short(&end, 6)? != 0 || short(&end, 8)? != count {
        return Err(malformed("it has several parts"));
    }
    if at.checked_add(size) != Some(end_at) || size > LARGEST_DIRECTORY {
        return Err(malformed("its directory is not where it should be"));
    }
    file.seek(SeekFrom::Start(at))?;
    let directory = read_bytes(file, usize::try_from(size).unwrap_or(0))?;
    Ok((directory, at, count))
}

/// What the directory says of a member.
struct Member {
    name: Vec<u8>,
    kind: Kind,
    at: u64,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
}

impl Member {
    /// The first member of what is left of the directory, and the rest.
    fn parse(directory: &[u8]) -> Result<(Self, &[u8]), Stop> {
        if field(directory, 0)? != *b"PK\x01\x02" {
            return Err(malformed("its directory holds something else"));
        }
        let lengths = [short(directory, 28)?, short(directory, 30)?, short(directory, 32)?].map(usize::from);
        let [name, extra, comment] = lengths;
        let (_, rest) = directory.split_at_checked(CENTRAL_HEADER).ok_or(ArchiveError::CutOff)?;
        let (name, rest) = rest.split_at_checked(name).ok_or(ArchiveError::CutOff)?;
        let (extra, rest) = rest.split_at_checked(extra).ok_or(ArchiveError::CutOff)?;
        let (_, rest) = rest.split_at_checked(comment).ok_or(ArchiveError::CutOff)?;
        check_extra(name, extra)?;
        let member = Self {
            name: name.to_vec(),
            kind: kind(name, long(directory, 38)?)?,
            at: u64::from(long(directory, 42)?),
            flags: short(directory, 8)?,
            method: short(directory, 10)?,
            crc: long(directory, 16)?,
            packed: u64::from(long(directory, 20)?),
            size: u64::from(long(directory, 24)?),
        };
        member.check()?;
        Ok((member, rest))
    }

    fn check(&self) -> Result<(), Stop> {
        let has_content = self.size != 0 || self.packed != 0;
        if self.flags & !(HARMLESS_FLAGS | DESCRIPTOR_FLAG) != 0 || !matches!(self.method, 0 | 8) {
            return Err(at_fault(&self.name, Fault::Unreadable));
        }
        if self.method == 0 && self.packed != self.size {
            return Err(at_fault(&self.name, Fault::Contradictory));
        }
        if self.kind == Kind::Directory && has_content {
            return Err(at_fault(&self.name, Fault::WrongKind));
        }
        Ok(())
    }

    fn has_descriptor(&self) -> bool {
        self.flags & DESCRIPTOR_FLAG != 0
    }

    fn contradicted(&self) -> Stop {
        at_fault(&self.name, Fault::Contradictory)
    }
}

/// From the name, which must agree with the attributes of MS-DOS (low) and Unix (high) where these say anything.
fn kind(name: &[u8], attributes: u32) -> Result<Kind, Stop> {
    let is_dos_directory = attributes & 0x10 != 0;
    let kind = if name.ends_with(b"/") { Kind::Directory } else { Kind::File };
    match (attributes >> 16) & 0o170_000 {
        0o120_000 => Err(at_fault(name, Fault::Link)),
        0 | 0o040_000 if kind == Kind::Directory => Ok(kind),
        0 | 0o100_000 if kind == Kind::File && !is_dos_directory => Ok(kind),
        0 | 0o040_000 | 0o100_000 => Err(at_fault(name, Fault::WrongKind)),
        _ => Err(at_fault(name, Fault::Special)),
    }
}

fn check_extra(name: &[u8], mut extra: &[u8]) -> Result<(), Stop> {
    while !extra.is_empty() {
        let (id, length) = (short(extra, 0)?, usize::from(short(extra, 2)?));
        if OVERRIDING_EXTRAS.contains(&id) {
            return Err(at_fault(name, Fault::Contradictory));
        }
        extra = extra.get(4 + length..).ok_or(ArchiveError::CutOff)?;
    }
    Ok(())
}

/// Reads one member, and tells where the next one begins.
fn read_member(
    file: &mut (impl BufRead + Seek),
    member: &Member,
    directory_at: u64,
    intake: &mut Intake<'_>,
) -> Result<u64, Stop> {
    file.seek(SeekFrom::Start(member.at))?;
    read_local_header(file, member)?;
    let end = file.stream_position()?.checked_add(member.packed).filter(|end| *end <= directory_at);
    end.ok_or_else(|| member.contradicted())?;
    let mut packed = (&mut *file).take(member.packed);
    let crc = if member.method == 0 {
        unpack(&mut packed, member, intake)?
    } else {
        unpack(&mut DeflateDecoder::new(&mut packed), member, intake)?
    };
    if crc != member.crc || packed.limit() != 0 {
        return Err(at_fault(&member.name, Fault::Corrupt));
    }
    if member.has_descriptor() {
        read_descriptor(file, member)?;
    }
    Ok(file.stream_position()?)
}

fn read_local_header(file: &mut impl Read, member: &Member) -> Result<(), Stop> {
    let header = read_bytes(file, LOCAL_HEADER)?;
    if field(&header, 0)? != *b"PK\x03\x04" {
        return Err(member.contradicted());
    }
    let name = read_bytes(file, usize::from(short(&header, 26)?))?;
    let extra = read_bytes(file, usize::from(short(&header, 28)?))?;
    check_extra(&member.name, &extra)?;
    let told = [long(&header, 14)?, long(&header, 18)?, long(&header, 22)?];
    let is_later = member.has_descriptor() && told == [0; 3];
    let agrees = name == member.name && short(&header, 6)? == member.flags && short(&header, 8)? == member.method;
    if agrees && (is_later || told.map(u64::from) == [u64::from(member.crc), member.packed, member.size]) {
        Ok(())
    } else {
        Err(member.contradicted())
    }
}

/// With or without its optional signature.
fn read_descriptor(file: &mut impl Read, member: &Member) -> Result<(), Stop> {
    let mut descriptor = read_bytes(file, 12)?;
    if field(&descriptor, 0)? == *b"PK\x07\x08" {
        descriptor.drain(..4);
        descriptor.extend(read_bytes(file, 4)?);
    }
    let told = [long(&descriptor, 0)?, long(&descriptor, 4)?, long(&descriptor, 8)?].map(u64::from);
    if told == [u64::from(member.crc), member.packed, member.size] { Ok(()) } else { Err(member.contradicted()) }
}

/// Hands the content on, demands that it ends where the directory says, and tells its checksum.
fn unpack(content: &mut dyn Read, member: &Member, intake: &mut Intake<'_>) -> Result<u32, Stop> {
    let mut summed = Summed { inner: content, crc: Crc::new() };
    intake.member(&member.name, member.kind, member.size, &mut summed)?;
    if summed.read(&mut [0])? != 0 {
        return Err(at_fault(&member.name, Fault::Corrupt));
    }
    Ok(summed.crc.sum())
}

struct Summed<'a> {
    inner: &'a mut dyn Read,
    crc: Crc,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn read_bytes(file: &mut impl Read, count: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; count];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn short(bytes: &[u8], at: usize) -> Result<u16, Stop> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Result<u32, Stop> {
    field(bytes, at).map(u32::from_le_bytes)
}
