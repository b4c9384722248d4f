//! Listing all records below a prefix, however many: page by page, at one revision.

use std::collections::VecDeque;

use etcd_keys::pages::{PageSize, Pages};

use crate::error::{Error, Failure};
use crate::key::Prefix;
use crate::record::{Answer, Record};
use crate::store::{Store, current_revision};

/// A listing: pages of records, in the order of their keys, all as of one revision.
pub struct Listing {
    store: Store,
    prefix: Prefix,
    pages: Pages,
    /// What was read and not returned yet: first the keys that are not valid, then the records.
    invalid: VecDeque<Failure>,
    records: Vec<Record>,
}

impl Store {
    /// Lists all records below a prefix, in the order of their keys, as of one revision. [`Store::pages`] needs less
    /// memory.
    ///
    /// # Errors
    /// If etcd refuses or does not answer, or if a key is [not valid](crate::ErrorKind::InvalidKey). No error is taken for
    /// the end of the list.
    pub async fn list(&self, prefix: &Prefix) -> Result<Answer<Vec<Record>>, Error> {
        let outcome = self.try_list(prefix).await;
        self.finish(format_args!("list `{prefix}`"), outcome)
    }

    async fn try_list(&self, prefix: &Prefix) -> Result<Answer<Vec<Record>>, Failure> {
        let mut listing = self.try_pages(prefix)?;
        let mut records = Vec::new();
        while let Some(mut page) = listing.try_next_page().await? {
            records.append(&mut page);
        }
        let revision = match listing.revision() {
            Some(revision) => revision,
            None => current_revision(&self.keys()?).await?,
        };
        Ok(Answer { value: records, revision })
    }

    /// Lists all records below a prefix, page by page: the memory needed does not grow with their number.
    ///
    /// # Errors
    /// [`ErrorKind::Disconnected`](crate::ErrorKind::Disconnected).
    pub fn pages(&self, prefix: &Prefix) -> Result<Listing, Error> {
        self.try_pages(prefix).map_err(|failure| Error::new(format_args!("list `{prefix}`"), failure))
    }

    fn try_pages(&self, prefix: &Prefix) -> Result<Listing, Failure> {
        let pages = self.keys()?.pages(prefix.to_etcd()).page_size(page_size());
        let (invalid, records) = (VecDeque::new(), Vec::new());
        Ok(Listing { store: self.clone(), prefix: prefix.clone(), pages, invalid, records })
    }
}

/// Records are small and every page costs a round trip: a list of up to 34,000 records takes two. A page that is too
/// large after all is read again as smaller pages.
fn page_size() -> PageSize {
    PageSize { first: 2_048, ..PageSize::of_values() }
}

impl Listing {
    /// The next page, never empty; `None`: that was all.
    ///
    /// # Errors
    /// As [`Store::list`]. After an error, the same call may be made again.
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey) comes once for each such key; all valid records follow.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Record>>, Error> {
        let page = self.try_next_page().await;
        page.map_err(|failure| Error::new(format_args!("list `{}`", self.prefix), failure))
    }

    async fn try_next_page(&mut self) -> Result<Option<Vec<Record>>, Failure> {
        self.store.keys()?; // a disconnected store lists no more
        loop {
            if let Some(failure) = self.invalid.pop_front() {
                return Err(failure);
            }
            if !self.records.is_empty() {
                return Ok(Some(std::mem::take(&mut self.records)));
            }
            let Some(page) = self.pages.next_page().await? else { return Ok(None) };
            for entry in page.into_entries() {
                match Record::from_etcd(entry) {
                    Ok(record) => self.records.push(record),
                    Err(failure) => self.invalid.push_back(failure),
                }
            }
        }
    }

    /// The revision of the listing; `None` before the first page.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.pages.seen().map(|(revision, _)| revision)
    }
}
