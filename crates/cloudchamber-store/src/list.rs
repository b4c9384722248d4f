//! Listing all records below a prefix, however many: page by page, at one revision.

use std::collections::VecDeque;

use etcd_keys::pages::{PageSize, Pages};

use crate::fault::Fault;
use crate::key::Foreign;
use crate::key::Prefix;
use crate::record::{Answer, Record};
use crate::store::{Store, current_revision};

/// Why not all was listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A listing under way: pages of records, in the order of their keys, all as of one revision.
pub struct Listing {
    store: Store,
    prefix: Prefix,
    pages: Pages,
    /// What was read, and is not told yet: keys that are not the store's first, then its records.
    foreign: VecDeque<Foreign>,
    records: Vec<Record>,
}

impl Store {
    /// Lists all records below a prefix, in the order of their keys, as of one revision. [`Store::pages`] holds fewer
    /// at a time.
    ///
    /// # Errors
    /// [`Fault`]. No error is ever taken for the end.
    pub async fn list(&self, prefix: &Prefix) -> Result<Answer<Vec<Record>>, ListError> {
        let outcome = self.list_all(prefix).await;
        let revision = outcome.as_ref().map(|answer| answer.revision);
        self.trace().done(format_args!("list `{prefix}`"), revision);
        outcome
    }

    async fn list_all(&self, prefix: &Prefix) -> Result<Answer<Vec<Record>>, ListError> {
        let mut listing = self.pages(prefix)?;
        let mut records = Vec::new();
        while let Some(mut page) = listing.next_page().await? {
            records.append(&mut page);
        }
        let revision = match listing.revision() {
            Some(revision) => revision,
            None => current_revision(&self.keys()?).await?,
        };
        Ok(Answer { value: records, revision })
    }

    /// Lists all records below a prefix, page by page: memory stays the same however many there are.
    ///
    /// # Errors
    /// [`Fault::Disconnected`].
    pub fn pages(&self, prefix: &Prefix) -> Result<Listing, ListError> {
        let keys = self.keys()?;
        let pages = keys.pages(prefix.to_etcd()).page_size(page_size());
        let (foreign, records) = (VecDeque::new(), Vec::new());
        Ok(Listing { store: self.clone(), prefix: prefix.clone(), pages, foreign, records })
    }
}

/// Records are small and every page costs a round trip: a list of up to 34,000 takes two. What is too large after all
/// is asked for again in smaller pages.
fn page_size() -> PageSize {
    PageSize { first: 2_048, ..PageSize::of_values() }
}

impl Listing {
    /// The next page, never empty; `None`: that was all.
    ///
    /// # Errors
    /// [`Fault`]; after an error the same call may be made again. [`Fault::Foreign`] comes once for each key that is
    /// not the store's; the store's own records follow all the same.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Record>>, ListError> {
        self.store.keys()?; // a disconnected store lists no more
        loop {
            if let Some(foreign) = self.foreign.pop_front() {
                return Err(Fault::from(foreign).into());
            }
            if !self.records.is_empty() {
                return Ok(Some(std::mem::take(&mut self.records)));
            }
            let words = format_args!("list `{}`", self.prefix);
            let Some(page) = self.pages.next_page().await.map_err(Fault::of(words))? else { return Ok(None) };
            for entry in page.into_entries() {
                match Record::from_etcd(entry) {
                    Ok(record) => self.records.push(record),
                    Err(foreign) => self.foreign.push_back(foreign),
                }
            }
        }
    }

    /// The revision that is listed; `None` before the first page.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.pages.seen().map(|(revision, _)| revision)
    }
}
