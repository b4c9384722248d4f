//! The end of a process that has a run of its own: what its tests left running is cut off from etcd, then the run is
//! swept. If that takes too long, or the process is killed, the next process on this machine sweeps the run.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::connect::connect_to;
use crate::error::Error;
use crate::runs::registry::Registry;
use crate::runs::run::Run;
use crate::sandbox::exit;
use crate::workspace::Target;

/// How long a process that ends waits for its run to be swept.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The process's own run, and where its etcd is.
static OWN: Mutex<Option<(Run, Arc<Target>)>> = Mutex::new(None);

/// What ends the runtime that all sandboxes share.
static END: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>> = Mutex::new(None);

/// Starts the runtime that all sandboxes share, on a thread of its own.
pub(crate) fn start_runtime() -> io::Result<Handle> {
    let runtime = runtime()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel::<()>();
    let until_the_end = move || {
        drop(runtime.block_on(ended));
        runtime.shutdown_background();
    };
    let thread = thread::Builder::new().name("etcd-sandbox".to_owned()).spawn(until_the_end)?;
    *END.lock().unwrap_or_else(PoisonError::into_inner) = Some((end, thread));
    Ok(handle)
}

/// Has the run swept when the process ends.
pub(crate) fn sweep_at_exit(run: Run, target: Arc<Target>) {
    *OWN.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, target));
    exit::at_exit(shut_down);
}

/// On a thread of its own: the ending thread has lost its thread-local values, on which libraries rely.
fn shut_down() {
    let Some((run, target)) = OWN.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let (done, swept) = mpsc::channel::<()>();
    let thread = thread::Builder::new().spawn(move || {
        cut_off();
        if let Ok(runtime) = runtime() {
            drop(runtime.block_on(sweep(run, &target)));
        }
        drop(done);
    });
    if thread.is_ok() {
        let _: Result<(), _> = swept.recv_timeout(TIMEOUT);
    }
}

/// Ends the connection that all sandboxes share, so that nothing is written through it during the sweep.
fn cut_off() {
    if let Some((end, thread)) = END.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // If nobody listens, the thread has ended already. Whether it panicked does not matter any more.
        let _ = end.send(());
        let _ = thread.join();
    }
}

async fn sweep(run: Run, target: &Target) -> Result<(), Error> {
    let connection = connect_to(target).await?;
    let registry = Registry::new(&connection, run.registry().roots().clone());
    run.by(registry).sweep().await?;
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
