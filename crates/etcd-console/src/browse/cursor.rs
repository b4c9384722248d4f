//! Finds the names up to the next `/` below a prefix, and skips the keys below each folder. Sends no requests: names the next
//! range, and takes what is in the range.
//!
//! etcd counts all keys of a range, whatever the limit: 1,000,000 keys take 150 ms. So only the first request asks for the
//! whole folder. The next ones ask for keys that begin like the last name, and for more only if there are none.

use etcd_keys::KeyRange;
use etcd_keys::range::successor;

/// So many keys are counted in no time.
const FEW: i64 = 1_000;
/// From so many keys on, it is worth looking for one folder at a time.
const MANY: i64 = 10_000;

/// A name below the prefix: a key, or a folder with its `/`, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) bytes: Vec<u8>,
    pub(super) is_folder: bool,
}

impl Name {
    /// The name that a key has in a folder; `None` if the key is not in the folder.
    pub(super) fn of(key: &[u8], folder: &[u8]) -> Option<Self> {
        let below = key.strip_prefix(folder)?;
        let slash = below.iter().position(|byte| *byte == b'/');
        let end = slash.map_or(key.len(), |slash| folder.len() + slash + 1);
        Some(Self { bytes: key.get(..end)?.to_vec(), is_folder: slash.is_some() })
    }

    /// The first key after it, and after all that is in it.
    fn after(&self) -> Vec<u8> {
        let after_folder = self.is_folder.then(|| KeyRange::prefix(self.bytes.as_slice()).end()).flatten();
        after_folder.unwrap_or_else(|| successor(&self.bytes))
    }
}

/// Where to look first after a range of many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Nowhere,
    /// Up to the key that the next folder begins with, if it is like the last one: after `7/0001` comes `8/0001`.
    FirstKey,
    /// In the next folder, if its name differs by one.
    Folder,
}

pub(super) struct Cursor {
    prefix: Vec<u8>,
    /// The first key that may follow.
    next: Vec<u8>,
    is_at_end: bool,
    /// At most so many keys follow.
    left: i64,
    /// How many bytes of `next` after the prefix the next range keeps; 0: the range is the rest of the folder.
    kept: usize,
    /// By how much `kept` shrinks if a range is empty. Doubled each time.
    step: usize,
    probe: Probe,
    /// The last name, and its first key if it is a folder.
    last: Vec<u8>,
    first_in_last: Vec<u8>,
}

impl Cursor {
    /// Starts at a key of the folder, or at the prefix.
    pub(super) fn new(prefix: Vec<u8>, start: Vec<u8>) -> Self {
        let kept = start.len().saturating_sub(prefix.len() + 1);
        let (is_at_end, probe, last, first_in_last) = (false, Probe::Nowhere, Vec::new(), Vec::new());
        Self { prefix, next: start, is_at_end, left: i64::MAX, kept, step: 1, probe, last, first_in_last }
    }

