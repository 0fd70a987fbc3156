//! Callers that are killed while they wait for the bus.
//!
//! The kernel lets nobody go before the request is answered, not even a process that is being killed: ^C in a copy would wait for
//! erases. So requests that wait are looked after, and are answered as soon as their caller is dying, which nobody is left to see.
//! What they have asked for goes on. A caller who only has a signal to handle, or is suspended, waits as on any disk.
//!
//! The kernel would tell of interrupted requests, but the FUSE library does not pass that on; /proc tells of processes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, ReplyData, ReplyEmpty, ReplyIoctl, ReplyWrite, Request};
use parking_lot::{Condvar, Mutex};

/// How long a dying caller may have to wait, at the most.
const INTERVAL: Duration = Duration::from_millis(20);

/// The kernel's PF_EXITING (include/linux/sched.h): past this point no signal and no return value matters.
const EXITING: u64 = 0x4;

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

replies!(ReplyData, ReplyEmpty, ReplyIoctl, ReplyWrite);

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
        if reply.is_over() {
            return;
        }
        if is_dying(request.pid()) {
            reply.give_up();
        } else {
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
        for (thread, reply) in &*waiting {
            if is_dying(*thread) {
                reply.give_up();
            }
        }
    }
}

/// Whether a thread will never see the answer to a system call that it waits in. One that cannot be looked at waits on.
fn is_dying(thread: u32) -> bool {
    // Callers of another process namespace have no number here.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{thread}/{file}")).unwrap_or_default();
    thread != 0
        && match state_by(&read("stat")) {
            State::Alive => false,
            State::Killed => true,
            // Whoever has come to its own end closes its files on the way, and that is what it waits for.
            State::Exiting => was_killed_by(&read("status")),
        }
}

/// Whether an exiting process has been ended by a signal from outside, by the text of proc_pid_status(5): such a signal stays
/// pending to the end.
fn was_killed_by(status: &str) -> bool {
    let set = |name: &str| {
        let digits = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
    };
    let pending = set("SigPnd") | set("ShdPnd");
    pending & !(set("SigBlk") | set("SigIgn") | set("SigCgt") | HARMLESS) != 0
}

/// What a thread is up to.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Alive,
    Killed,
    Exiting,
}

/// By the text of proc_pid_stat(5): the flags are its field 9, and the pending signals of the thread its field 31.
fn state_by(stat: &str) -> State {
    // The name in field 2 may contain anything, but nothing behind it has a parenthesis.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return State::Alive;
    };
    let mut numbers = fields.split_ascii_whitespace();
    let mut field = |skipped: usize| numbers.nth(skipped).and_then(|text| text.parse::<u64>().ok());
    let flags = field(9 - 3).unwrap_or_default();
    let pending = field(31 - 9 - 1).unwrap_or_default();
    if pending & KILLED != 0 {
        State::Killed
    } else if flags & EXITING != 0 {
        State::Exiting
    } else {
        State::Alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(flags: u64, pending: u64) -> String {
        format!(
            "77 (a (strange) name) D 1 77 77 34816 77 {flags} 1 0 0 0 0 0 0 0 20 0 1 0 5 6 7 8 9 10 11 12 13 {pending} 0 0 0 0\n"
        )
    }

    #[test]
    fn a_thread_is_dying_when_it_is_exiting_or_killed() {
        assert_eq!(state_by(&stat(0x0040_0000, 0)), State::Alive);
        assert_eq!(state_by(&stat(0x0040_0004, 0)), State::Exiting);
        assert_eq!(state_by(&stat(0x0040_0000, 256)), State::Killed);
    }

    #[test]
    fn a_stop_or_a_signal_to_be_handled_is_not_the_end() {
        for signal in [libc::SIGINT, libc::SIGTSTP, libc::SIGALRM] {
            assert_eq!(state_by(&stat(0, 1 << (signal - 1))), State::Alive);
        }
    }

    #[test]
    fn this_thread_is_alive_and_nonsense_is_nobody() {
        assert!(!is_dying(nix::unistd::gettid().as_raw().unsigned_abs()));
        assert!(!is_dying(0));
        assert_eq!(state_by(""), State::Alive);
        assert_eq!(state_by("1 (x) S"), State::Alive);
    }

    #[test]
    fn only_a_signal_that_ends_a_process_has_killed_it() {
        let status = |pending: u64, ignored: u64| {
            format!(
                "SigPnd:\t0000000000000000\nShdPnd:\t{pending:016x}\nSigBlk:\t0000000000000000\nSigIgn:\t{ignored:016x}\nSigCgt:\t0000000000000000\n"
            )
        };
        assert!(was_killed_by(&status(0x2, 0)));
        assert!(was_killed_by(&status(0x100, 0x1000)));
        assert!(!was_killed_by(&status(0x2, 0x2)));
        assert!(!was_killed_by(&status(HARMLESS, 0)));
        assert!(!was_killed_by(&status(0, 0)));
        assert!(!was_killed_by(""));
    }
}
