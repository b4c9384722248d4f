//! Reads files of bbolt, in which etcd keeps its data and its snapshots: the entries of a bucket, in order. Not about keys and
//! revisions, which `snapshot` finds in them. Not by a crate: the one port of bbolt maps the file into memory
//! and reads it with unsafe code, and the file may be damaged.
//!
//! A file consists of pages. Two of them have meta data, and the newer of the two counts. A bucket is a tree of other pages, or,
//! if it is small, a page within its entry. All numbers are little-endian.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use anyhow::{Result, bail, ensure};

const MAGIC: [u8; 4] = [0xED, 0xDA, 0x0C, 0xED];
const VERSION: u64 = 2;
/// Where the meta data is in its page, after the page's header, and its length.
const META: u64 = 16;
const META_LENGTH: usize = 64;
/// The header of a page: its number (8 bytes), its kind (2), the number of its elements (2), and how many pages more it has (4).
const PAGE_HEADER: usize = 16;
/// An element of a page: a leaf's has flags, offset, key length, value length; a branch's has offset, key length, page number.
const ELEMENT: usize = 16;
/// What is before the page of a bucket within an entry: the number of its root page, which is 0 then, and a sequence.
const BUCKET_HEADER: usize = 16;
const BRANCH: u64 = 1;
const LEAF: u64 = 2;
/// The flag of an element that is a bucket.
const BUCKET: u64 = 1;
/// The sizes that pages can have.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 10..=16;

/// An open file.
pub(super) struct Database {
    file: File,
    length: u64,
    page_size: u64,
    /// The page of the bucket of all buckets.
    root: u64,
}

/// An entry of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Where the value is in the file, in bytes.
    pub(super) at: u64,
    is_bucket: bool,
}

/// A page, or several that belong together, and where it is in the file.
struct Page {
    at: u64,
    bytes: Vec<u8>,
}

/// A valid page of meta data.
struct Meta {
    page_size: u64,
    root: u64,
    transaction: u64,
}

impl Database {
    /// Opens a file whose first `length` bytes are the database.
    pub(super) fn open(file: File, length: u64) -> Result<Self> {
        let mut database = Self { file, length, page_size: 0, root: 0 };
        let first = database.meta(0)?;
        let sizes: Vec<u64> = match &first {
            Some(meta) => vec![meta.page_size],
            None => PAGE_SIZES.map(|bits| 1 << bits).collect(),
        };
        let mut newest = first;
        for size in sizes {
            let second = database.meta(size)?.filter(|meta| meta.page_size == size);
            newest = newest.into_iter().chain(second).max_by_key(|meta| meta.transaction);
        }
        let Some(Meta { page_size, root, .. }) = newest else { bail!("it is not a database of etcd") };
        Ok(Self { page_size, root, ..database })
    }

    /// Calls `visit` with all entries of a bucket, in the order of their keys. There are none without the bucket.
    pub(super) fn entries(&mut self, bucket: &[u8], mut visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let mut found = None;
        let buckets = self.page(self.root)?;
        self.walk(buckets, &mut |entry| {
            if entry.is_bucket && entry.key == bucket {
                found = Some(Page { at: entry.at, bytes: entry.value.to_vec() });
            }
            Ok(())
        })?;
        let Some(Page { at, bytes }) = found else { return Ok(()) };
        let root = match number(&bytes, 0, 8)? {
            0 => Page {
                at: at + BUCKET_HEADER as u64,
                bytes: part(&bytes, BUCKET_HEADER, bytes.len().saturating_sub(BUCKET_HEADER))?.to_vec(),
            },
            id => self.page(id)?,
        };
        self.walk(root, &mut visit)
    }

