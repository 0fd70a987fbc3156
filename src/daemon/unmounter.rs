//! A small process that unmounts on request.
//!
//! Once the serving process has [restricted itself](super::sandbox) it can neither unmount nor run the setuid helper, and there
//! is no way back. So before that it starts this one, which keeps its rights and does nothing else: it knows the one mountpoint,
//! holds no chip and no terminal, and ends with the serving process. Unless asked, then or by `auto_unmount`, it leaves the mount
//! alone, also when the serving process has been killed.
//!
//! With one exception. A thread that has the kernel drop a page can wait for a reader whose request only the serving process would
//! answer; when that is killed, the two wait for each other for ever, and so does everybody who touches the mount. Then the
//! connection between kernel and file system is cut, after which the mount is dead as that of any killed file system.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, setsid};
use parking_lot::Mutex;

use super::background::{fork_process, leave_terminal, open_null};
use crate::fs::mount;

/// Its name in ps(1); the kernel keeps 15 bytes.
const NAME: &std::ffi::CStr = c"norfuse-umount";

/// Requests, of one byte. The answer is a line: empty, or why it is still mounted.
const UNMOUNT: u8 = b'u';
const UNMOUNT_LAZILY: u8 = b'z';

/// The last request, without an answer: the mount is gone, and there is nothing left to do.
const QUIT: u8 = b'q';

/// Sent by the kernel when the serving process's main thread has ended.
const PARENT_ENDED: Signal = Signal::SIGUSR1;

/// A process that has not closed its end of the socket this long after its main thread has ended hangs.
const DYING: Duration = Duration::from_secs(2);

/// Why it is still mounted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The system or the setuid helper refused.
    #[error("{0}")]
    Refused(String),
    /// Somebody has killed the process.
    #[error("the process that unmounts has ended; unmount with 'umount' or 'fusermount3 -u'")]
    Gone(#[source] io::Error),
}

/// The other process. It ends when this is dropped, or this process ends in whatever way.
#[derive(Debug)]
pub(super) struct Unmounter {
    /// Locked during a request: the mount's end, which the request brings about, must not stop the process before it answers.
    socket: Mutex<UnixStream>,
    process: Pid,
}

impl Unmounter {
    /// Starts the process for `mountpoint`, an absolute path. With `auto_unmount` it does not leave a dead mount there. `leave` is called in it, to close what only this one shall hold.
    ///
    /// No thread may run yet, nothing that must be closed may be open but for what `leave` closes, and the signals that end the
    /// serving process must be blocked: they are often sent to all processes of a name or a session, and this one must outlive
    /// them to be asked.
    ///
    /// # Errors
    /// When the system gives no process.
    pub(super) fn start(mountpoint: &Path, auto_unmount: bool, leave: impl FnOnce()) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        match fork_process()? {
            ForkResult::Child => {
                drop(ours);
                leave();
                let ended = settle()
                    .and_then(|()| watch_parent(mountpoint))
                    .and_then(|()| answer_requests(&theirs, |lazily| mount::unmount(mountpoint, lazily)));
                if auto_unmount && matches!(ended, Ok(End::Abandoned)) {
                    unmount_dead(mountpoint);
                }
                std::process::exit(i32::from(ended.is_err()));
            }
            ForkResult::Parent { child } => Ok(Self { socket: Mutex::new(ours), process: child }),
        }
    }

    /// Unmounts, as [`mount::unmount`] says.
    ///
    /// # Errors
    /// Why it is still mounted.
    pub(super) fn unmount(&self, lazily: bool) -> Result<(), Error> {
        let answer = ask(&self.socket.lock(), lazily).map_err(Error::Gone)?;
        if answer.is_empty() { Ok(()) } else { Err(Error::Refused(answer)) }
    }

    /// Ends the process and waits for its end.
    pub(super) fn stop(&self) {
        // All of these fail only where it has been stopped before.
        let _ = self.socket.lock().write_all(&[QUIT]);
        let _ = self.socket.lock().shutdown(std::net::Shutdown::Both);
        let _ = waitpid(self.process, None);
    }
}

impl Drop for Unmounter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Lets go of what the process was forked with: terminal, directory and name.
fn settle() -> io::Result<()> {
    setsid()?;
    leave_terminal(&open_null()?)?;
    std::env::set_current_dir("/")?;
    Ok(prctl::set_name(NAME)?)
}

/// Unmounts what a killed process has left. That it is dead may show a little later than that the process has ended.
fn unmount_dead(mountpoint: &Path) {
    let started = Instant::now();
    while started.elapsed() < DYING {
        if mount::is_dead(mountpoint) {
            // There is nobody left to tell.
            let _ = mount::unmount(mountpoint, true);
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Cuts the connection if the serving process cannot end; a process that ends closes the socket, and this process is gone first.
fn watch_parent(mountpoint: &Path) -> io::Result<()> {
    let signals = SigSet::from(PARENT_ENDED);
    signals.thread_block()?;
    prctl::set_pdeathsig(PARENT_ENDED)?;
    let mountpoint = mountpoint.to_owned();
    thread::Builder::new().name("watch".to_owned()).spawn(move || {
        if signals.wait().is_ok() {
            thread::sleep(DYING);
            // Whoever hangs on the mount can do no more about it than this process.
            let _ = mount::abort_connection(&mountpoint);
        }
    })?;
    Ok(())
}

fn ask(mut socket: &UnixStream, lazily: bool) -> io::Result<String> {
    socket.write_all(&[if lazily { UNMOUNT_LAZILY } else { UNMOUNT }])?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    match answer.strip_suffix('\n') {
        Some(answer) => Ok(answer.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// How the serving process has taken its leave.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// In order.
    Quit,
    /// It is just gone.
    Abandoned,
}

/// Returns when there will be no more requests.
fn answer_requests(
    mut socket: &UnixStream,
    unmount: impl Fn(bool) -> Result<(), mount::Error>,
) -> io::Result<End> {
    let mut request = [0];
    while socket.read(&mut request)? != 0 {
        let result = match request[0] {
            UNMOUNT => unmount(false),
            UNMOUNT_LAZILY => unmount(true),
            QUIT => return Ok(End::Quit),
            // The serving process may be in the hands of somebody who has found a hole in it.
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let answer = match result {
            Ok(()) => String::new(),
            Err(error) => crate::error_text(&error).replace('\n', " "),
        };
        socket.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(End::Abandoned)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::thread;

    use super::*;

    fn busy() -> mount::Error {
        mount::Error::Helper {
            helper: "fusermount3",
            operation: "unmount",
            mountpoint: PathBuf::from("/m"),
            message: "failed to unmount\n/m: busy".to_owned(),
        }
    }

    #[test]
    fn each_request_is_answered_with_its_own_outcome_until_the_other_end_is_closed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let process = thread::spawn(move || {
            answer_requests(&theirs, |lazily| if lazily { Ok(()) } else { Err(busy()) })
        });
        assert_eq!(ask(&ours, false).unwrap(), "fusermount3 cannot unmount /m: failed to unmount /m: busy");
        assert_eq!(ask(&ours, true).unwrap(), "");
        drop(ours);
        process.join().unwrap().unwrap();
    }

    #[test]
    fn an_unknown_request_unmounts_nothing_and_ends_the_process() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let process = thread::spawn(move || answer_requests(&theirs, |_| panic!("unmounted")));
        ours.write_all(b"?").unwrap();
        assert_eq!(process.join().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(ask(&ours, false).is_err());
    }
}
