//! What every public type can do, wherever it is used.

use std::fmt::Debug;

use etcd_keys::{
    connect, delete, election, error, guard, keys, kv, lease, lock, members, namespace, pages, text, undo, watch,
};

macro_rules! assert_all {
    ($assert:ident: $($type:ty),* $(,)?) => { $($assert::<$type>();)* };
}

fn debug_and_send<T: Debug + Send>() {}
fn sync_too<T: Debug + Send + Sync>() {}

/// Compiling it is the test.
#[test]
fn public_types_are_debug_and_go_to_other_threads() {
    assert_all!(debug_and_send: pages::Pages, watch::Watch, watch::Batch, watch::Events, election::Observer);
    assert_all!(sync_too:
        connect::Connect, connect::Connection, connect::InvalidEndpoint, delete::Deletion, delete::Preview,
        delete::Progress, election::Campaign, election::Leadership, error::Error, error::ErrorKind, error::Operation,
        etcd_keys::KeyRange, etcd_keys::LeaseId, guard::Guard, guard::Prefix, guard::Refusal, keys::Keys, kv::Compare,
        kv::Delete, kv::DeleteResponse, kv::Get, kv::GetResponse, kv::KeyValue, kv::Op, kv::OpResponse, kv::Put,
        kv::PutResponse, kv::Swap, kv::Txn, kv::TxnResponse, lease::Keeper, lease::Lease, lease::Remaining, lock::Lock,
        lock::LockGuard, members::Member, namespace::Namespace, pages::Entry<'_>, pages::Page, pages::PageSize,
        text::Escaped<'_>, text::InvalidEscape, undo::Conflict, undo::Header, undo::Restore, undo::Restored,
        undo::UndoError, undo::Written, watch::Event, watch::EventKind, watch::EventRef<'_>, watch::Notice,
    );
}
