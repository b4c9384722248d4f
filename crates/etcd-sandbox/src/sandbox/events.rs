//! The subscriber of `tracing` that a test's threads have: it puts events on the test's timeline, and passes everything on to
//! the subscriber of the process. Only with the feature `tracing`. Keeps nothing: see `kept_events`.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use etcd_keys::text::Escaped;
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Current, Id, Record};
use tracing_core::subscriber::{Interest, NoSubscriber, Subscriber};
use tracing_core::{Event, LevelFilter, Metadata};
use tracing_subscriber::filter::Targets;

use crate::sandbox::recorder::Recorder;
use crate::workspace::variable;

/// How many characters of an event are kept.
const LONGEST: usize = 500;

/// The subscriber of one test.
struct Events {
    wanted: Targets,
    /// Empty until the sandbox is open.
    recorder: OnceLock<Weak<Recorder>>,
    /// The subscriber of the process. The test may set it while it runs.
    next: OnceLock<Dispatch>,
    /// Whether a subscriber was made since it was last looked for.
    may_be_set: AtomicBool,
}

/// A subscriber for the threads of a test. [`record`] says where its events go.
pub(crate) fn dispatch() -> Dispatch {
    // If there is one subscriber only, tracing asks that of the thread that first comes to an event, which may have none, and
    // then never calls any.
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
    let said = variable("RUST_LOG").and_then(|said| said.parse().ok());
    Dispatch::new(Events {
        wanted: said.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)),
        recorder: OnceLock::new(),
        next: OnceLock::new(),
        may_be_set: AtomicBool::new(true),
    })
}

/// Puts the events of a subscriber on a sandbox's timeline.
pub(crate) fn record(dispatch: &Dispatch, recorder: &Arc<Recorder>) {
    if let Some(events) = dispatch.downcast_ref::<Events>() {
        // Called once for each subscriber.
        let _ = events.recorder.set(Arc::downgrade(recorder));
    }
}

/// Has a thread of a test's runtime use the test's subscriber until it ends.
pub(crate) fn adopt_thread(dispatch: &Dispatch) {
    std::mem::forget(dispatcher::set_default(dispatch));
}

impl Events {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.wanted.would_enable(metadata.target(), metadata.level())
    }

    fn next(&self) -> Option<&Dispatch> {
        if self.next.get().is_none() && self.may_be_set.load(Relaxed) && self.may_be_set.swap(false, Relaxed) {
            // This thread sees its own subscriber. A new one sees that of the process.
            let looking = std::thread::Builder::new().spawn(Dispatch::default);
            if let Some(found) = looking.ok().and_then(|looking| looking.join().ok())
                && !found.is::<NoSubscriber>()
            {
                let _ = self.next.set(found);
            }
        }
        self.next.get()
    }
}

impl Subscriber for Events {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The subscriber of the process may be set later.
        Interest::sometimes()
    }

    /// Called whenever a subscriber is made.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.may_be_set.store(true, Relaxed);
        None
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.wants(metadata) || self.next().is_some_and(|next| next.enabled(metadata))
    }

    fn event(&self, event: &Event<'_>) {
        if self.wants(event.metadata())
            && let Some(recorder) = self.recorder.get().and_then(Weak::upgrade)
        {
            recorder.event(line(event));
        }
        if let Some(next) = self.next().filter(|next| next.enabled(event.metadata())) {
            next.event(event);
        }
    }

    // Spans are not recorded. Only those are enabled that the subscriber of the process wants.

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.next().map_or_else(|| Id::from_u64(u64::MAX), |next| next.new_span(span))
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(next) = self.next() {
            next.record(span, values);
        }
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        if let Some(next) = self.next() {
            next.record_follows_from(span, follows);
        }
    }

    fn enter(&self, span: &Id) {
        if let Some(next) = self.next() {
            next.enter(span);
        }
    }

    fn exit(&self, span: &Id) {
        if let Some(next) = self.next() {
            next.exit(span);
        }
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.next().map_or_else(|| span.clone(), |next| next.clone_span(span))
    }

    fn try_close(&self, span: Id) -> bool {
        self.next().is_some_and(|next| next.try_close(span))
    }

    fn current_span(&self) -> Current {
        self.next().map_or_else(Current::none, Dispatch::current_span)
    }
}

/// Level, target, message and fields, as one line without control characters.
fn line(event: &Event<'_>) -> String {
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            // A string takes everything.
            let _ = match field.name() {
                "message" => write!(self.0, " {value:?}"),
                name => write!(self.0, " {name}={value:?}"),
            };
        }
    }

    let mut fields = Fields(format!("{} {}:", event.metadata().level(), event.metadata().target()));
    event.record(&mut fields);
    let mut rest = fields.0.chars();
    let text: String = rest.by_ref().take(LONGEST).collect();
    let more = if rest.next().is_some() { "…" } else { "" };
    // Fields in quotes have their backslashes already.
    text.split('\\').map(|part| Escaped(part.as_bytes()).to_string()).collect::<Vec<_>>().join("\\") + more
}
