//! Random requests, and how each client is asked them.

use etcd_client::{DeleteOptions, GetOptions, PutOptions, TxnOp, WatchOptions};
use etcd_keys::kv::{Compare, CompareOp, Delete, Get, Op, Put, SortOrder, SortTarget, Txn};
use etcd_keys::{KeyRange, LeaseId};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Which {
    One(Vec<u8>),
    From(Vec<u8>),
    Prefix(Vec<u8>),
    Between(Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Get { which: Which, limit: i64, ago: i64, keys_only: bool, count_only: bool, sort: (SortTarget, SortOrder) },
    Put { key: Vec<u8>, value: Vec<u8>, previous: bool, touch: bool },
    Delete { which: Which, previous: bool },
    Txn { compares: Vec<(Which, CompareOp, Target)>, then: Vec<Request>, or_else: Vec<Request> },
}

#[derive(Clone, Debug)]
pub(super) enum Target {
    Version(i64),
    CreatedAgo(i64),
    WrittenAgo(i64),
    Value(Vec<u8>),
    Lease(i64),
}

/// Where a server stands.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// The revision at which this case began.
    pub(super) start: i64,
    pub(super) now: i64,
}

impl Clock {
    /// From one in the future back to the start.
    fn ago(self, ago: i64) -> i64 {
        (self.now - ago + 2).max(self.start)
    }
}

pub(crate) fn bytes(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(b'/'), Just(b'0'), Just(0xfe), Just(0xff)], lengths)
}

pub(super) fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        2 => bytes(0..4).prop_map(Which::One),
        1 => bytes(0..3).prop_map(Which::From),
        2 => bytes(0..3).prop_map(Which::Prefix),
        2 => (bytes(0..3), bytes(0..3)).prop_map(|(start, end)| Which::Between(start, end)),
    ]
}

fn simple() -> impl Strategy<Value = Request> {
    let target = proptest::sample::select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let order = proptest::sample::select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    prop_oneof![
        2 => (which(), 0..4_i64, 0..6_i64, any::<bool>(), proptest::bool::weighted(0.2), (target, order)).prop_map(
            |(which, limit, ago, keys_only, count_only, sort)| Request::Get { which, limit, ago, keys_only, count_only, sort }
        ),
        4 => (bytes(0..4), bytes(0..2), any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(key, value, previous, touch)| Request::Put { key, value, previous, touch }),
        1 => (which(), any::<bool>()).prop_map(|(which, previous)| Request::Delete { which, previous }),
    ]
}

