//! Whose data a directory holds: etcd writes the ids of its member and cluster at the head of every file of its write-ahead
//! log. Reads that head; nothing here knows what else is in the log.
//!
//! A file is a row of records. Each has its length in eight bytes before it, and is filled up to a multiple of eight. The
//! first is a checksum, the second has the ids, both as protocol buffers (`Record` in etcd's package `walpb`, `Metadata` in
//! `etcdserverpb`).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use etcd_workspace::ClusterId;

/// Bytes of a length, and what a record is filled up to a multiple of.
const WORD: usize = 8;
/// Bytes of the two records, with the length of the second: at most eighty.
const HEAD: u64 = 256;
const CHECKSUM: u64 = 4;
const METADATA: u64 = 1;

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) member: u64,
    pub(crate) cluster: ClusterId,
}

/// Whose data is in this data directory.
///
/// # Errors
/// If it has no write-ahead log, or one that does not begin as etcd's.
pub(crate) fn owner(data_dir: &Path) -> io::Result<Owner> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data_dir.join("member").join("wal"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    // The first ones are deleted one day.
    let newest = files.into_iter().max().ok_or(io::ErrorKind::NotFound)?;
    let mut file = File::open(newest)?;
    // On Windows etcd has locked the first byte, so that other programs cannot read it.
    file.seek(SeekFrom::Start(WORD as u64))?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    parse(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the head of a write-ahead log"))
}

/// The head of a file after the first record's length.
fn parse(head: &[u8]) -> Option<Owner> {
    let mut rest = head;
    let kind = field(&mut rest, 1)?;
    field(&mut rest, 2)?;
    let first = head.len() - rest.len();
    let mut second = head.get(first.next_multiple_of(WORD) + WORD..)?;
    if (kind, field(&mut second, 1)?) != (CHECKSUM, METADATA) {
        return None;
    }
    field(&mut second, 2)?;
    let &[tag, length, ref data @ ..] = second else { return None };
    let mut ids = data.get(..usize::from(length)).filter(|_| tag == (3 << 3 | 2))?;
    Some(Owner { member: field(&mut ids, 1)?, cluster: ClusterId(field(&mut ids, 2)?) })
}

/// The value of the next field, if it is a number and has this number.
fn field(bytes: &mut &[u8], number: u8) -> Option<u64> {
    let (&tag, mut rest) = bytes.split_first()?;
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (&byte, after) = rest.split_first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        (rest, shift) = (after, shift + 7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    *bytes = rest;
    Some(value).filter(|_| tag == number << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From etcd 3.5.27, 3.6.7 and 3.7.2, without the first length.
    const SEEN: [u8; 48] = [
        0x08, 0x04, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, // a checksum
        0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // 32 bytes follow
        0x08, 0x01, 0x10, 0xbb, 0x81, 0xc7, 0xfc, 0x05, 0x1a, 0x16, 0x08, 0xcd, 0xd2, 0x91, 0x8b, 0xd2, 0xb8, 0x81,
        0xcf, 0x8e, 0x01, 0x10, 0xb2, 0x98, 0xea, 0xf1, 0x94, 0x83, 0x86, 0xfc, 0xcd, 0x01,
    ];

    #[test]
    fn the_ids_are_those_that_etcd_wrote() {
        let owner = parse(&SEEN).unwrap();
        assert_eq!((owner.member, owner.cluster), (0x8e9e_05c5_2164_694d, ClusterId(0xcdf8_1819_4e3a_8c32)));
        // A later file begins with a checksum that is not zero, here so long that the record fills its words.
        let mut later = vec![0x08, 0x04, 0x10, 0xbb, 0x81, 0xc7, 0xfc, 0x05];
        later.extend_from_slice(&SEEN[8..]);
        assert_eq!(parse(&later), Some(owner));
        for end in 0..SEEN.len() {
            assert_eq!(parse(&SEEN[..end]), None, "{end}");
        }
        assert_eq!(parse(&[0xff; 64]), None);
    }
}
