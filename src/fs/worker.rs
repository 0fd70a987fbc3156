//! Work that takes several steps on the bus: it waits for each in a thread of its own, because FUSE threads never wait for the bus.

use std::sync::Arc;

use fuser::Errno;
use parking_lot::Mutex;

/// Does `work` in a thread called `name`, and calls `done` with its result; with EIO if there is no thread to be had.
pub(super) fn start<T: 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, Errno> + Send + 'static,
    done: impl FnOnce(Result<T, Errno>) + Send + 'static,
) {
    // A closure that no thread takes is lost, and `done` would be with it.
    let done = Arc::new(Mutex::new(Some(done)));
    let of_thread = Arc::clone(&done);
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = work();
        if let Some(done) = of_thread.lock().take() {
            done(result);
        }
    });
    if let Err(error) = started {
        log::error!("cannot start the thread '{name}': {error}");
        if let Some(done) = done.lock().take() {
            done(Err(Errno::EIO));
        }
    }
}
