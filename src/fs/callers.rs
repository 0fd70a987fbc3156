//! Callers that are killed while they wait for the bus.
//!
//! The kernel lets nobody go before the request is answered, not even a process that is being killed: ^C in a copy would wait for
//! erases. So requests that wait are looked after, and are answered as soon as their caller is dying, which nobody is left to see.
//! What they have asked for goes on. A caller who only has a signal to handle, or is suspended, waits as on any disk.
//!
//! The kernel would tell of interrupted requests, but the FUSE library does not pass that on; /proc tells of processes. Only a thread
//! of its own looks there, and only at `status`: whoever reads another file of a process, `stat` among them, waits for the end of its
//! exec(2), and that waits for the answers to all that it closes on the way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, ReplyData, ReplyEmpty, ReplyIoctl, ReplyOpen, ReplyWrite, Request};
use parking_lot::{Condvar, Mutex};

/// How long a dying caller may have to wait, at the most.
const INTERVAL: Duration = Duration::from_millis(20);

/// SIGKILL in a set of pending signals: the kernel adds it to every thread of a process that a signal is going to end.
const KILLED: u64 = 1 << (libc::SIGKILL - 1);

/// Signals that end nobody unless somebody asks for it.
const HARMLESS: u64 = 1 << (libc::SIGCHLD - 1)
    | 1 << (libc::SIGCONT - 1)
    | 1 << (libc::SIGSTOP - 1)
    | 1 << (libc::SIGTSTP - 1)
    | 1 << (libc::SIGTTIN - 1)
    | 1 << (libc::SIGTTOU - 1)
    | 1 << (libc::SIGURG - 1)
    | 1 << (libc::SIGWINCH - 1);

/// Something that a caller waits for.
pub(super) trait Reply: Send + 'static {
    fn refuse(self, error: Errno);
}

macro_rules! replies {
    ($($reply:ty),*) => {
        $(impl Reply for $reply {
            fn refuse(self, error: Errno) {
                self.error(error);
            }
        })*
    };
}

replies!(ReplyData, ReplyEmpty, ReplyIoctl, ReplyOpen, ReplyWrite);

/// A reply that is given by whoever comes first: the one who has the answer, or the one who sees that nobody waits for it any more.
pub(super) struct Shared<R>(Arc<Mutex<Option<R>>>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Reply> Shared<R> {
    pub(super) fn new(reply: R) -> Self {
        Self(Arc::new(Mutex::new(Some(reply))))
    }

    /// The reply, if it has not been given.
    pub(super) fn take(&self) -> Option<R> {
        self.0.lock().take()
    }
}

/// A reply that may have been given, whatever its kind.
trait Waiting: Send + Sync {
    fn is_over(&self) -> bool;
    fn give_up(&self);
}

impl<R: Reply> Waiting for Mutex<Option<R>> {
    fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    fn give_up(&self) {
        if let Some(reply) = self.lock().take() {
            reply.refuse(Errno::EINTR);
        }
    }
}

#[derive(Default)]
struct List {
    waiting: Mutex<Vec<(u32, Arc<dyn Waiting>)>>,
    changed: Condvar,
}

/// The callers who wait.
#[derive(Clone, Default)]
pub(super) struct Callers(Arc<List>);

impl Callers {
    /// Starts the thread that looks after them; it lives as long as the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(&self) -> io::Result<()> {
        let list = Arc::clone(&self.0);
        std::thread::Builder::new().name("callers".to_owned()).spawn(move || {
            loop {
                list.look_after();
                std::thread::sleep(INTERVAL);
            }
        })?;
        Ok(())
    }

    /// Has `work` done with the reply to `request`; if it is not given when that returns, it is looked after.
    pub(super) fn answer<R: Reply>(&self, request: &Request, reply: R, work: impl FnOnce(Shared<R>)) {
        let reply = Shared::new(reply);
        work(reply.clone());
        self.look_after(request, reply);
    }

    /// Looks after a reply until it is given.
    pub(super) fn look_after<R: Reply>(&self, request: &Request, reply: Shared<R>) {
        let reply = reply.0;
        if !reply.is_over() {
            self.0.waiting.lock().push((request.pid(), reply));
            self.0.changed.notify_one();
        }
    }
}

impl List {
    /// Waits until there is somebody, and lets go of those who are dying.
    fn look_after(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            self.changed.wait(&mut waiting);
        }
        waiting.retain(|(_, reply)| !reply.is_over());
        let now = waiting.clone();
        // Looking at a process may take a while, and must keep no thread of the file system.
        drop(waiting);
        for (thread, reply) in now {
            if is_dying(thread) {
                reply.give_up();
            }
        }
    }
}

/// Whether a thread will never see the answer to a system call that it waits in. One that cannot be looked at waits on.
fn is_dying(thread: u32) -> bool {
    // Callers of another process namespace have no number here.
    thread != 0
        && std::fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| is_dying_by(&status))
}

/// The same by the text of proc_pid_status(5).
fn is_dying_by(status: &str) -> bool {
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let set =
        |name| value(name).and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default();
    if set("SigPnd") & KILLED != 0 {
        return true;
    }
    // Whoever has come to its own end has no memory any more, and closes its files; that is what it waits for. Where a signal from outside has
    // brought the end, that stays pending.
    let is_exiting = value("SigPnd").is_some() && value("VmSize").is_none();
    let pending = set("SigPnd") | set("ShdPnd");
    is_exiting && pending & !(set("SigBlk") | set("SigIgn") | set("SigCgt") | HARMLESS) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a process with these pending signals of the thread, and of the process, and with these that it ignores.
    fn status(own: u64, shared: u64, ignored: u64) -> String {
        format!(
            "SigPnd:\t{own:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t0000000000000000\nSigIgn:\t{ignored:016x}\nSigCgt:\t0000000000000000\n"
        )
    }

    fn with_memory(status: &str) -> String {
        format!("VmSize:\t    1234 kB\n{status}")
    }

    #[test]
    fn a_thread_that_is_being_killed_is_dying() {
        assert!(is_dying_by(&with_memory(&status(KILLED, 0, 0))));
    }

    #[test]
    fn a_stop_or_a_signal_to_be_handled_is_not_the_end() {
        for signal in [libc::SIGINT, libc::SIGTSTP, libc::SIGALRM] {
            assert!(!is_dying_by(&with_memory(&status(1 << (signal - 1), 1 << (signal - 1), 0))));
        }
    }

    #[test]
    fn this_thread_is_alive_and_nonsense_is_nobody() {
        assert!(!is_dying(nix::unistd::gettid().as_raw().unsigned_abs()));
        assert!(!is_dying(0));
        assert!(!is_dying_by(""));
        assert!(!is_dying_by("Name:\tx\n"));
    }

    #[test]
    fn only_a_signal_that_ends_a_process_has_killed_one_that_exits() {
        assert!(is_dying_by(&status(0, 0x2, 0)));
        assert!(is_dying_by(&status(0, 0x100, 0x1000)));
        assert!(!is_dying_by(&status(0, 0x2, 0x2)));
        assert!(!is_dying_by(&status(0, HARMLESS, 0)));
        assert!(!is_dying_by(&status(0, 0, 0)));
    }
}
