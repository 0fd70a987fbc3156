//! Work that takes several steps on the bus: it waits for each in a thread of its own, because FUSE threads never wait for the bus.

use fuser::Errno;

/// Does `work` in a thread called `name`, and calls `done` with its result.
pub(super) fn start<T: 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, Errno> + Send + 'static,
    done: impl FnOnce(Result<T, Errno>) + Send + 'static,
) {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || done(work()));
    if let Err(error) = started {
        // The reply is dropped with `done`, and so the caller gets an I/O error.
        log::error!("cannot start the thread '{name}': {error}");
    }
}
