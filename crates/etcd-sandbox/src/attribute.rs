//! What the attribute [`test`](crate::test) expands to calls. Not for anybody else, and free to change.

use crate::sandbox::Sandbox;

/// Which etcd a test wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The run's.
    Shared,
    /// One for the test alone.
    #[cfg(feature = "private")]
    Private,
}

/// Runs an async test on a runtime of its own.
pub fn run<F: Future>(name: &str, server: Server, test: impl FnOnce(Sandbox) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start a runtime: {error}")));
    runtime.block_on(async { test(open(name, server).await).await })
}

/// Runs a test that is no async function.
pub fn run_blocking<T>(name: &str, server: Server, test: impl FnOnce(Sandbox) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start a runtime: {error}")));
    test(runtime.block_on(open(name, server)))
}

async fn open(name: &str, server: Server) -> Sandbox {
    let opened = match server {
        Server::Shared => Sandbox::open(name).await,
        #[cfg(feature = "private")]
        Server::Private => Sandbox::open_private(name).await,
    };
    let sandbox = opened.unwrap_or_else(|error| fail(&format!("{error:?}")));
    // Which etcd this is, and where: the output that runners show of a test that failed.
    eprintln!("{sandbox:?}");
    sandbox
}

/// A test that has no sandbox fails, whatever it returns.
#[expect(clippy::panic, reason = "it is how a test fails")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}
