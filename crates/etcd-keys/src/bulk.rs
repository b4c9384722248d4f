//! Operations on many keys: reads in pages, deletes in chunks, a guard that refuses dangerous deletes, and undo files.

pub mod delete;
pub mod guard;
pub mod pages;
pub mod undo;