    pub(super) fn next(&self) -> &[u8] {
        &self.next
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Continues after this name.
    pub(super) fn go_back_to(&mut self, name: &Name) {
        self.next.clone_from(&name.bytes);
        (self.is_at_end, self.left) = (false, i64::MAX);
    }

    /// The range to ask for; `None` at the end of the folder.
    pub(super) fn range(&self) -> Option<KeyRange> {
        if self.is_at_end {
            return None;
        }
        let end = self.near_end().or(KeyRange::prefix(self.prefix.as_slice()).end());
        Some(match end {
            Some(end) => KeyRange::between(self.next.as_slice(), end),
            None => KeyRange::from_key(if self.next.is_empty() { &[0][..] } else { self.next.as_slice() }),
        })
    }

    /// The end of the next range, if the range is not the rest of the folder.
    fn near_end(&self) -> Option<Vec<u8>> {
        if self.left <= FEW {
            return None;
        }
        let kept = self.prefix.len() + self.kept;
        let end = match self.probe {
            Probe::FirstKey => self.expected_key(),
            Probe::Folder => self.after_next_folder(kept),
            Probe::Nowhere => None,
        };
        let end = match end {
            Some(end) => end,
            None => KeyRange::prefix(self.next.get(..kept)?).end()?,
        };
        let end_of_folder = KeyRange::prefix(self.prefix.as_slice()).end();
        (end > self.next && end_of_folder.is_none_or(|end_of_folder| end < end_of_folder)).then_some(end)
    }

    /// After the first key of the next folder, if both are like the last ones.
    fn expected_key(&self) -> Option<Vec<u8>> {
        let mut key = self.first_in_last.clone();
        // The character before the slash.
        let byte = key.get_mut(self.last.len().checked_sub(2)?)?;
        *byte = byte.checked_add(1)?;
        Some(successor(&key))
    }

    fn after_next_folder(&self, kept: usize) -> Option<Vec<u8>> {
        let byte = self.next.get(kept)?.checked_add(2)?;
        Some(self.next.get(..kept)?.iter().copied().chain([byte]).collect())
    }

    /// Takes the first keys of the range, and how many keys the range has. Returns at most `most` names.
    pub(super) fn take(&mut self, keys: &[Vec<u8>], count: i64, most: usize) -> Vec<Name> {
        let near_end = self.near_end();
        let mut names: Vec<Name> = Vec::new();
        let mut taken = 0;
        for key in keys {
            let is_in_last = names.last().is_some_and(|last| last.is_folder && key.starts_with(&last.bytes));
            if !is_in_last {
                if names.len() == most {
                    break;
                }
                names.extend(Name::of(key, &self.prefix));
                self.first_in_last.clone_from(key);
            }
            taken += 1;
        }
        let Some(last) = names.last() else {
            self.widen(near_end);
            return names;
        };
        self.next = last.after();
        if near_end.is_none() {
            self.left = count - taken;
        }
        self.step = 1;
        if self.probe != Probe::FirstKey || !last.is_folder {
            self.probe = if count > MANY && last.is_folder { Probe::FirstKey } else { Probe::Nowhere };
        }
        let before =
            names.len().checked_sub(2).and_then(|before| names.get(before)).map_or(&self.last, |name| &name.bytes);
        let shared = before.iter().zip(&last.bytes).take_while(|(one, other)| one == other).count();
        // Without a name to compare with, the next one is expected to differ in its last character.
        let of_first = last.bytes.len() - usize::from(last.is_folder);
        let shared = if before.is_empty() { of_first.saturating_sub(1) } else { shared };
        self.kept = shared.saturating_sub(self.prefix.len());
        self.last.clone_from(&last.bytes);
        names
    }

    /// The range up to `near_end` is empty: the next one begins there, and is wider.
    fn widen(&mut self, near_end: Option<Vec<u8>>) {
        let Some(end) = near_end else {
            self.is_at_end = true;
            return;
        };
        match self.probe {
            Probe::FirstKey => self.probe = Probe::Folder,
            Probe::Folder => self.probe = Probe::Nowhere,
            Probe::Nowhere => {
                self.kept = self.kept.saturating_sub(self.step);
                self.step *= 2;
            }
        }
        self.kept = self.kept.min(end.len().saturating_sub(self.prefix.len()));
        self.next = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers like etcd. Returns the names, the number of requests, and how many keys etcd counted after the first request.
    fn read(prefix: &str, keys: &[String], most: usize) -> (Vec<Name>, usize, usize) {
        let mut cursor = Cursor::new(prefix.into(), prefix.into());
        let (mut names, mut requests, mut counted) = (Vec::new(), 0, 0);
        while let Some(range) = cursor.range().filter(|_| names.len() < most) {
            let start = keys.partition_point(|key| key.as_bytes() < range.start());
            let end = range.end().map_or(keys.len(), |end| keys.partition_point(|key| key.as_bytes() < end.as_slice()));
            let found = &keys[start..end.max(start)];
            let first: Vec<Vec<u8>> = found.iter().take(50).map(|key| key.clone().into_bytes()).collect();
            names.extend(cursor.take(&first, found.len() as i64, most - names.len()));
            requests += 1;
            counted += if requests > 1 { found.len() } else { 0 };
        }
        (names, requests, counted)
    }

    fn all_names(prefix: &str, keys: &[String]) -> Vec<Name> {
        let mut names: Vec<_> = keys.iter().filter_map(|key| Name::of(key.as_bytes(), prefix.as_bytes())).collect();
        names.dedup();
        names
    }

    #[test]
    fn what_is_below_a_folder_is_skipped() {
        let keys = ["/a/1", "/a/b", "/a/b/1", "/a/b/2", "/a/b/2/3", "/a/c/1", "/a/d", "/b/1"].map(str::to_owned);
        let (names, requests, _) = read("/a/", &keys, 20);
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(&name.bytes).into_owned()).collect();
        assert_eq!(names, ["/a/1", "/a/b", "/a/b/", "/a/c/", "/a/d"]);
        assert_eq!(requests, 2);
    }

    #[test]
    fn a_screen_of_folders_makes_etcd_count_few_keys() {
        let many = |folders: u32, keys: u32| -> Vec<String> {
            (0..folders).flat_map(|folder| (0..keys).map(move |key| format!("/a/{folder:06}/{key:06}"))).collect()
        };
        for (keys, requests, counted) in [
            (many(200, 100), 60, 30_000),
            (many(9, 11_000), 30, 11_000),
            (
                ["big/", "zoo/"]
                    .iter()
                    .flat_map(|name| (0..11_000).map(move |key| format!("/a/{name}{key:06}")))
                    .collect(),
                10,
                11_000,
            ),
        ] {
            let read = read("/a/", &keys, 20);
            assert!(read.1 <= requests && read.2 <= counted, "{} requests, {} keys", read.1, read.2);
            assert_eq!(read.0, all_names("/a/", &keys)[..read.0.len()]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// With many keys, so that ranges are narrow.
        #[test]
        fn it_finds_the_names_that_reading_all_keys_finds(
            names in prop::collection::btree_set("[0-3a/\u{ff}]{1,6}", 1..60), bulk in prop::bool::ANY, most in 1_usize..40,
        ) {
            let mut keys: Vec<_> = names.iter().map(|name| format!("/p/{name}")).collect();
            if bulk {
                keys.extend((0..10_500).map(|number| format!("/p/zz/{number:05}")));
            }
            keys.sort();
            let expected = all_names("/p/", &keys);
            let found = read("/p/", &keys, most).0;
            prop_assert_eq!(&found, &expected[..most.min(expected.len())]);
        }
    }
}