fn compare() -> impl Strategy<Value = (Which, CompareOp, Target)> {
    let ops = vec![CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
    let target = prop_oneof![
        (0..3_i64).prop_map(Target::Version),
        (0..5_i64).prop_map(Target::CreatedAgo),
        (0..5_i64).prop_map(Target::WrittenAgo),
        bytes(0..2).prop_map(Target::Value),
        (0..2_i64).prop_map(Target::Lease),
    ];
    (which(), proptest::sample::select(ops), target)
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    simple().prop_recursive(2, 12, 3, |inner| {
        let list = || proptest::collection::vec(inner.clone(), 0..3);
        (proptest::collection::vec(compare(), 0..3), list(), list())
            .prop_map(|(compares, then, or_else)| Request::Txn { compares, then, or_else })
    })
}

/// As the namespaced client is asked.
impl Request {
    pub(super) fn ours(self, clock: Clock) -> Op {
        match self {
            Self::Get { which, limit, ago, keys_only, count_only, sort } => {
                let mut get = Get::range(which.ours()).limit(limit).sort(sort.0, sort.1);
                if ago > 0 {
                    get = get.revision(clock.ago(ago));
                }
                get = if keys_only { get.keys_only() } else { get };
                Op::Get(if count_only { get.count_only() } else { get })
            }
            Self::Put { key, value, previous, touch } => {
                let put = if touch { Put::touch(key) } else { Put::new(key, value) };
                Op::Put(if previous { put.previous() } else { put })
            }
            Self::Delete { which, previous } => {
                let delete = Delete::range(which.ours());
                Op::Delete(if previous { delete.previous() } else { delete })
            }
            Self::Txn { compares, then, or_else } => {
                let mut txn = Txn::new();
                for (which, op, target) in compares {
                    let range = which.ours();
                    txn = txn.when(match target {
                        Target::Version(version) => Compare::version(range, op, version),
                        Target::CreatedAgo(ago) => Compare::create_revision(range, op, clock.now - ago),
                        Target::WrittenAgo(ago) => Compare::mod_revision(range, op, clock.now - ago),
                        Target::Value(value) => Compare::value(range, op, value),
                        Target::Lease(lease) => Compare::lease(range, op, LeaseId::new(lease)),
                    });
                }
                txn = then.into_iter().fold(txn, |txn, request| txn.then(request.ours(clock)));
                Op::Txn(or_else.into_iter().fold(txn, |txn, request| txn.or_else(request.ours(clock))))
            }
        }
    }

    /// As etcd-client is asked, with its own ways to say ranges.
    pub(super) fn theirs(self, clock: Clock) -> TxnOp {
        match self {
            Self::Get { .. } => {
                let (key, options) = self.their_get(clock);
                TxnOp::get(key, Some(options))
            }
            Self::Put { key, value, previous, touch } => {
                TxnOp::put(key, if touch { Vec::new() } else { value }, Some(their_put(previous, touch)))
            }
            Self::Delete { which, previous } => {
                let (key, options) = their_delete(which, previous);
                TxnOp::delete(key, Some(options))
            }
            Self::Txn { .. } => TxnOp::txn(self.their_txn(clock)),
        }
    }

    pub(super) fn their_get(self, clock: Clock) -> (Vec<u8>, GetOptions) {
        let Self::Get { which, limit, ago, keys_only, count_only, sort } = self else { unreachable!() };
        let mut options = GetOptions::new().with_limit(limit).with_sort(sort.0, sort.1);
        if ago > 0 {
            options = options.with_revision(clock.ago(ago));
        }
        options = if keys_only { options.with_keys_only() } else { options };
        options = if count_only { options.with_count_only() } else { options };
        match which.sane() {
            Which::One(key) => (key, options),
            Which::From(key) => (key, options.with_from_key()),
            Which::Prefix(key) => (key, options.with_prefix()),
            Which::Between(start, end) => (start, options.with_range(end)),
        }
    }

    pub(super) fn their_txn(self, clock: Clock) -> etcd_client::Txn {
        use etcd_client::Compare;
        let Self::Txn { compares, then, or_else } = self else { unreachable!() };
        let compares = compares.into_iter().map(|(which, op, target)| {
            let (key, end) = match which.sane() {
                Which::One(key) => (key, None),
                Which::From(key) => (if key.is_empty() { vec![0] } else { key }, Some(vec![0])),
                Which::Prefix(key) if key.is_empty() => (vec![0], Some(vec![0])),
                Which::Prefix(key) => (key, Some(Vec::new())),
                Which::Between(start, end) => (start, Some(end)),
            };
            let compare = match target {
                Target::Version(version) => Compare::version(key, op, version),
                Target::CreatedAgo(ago) => Compare::create_revision(key, op, clock.now - ago),
                Target::WrittenAgo(ago) => Compare::mod_revision(key, op, clock.now - ago),
                Target::Value(value) => Compare::value(key, op, value),
                Target::Lease(lease) => Compare::lease(key, op, lease),
            };
            match end {
                None => compare,
                Some(end) if end.is_empty() => compare.with_prefix(),
                Some(end) => compare.with_range(end),
            }
        });
        etcd_client::Txn::new()
            .when(compares.collect::<Vec<_>>())
            .and_then(then.into_iter().map(|request| request.theirs(clock)).collect::<Vec<_>>())
            .or_else(or_else.into_iter().map(|request| request.theirs(clock)).collect::<Vec<_>>())
    }
}

impl Request {
    /// Etcd finds no key that is written twice in a range without end, and namespaces of 0xff have none.
    pub(super) fn without_deletions(self) -> Self {
        let all = |requests: Vec<Self>| requests.into_iter().map(Self::without_deletion).collect();
        match self {
            Self::Txn { compares, then, or_else } => Self::Txn { compares, then: all(then), or_else: all(or_else) },
            request => request,
        }
    }

    fn without_deletion(self) -> Self {
        match self {
            Self::Delete { .. } => Self::Put { key: vec![7], value: vec![7], previous: true, touch: false },
            request => request.without_deletions(),
        }
    }
}

pub(super) fn their_put(previous: bool, touch: bool) -> PutOptions {
    let options = if touch { PutOptions::new().with_ignore_value() } else { PutOptions::new() };
    if previous { options.with_prev_key() } else { options }
}

pub(super) fn their_delete(which: Which, previous: bool) -> (Vec<u8>, DeleteOptions) {
    let options = if previous { DeleteOptions::new().with_prev_key() } else { DeleteOptions::new() };
    // The same: all but those namespaces have an end.
    let last = || vec![0xff; 9];
    match which.sane() {
        Which::One(key) => (key, options),
        Which::From(key) => (key.max(vec![0]), options.with_range(last())),
        Which::Prefix(key) if key.iter().all(|byte| *byte == 0xff) => (key.max(vec![0]), options.with_range(last())),
        Which::Prefix(key) => (key, options.with_prefix()),
        Which::Between(start, end) => (start, options.with_range(end)),
    }
}

impl Which {
    pub(super) fn ours(self) -> KeyRange {
        match self {
            Self::One(key) => KeyRange::key(key),
            Self::From(key) => KeyRange::from_key(key),
            Self::Prefix(key) => KeyRange::prefix(key),
            Self::Between(start, end) => KeyRange::between(start, end),
        }
    }

    /// A key that is in it, if one can be.
    pub(super) fn first(&self) -> Option<Vec<u8>> {
        let range = self.clone().ours();
        let first = if range.start().is_empty() { vec![0] } else { range.start().to_vec() };
        Some(first).filter(|first| !range.is_empty() && range.contains(first))
    }

    pub(super) fn their_watch(self, options: WatchOptions) -> (Vec<u8>, WatchOptions) {
        match self.sane() {
            Self::One(key) => (key, options),
            Self::From(key) => (key, options.with_from_key()),
            Self::Prefix(key) => (key, options.with_prefix()),
            Self::Between(start, end) => (start, options.with_range(end)),
        }
    }

    /// Etcd reads some ends as "no end" and others as "no range", and takes no empty start.
    fn sane(self) -> Self {
        match self {
            Self::Between(start, end) if end <= start || end.as_slice() <= [0].as_slice() => {
                Self::Between(vec![9], vec![9])
            }
            Self::Between(start, end) if start.is_empty() => Self::Between(vec![0], end),
            which => which,
        }
    }
}
