//! Many keys at once: reads in pages, deletes in chunks, the guard before a delete and the undo after it.

pub mod delete;
pub mod guard;
pub mod pages;
pub mod undo;
