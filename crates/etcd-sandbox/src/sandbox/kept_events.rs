//! The events of `tracing` that are kept for a sandbox's timeline, and their places among the revisions. Asks etcd nothing
//! itself: see `recorder`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::timeline::Note;

/// How many events are kept: the last ones.
const MOST: usize = 1_000;
/// The revision of an event while it is not known.
const UNKNOWN: i64 = i64::MAX;

/// The events of one sandbox. etcd keeps no times: which revision an event follows, etcd is asked right after it, once for
/// all events that came meanwhile.
#[derive(Default)]
pub(super) struct KeptEvents {
    events: VecDeque<Note>,
    /// How many there were before these.
    left_out: u64,
    /// The newest revision that an answer had.
    newest: i64,
    is_asking: bool,
}

impl KeptEvents {
    /// Keeps an event. Whether etcd is to be asked now.
    pub(super) fn push(&mut self, time: Duration, text: String) -> bool {
        if self.events.len() == MOST {
            self.events.pop_front();
            self.left_out += 1;
        }
        self.events.push_back(Note { revision: UNKNOWN, time, text, is_event: true });
        !std::mem::replace(&mut self.is_asking, true)
    }

    /// Takes an answer, or its failure, to a question that was asked at a time. Whether to ask again.
    pub(super) fn place(&mut self, asked: Duration, answer: Option<i64>) -> bool {
        if let Some(revision) = answer {
            // A member that is behind may have answered.
            self.newest = self.newest.max(revision);
            let waiting = self.events.iter_mut().rev().take_while(|event| event.revision == UNKNOWN);
            waiting.filter(|event| event.time <= asked).for_each(|event| event.revision = self.newest);
        }
        self.is_asking = answer.is_some() && self.events.back().is_some_and(|event| event.revision == UNKNOWN);
        self.is_asking
    }

    /// The events as notes. Those whose revision is not known are the last.
    pub(super) fn notes(&self) -> Vec<Note> {
        let first = self.events.front().filter(|_| self.left_out > 0);
        let left_out =
            first.map(|first| Note { text: format!("{} earlier events are not kept", self.left_out), ..first.clone() });
        left_out.into_iter().chain(self.events.iter().cloned()).collect()
    }
}
