//! Called by what the attribute [`test`](crate::test) expands to. Not for other callers, and free to change.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::error::Error;
use crate::sandbox::Sandbox;
#[cfg(feature = "tracing")]
use crate::sandbox::events;
#[cfg(feature = "private")]
pub use crate::sandbox::private::Private;
use crate::sandbox::recorder::Recorder;

/// Which etcd a test wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The run's.
    Shared,
    /// One for the test alone.
    #[cfg(feature = "private")]
    Private(Private),
}

/// The runtime of an async test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// The test's own thread.
    CurrentThread,
    /// So many worker threads, or as many as tokio takes by default.
    MultiThread(Option<usize>),
}

/// Which keys a test may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Any: the run is swept as a whole.
    Any,
    /// None: the test fails if keys are left.
    Nothing,
}

/// Runs an async test on a runtime of its own. `has_failed` looks at what it returns.
pub fn run<F: Future>(
    name: &str,
    server: Server,
    flavor: Flavor,
    leave: Leave,
    test: impl FnOnce(Sandbox) -> F,
    has_failed: impl FnOnce(&F::Output) -> bool,
) -> F::Output {
    let opened = Opened::new(name, server, flavor);
    explained(opened.sandbox, leave, |sandbox| opened.runtime.block_on(async { test(sandbox).await }), has_failed)
}

/// Runs a test that is not an async function.
pub fn run_blocking<T>(
    name: &str,
    server: Server,
    flavor: Flavor,
    leave: Leave,
    test: impl FnOnce(Sandbox) -> T,
    has_failed: impl FnOnce(&T) -> bool,
) -> T {
    let opened = Opened::new(name, server, flavor);
    explained(opened.sandbox, leave, test, has_failed)
}

/// Runs a test, and prints its timeline if it returns an error or panics, or leaves keys that it may not leave.
fn explained<T>(
    opened: Result<Sandbox, Error>,
    leave: Leave,
    test: impl FnOnce(Sandbox) -> T,
    has_failed: impl FnOnce(&T) -> bool,
) -> T {
    let sandbox = opened.unwrap_or_else(|error| fail(&format!("{error:?}")));
    // A thread that the test has left behind may have the sandbox: it is not dropped then.
    let on_panic = OnPanic(sandbox.recorder());
    let output = test(sandbox);
    if has_failed(&output) {
        on_panic.0.print();
    } else if leave == Leave::Nothing
        && let Some(why) = on_panic.0.keys_left()
    {
        fail(&why);
    }
    output
}

struct OnPanic(Arc<Recorder>);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.print();
        }
    }
}

/// Runs an async test that should panic. If there is no sandbox, the error is printed instead: a panic would let the
/// test pass.
pub fn run_to_panic<F: Future>(name: &str, server: Server, flavor: Flavor, test: impl FnOnce(Sandbox) -> F) {
    let opened = Opened::new(name, server, flavor);
    to_panic(opened.sandbox, |sandbox| drop(opened.runtime.block_on(async { test(sandbox).await })));
}

/// The same for a test that is not an async function.
pub fn run_blocking_to_panic<T>(name: &str, server: Server, flavor: Flavor, test: impl FnOnce(Sandbox) -> T) {
    let opened = Opened::new(name, server, flavor);
    to_panic(opened.sandbox, |sandbox| drop(test(sandbox)));
}

fn to_panic(opened: Result<Sandbox, Error>, test: impl FnOnce(Sandbox)) {
    match opened {
        Ok(sandbox) => {
            sandbox.recorder().silence();
            test(sandbox);
        }
        Err(error) => eprintln!("{error:?}"),
    }
}

/// What a test returned, for [`Failed::has_failed`]: Rust takes the implementation for results where there is one.
#[derive(Debug)]
pub struct Returned<'a, T>(pub &'a T);

/// Whether a test has failed, by what it returned.
pub trait Failed {
    /// Whether it is an error.
    fn has_failed(&self) -> bool;
}

impl<T, E> Failed for Returned<'_, Result<T, E>> {
    fn has_failed(&self) -> bool {
        self.0.is_err()
    }
}

impl<T> Failed for &Returned<'_, T> {
    fn has_failed(&self) -> bool {
        false
    }
}

/// What a test needs.
struct Opened {
    runtime: Runtime,
    sandbox: Result<Sandbox, Error>,
    /// While this is there, events of this thread are on the timeline.
    #[cfg(feature = "tracing")]
    _events: tracing_core::dispatcher::DefaultGuard,
}

impl Opened {
    fn new(name: &str, server: Server, flavor: Flavor) -> Self {
        let mut builder = match flavor {
            Flavor::CurrentThread => Builder::new_current_thread(),
            Flavor::MultiThread(_) => Builder::new_multi_thread(),
        };
        if let Flavor::MultiThread(Some(worker_threads)) = flavor {
            builder.worker_threads(worker_threads);
        }
        #[cfg(feature = "tracing")]
        let dispatch = events::dispatch();
        #[cfg(feature = "tracing")]
        builder.on_thread_start({
            let dispatch = dispatch.clone();
            move || events::adopt_thread(&dispatch)
        });
        let runtime = builder.enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start a runtime: {error}")));
        let sandbox = runtime.block_on(async {
            match server {
                Server::Shared => Sandbox::open(name).await,
                #[cfg(feature = "private")]
                Server::Private(wanted) => Sandbox::open_private(name, wanted).await,
            }
        });
        if let Ok(sandbox) = &sandbox {
            // Runners show this output if the test fails: which etcd this is, and where.
            eprintln!("{sandbox:?}");
            #[cfg(feature = "tracing")]
            events::record(&dispatch, &sandbox.recorder());
        }
        Self {
            runtime,
            sandbox,
            #[cfg(feature = "tracing")]
            _events: tracing_core::dispatcher::set_default(&dispatch),
        }
    }
}

/// A test without a sandbox fails, whatever it returns.
#[expect(clippy::panic, reason = "a test fails by a panic")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}
