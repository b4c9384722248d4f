//! A strict reader of gzipped tar: only what release archives are made of, and every byte accounted for.
//! The field offsets are those of POSIX.1-1988 ustar, and of GNU tar, which shares them up to byte 345.

use std::io::{BufRead, Read};

use flate2::bufread::GzDecoder;

use super::intake::{Intake, Kind};
use super::{Fault, Stop, at_fault, field, malformed};

const BLOCK: usize = 512;
/// GNU tar fills its last record of 20 blocks with zeros, libarchive likewise.
const MOST_PADDING: u64 = 1 << 20;
/// A pax header holds a few short lines.
const LARGEST_PAX: u64 = 64 << 10;

pub(super) fn read(file: &mut impl BufRead, intake: &mut Intake<'_>) -> Result<(), Stop> {
    let mut tar = GzDecoder::new(&mut *file);
    loop {
        let block: [u8; BLOCK] = next_block(&mut tar)?;
        if is_zero(&block) {
            break;
        }
        let header = Header::parse(&block)?;
        match header.entry {
            Entry::Member(kind) => intake.member(&header.name, kind, header.size, &mut tar)?,
            Entry::Pax => read_pax(&header, intake, &mut tar)?,
        }
        let beyond = usize::try_from(header.size % BLOCK as u64).unwrap_or(0);
        let mut padding = vec![0; (BLOCK - beyond) % BLOCK];
        tar.read_exact(&mut padding)?;
        if !is_zero(&padding) {
            return Err(malformed("there is something between two members"));
        }
    }
    if !is_zero(&next_block(&mut tar)?) {
        return Err(malformed("its end mark is incomplete"));
    }
    read_padding(&mut tar)?;
    // The decoder has checked length and checksum on reaching the end; the file must end there too.
    if file.fill_buf()?.is_empty() { Ok(()) } else { Err(malformed("there is something behind its end")) }
}

fn next_block(tar: &mut impl Read) -> Result<[u8; BLOCK], Stop> {
    let mut block = [0; BLOCK];
    tar.read_exact(&mut block)?;
    Ok(block)
}

fn read_padding(tar: &mut impl Read) -> Result<(), Stop> {
    let mut padding = Vec::new();
    let count = tar.take(MOST_PADDING + 1).read_to_end(&mut padding)?;
    if count as u64 > MOST_PADDING || !is_zero(&padding) {
        return Err(malformed("there is something behind its end mark"));
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

struct Header {
    name: Vec<u8>,
    entry: Entry,
    size: u64,
}

enum Entry {
    Member(Kind),
    /// Further attributes of the member that follows.
    Pax,
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Result<Self, Stop> {
        if octal(&field::<8>(block, 148)?) != Some(checksum(block)) {
            return Err(malformed("a header's checksum is wrong"));
        }
        let name = text(&field::<100>(block, 0)?)?;
        let name = match &field::<8>(block, 257)? {
            b"ustar\x0000" => match text(&field::<155>(block, 345)?)? {
                prefix if prefix.is_empty() => name,
                prefix => [prefix.as_slice(), name.as_slice()].join(&b'/'),
            },
            b"ustar  \0" => name,
            _ => return Err(malformed("a header is neither ustar nor GNU")),
        };
        let size = octal(&field::<12>(block, 124)?).ok_or_else(|| at_fault(&name, Fault::TooLarge))?;
        let [kind] = field::<1>(block, 156)?;
        let entry = match kind {
            b'0' | 0 => Entry::Member(Kind::File),
            b'5' if size == 0 => Entry::Member(Kind::Directory),
            b'x' => Entry::Pax,
            b'1' | b'2' => return Err(at_fault(&name, Fault::Link)),
            // Sparse files, long names, global headers and the like: no release needs them.
            _ => return Err(at_fault(&name, Fault::Special)),
        };
        let is_link = !is_zero(&field::<100>(block, 157)?);
        if is_link { Err(at_fault(&name, Fault::Link)) } else { Ok(Self { name, entry, size }) }
    }
}

/// The sum of a header's bytes, with its own field counted as blanks.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let value = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) };
    block.iter().enumerate().map(value).sum()
}

/// A text up to its first NUL; behind that there must be nothing but NULs.
fn text(field: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut parts = field.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default().to_vec();
    if parts.next().is_none_or(is_zero) { Ok(text) } else { Err(at_fault(field, Fault::ImproperName)) }
}

/// An octal number, ended by NULs or blanks. GNU's binary numbers are for files that no release has.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

/// Times and owners do no harm; anything else in a pax header would override what the member's own header says.
fn read_pax(header: &Header, intake: &mut Intake<'_>, tar: &mut impl Read) -> Result<(), Stop> {
    intake.count()?;
    if header.size > LARGEST_PAX {
        return Err(at_fault(&header.name, Fault::TooLarge));
    }
    let mut content = vec![0; usize::try_from(header.size).unwrap_or(0)];
    tar.read_exact(&mut content)?;
    if are_harmless(&content) { Ok(()) } else { Err(malformed("a pax header overrides a member's name, size or kind")) }
}

/// Records are `LENGTH KEY=VALUE\n`, where the length counts all of that.
fn are_harmless(mut records: &[u8]) -> bool {
    const HARMLESS: [&[u8]; 8] = [b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"];
    while !records.is_empty() {
        let Some(blank) = records.iter().position(|byte| *byte == b' ') else { return false };
        let length = records.get(..blank).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        let Some((record, rest)) = length.and_then(|length| records.split_at_checked(length)) else { return false };
        let key = record.get(blank + 1..).and_then(|pair| pair.strip_suffix(b"\n")?.split(|byte| *byte == b'=').next());
        if !key.is_some_and(|key| HARMLESS.contains(&key)) {
            return false;
        }
        records = rest;
    }
    true
}
