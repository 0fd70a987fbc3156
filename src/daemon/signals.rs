//! SIGTERM, SIGINT and SIGHUP: put what is pending on the chip, unmount, end.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::unmounter::Unmounter;
use super::{LINGER, is_mounted};
use crate::fs::mount::Mount;
use crate::image::Image;
use crate::progress;

fn handled() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
}

/// Keeps the signals from this thread and those that it starts.
pub(super) fn block() -> io::Result<()> {
    Ok(handled().thread_block()?)
}

/// Starts the thread that waits for the signals.
pub(super) fn wait_in_background(
    image: Arc<Image>,
    mount: Arc<Mount>,
    unmounter: Arc<Unmounter>,
) -> io::Result<()> {
    let device_number = mount.device_number()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            match handled().wait() {
                Ok(signal) => end(signal, &image, &mount, &unmounter, device_number),
                Err(error) => log::error!("cannot wait for signals: {error}"),
            }
        }
    })?;
    Ok(())
}

/// When the mount is gone and nobody has files open, the main thread ends the process; else this does, after a while.
fn end(signal: Signal, image: &Image, mount: &Mount, unmounter: &Unmounter, device_number: u64) {
    log::info!("{signal}: writing what is pending, and unmounting");
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Stopping]) {
        log::debug!("cannot tell the service manager: {error}");
    }
    commit(image);
    if !is_mounted(mount.mountpoint(), device_number) {
        return;
    }
    let Err(error) = unmounter.unmount(false) else {
        return;
    };
    log::warn!("{}; unmounting for new callers only", crate::error_text(&error));
    if let Err(error) = unmounter.unmount(true) {
        log::error!("{}", crate::error_text(&error));
    }
    thread::sleep(LINGER);
    log::warn!("files are still open after {LINGER:?}; ending all the same");
    unmounter.stop();
    let result = progress::shown(image, || image.stop());
    std::process::exit(i32::from(result.is_err()));
}

fn commit(image: &Image) {
    let (sender, receiver) = channel();
    image.commit(0..image.size(), Box::new(move |result| drop(sender.send(result))));
    if let Ok(Err(error)) = progress::shown(image, || receiver.recv()) {
        log::error!("{}", crate::error_text(&error));
    }
}