    /// The bytes at a place of the file.
    pub(super) fn read(&mut self, at: u64, length: usize) -> Result<Vec<u8>> {
        ensure!(
            at.checked_add(length as u64).is_some_and(|end| end <= self.length),
            "it is damaged: it ends too early"
        );
        let mut bytes = vec![0; length];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Visits the entries of a tree. No page is visited twice: a damaged file could lead in circles.
    fn walk(&mut self, root: Page, visit: &mut impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let (mut page, mut next, mut visited) = (root, Vec::new(), 0);
        loop {
            match page.kind()? {
                BRANCH => next.extend(page.children()?.into_iter().rev()),
                LEAF => page.entries()?.into_iter().try_for_each(&mut *visit)?,
                kind => bail!("it is damaged: it has a page of kind {kind} among its data"),
            }
            let Some(id) = next.pop() else { return Ok(()) };
            visited += 1;
            ensure!(visited <= self.length / self.page_size, "it is damaged: its pages lead in a circle");
            page = self.page(id)?;
        }
    }

    fn page(&mut self, id: u64) -> Result<Page> {
        let Some(at) = id.checked_mul(self.page_size) else { bail!("it is damaged: it has no page {id}") };
        let header = self.read(at, PAGE_HEADER)?;
        ensure!(number(&header, 0, 8)? == id, "it is damaged: another page is in the place of page {id}");
        let pages = number(&header, 12, 4)? + 1;
        ensure!(pages * self.page_size <= self.length, "it is damaged: page {id} is too long");
        Ok(Page { at, bytes: self.read(at, usize::try_from(pages * self.page_size)?)? })
    }

    /// The meta data of the page at a place of the file, if it is valid.
    fn meta(&mut self, page: u64) -> Result<Option<Meta>> {
        if page + META + META_LENGTH as u64 > self.length {
            return Ok(None);
        }
        let bytes = self.read(page + META, META_LENGTH)?;
        let checksum = number(&bytes, 56, 8)?;
        let is_valid = bytes.starts_with(&MAGIC)
            && number(&bytes, 4, 4)? == VERSION
            && checksum == fnv(part(&bytes, 0, 56)?)
            && PAGE_SIZES.map(|bits| 1 << bits).any(|size: u64| number(&bytes, 8, 4).is_ok_and(|is| is == size));
        let meta = Meta {
            page_size: number(&bytes, 8, 4)?,
            root: number(&bytes, 16, 8)?,
            transaction: number(&bytes, 48, 8)?,
        };
        Ok(is_valid.then_some(meta))
    }
}

impl Page {
    fn kind(&self) -> Result<u64> {
        number(&self.bytes, 8, 2)
    }

    /// Where the elements are in the page.
    fn elements(&self) -> Result<impl Iterator<Item = usize>> {
        let count = usize::try_from(number(&self.bytes, 10, 2)?)?;
        Ok((0..count).map(|index| PAGE_HEADER + index * ELEMENT))
    }

    /// The pages below a branch.
    fn children(&self) -> Result<Vec<u64>> {
        self.elements()?.map(|element| number(&self.bytes, element + 8, 8)).collect()
    }

    /// The entries of a leaf.
    fn entries(&self) -> Result<Vec<Entry<'_>>> {
        let entry = |element| {
            let field = |index: usize| {
                usize::try_from(number(&self.bytes, element + 4 * index, 4)?).map_err(anyhow::Error::from)
            };
            let (key, key_length, value_length) = (element + field(1)?, field(2)?, field(3)?);
            Ok(Entry {
                key: part(&self.bytes, key, key_length)?,
                value: part(&self.bytes, key + key_length, value_length)?,
                at: self.at + (key + key_length) as u64,
                is_bucket: number(&self.bytes, element, 4)? & BUCKET != 0,
            })
        };
        self.elements()?.map(entry).collect()
    }
}

fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let part = at.checked_add(length).and_then(|end| bytes.get(at..end));
    part.ok_or_else(|| anyhow::anyhow!("it is damaged: a page ends too early"))
}

/// The little-endian number of so many bytes, at most 8.
fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let (number, mut whole) = (part(bytes, at, length)?, [0; 8]);
    whole.iter_mut().zip(number).for_each(|(to, from)| *to = *from);
    Ok(u64::from_le_bytes(whole))
}

/// The checksum of meta data: FNV-1a with 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PAGE: usize = 4096;

    /// A database whose one bucket, `key`, has this value.
    fn with_bucket(value: &[u8]) -> Database {
        let mut file = vec![0; 4 * PAGE];
        let mut write = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        // Page 3: a leaf with one element.
        let at = 3 * PAGE;
        write(at, &3_u64.to_le_bytes());
        write(at + 8, &[2, 0, 1, 0]);
        let fields = [BUCKET as u32, ELEMENT as u32, 3, u32::try_from(value.len()).unwrap()];
        fields.iter().enumerate().for_each(|(index, field)| write(at + PAGE_HEADER + 4 * index, &field.to_le_bytes()));
        write(at + PAGE_HEADER + ELEMENT, b"key");
        write(at + PAGE_HEADER + ELEMENT + 3, value);
        let mut meta = [0; META_LENGTH];
        meta[..4].copy_from_slice(&MAGIC);
        meta[4] = VERSION as u8;
        meta[8..12].copy_from_slice(&(PAGE as u32).to_le_bytes());
        meta[16] = 3;
        let checksum = fnv(&meta[..56]);
        meta[56..].copy_from_slice(&checksum.to_le_bytes());
        write(META as usize, &meta);
        let length = file.len() as u64;
        let mut opened = tempfile::tempfile().unwrap();
        opened.write_all(&file).unwrap();
        Database::open(opened, length).unwrap()
    }

    #[test]
    fn a_bucket_that_is_too_short_is_an_error() {
        for length in 0..BUCKET_HEADER + PAGE_HEADER {
            assert!(with_bucket(&vec![0; length]).entries(b"key", |_| Ok(())).is_err(), "{length}");
        }
        let mut empty = vec![0; BUCKET_HEADER + PAGE_HEADER];
        empty[BUCKET_HEADER + 8] = LEAF as u8;
        with_bucket(&empty).entries(b"key", |_| panic!("it is empty")).unwrap();
    }
}
