//! A daemon that stays in the foreground: its exit status and log are the test's to see.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::shell::wait_until;

/// A running `norfuse -f`.
pub(crate) struct Foreground {
    child: Child,
    log: PathBuf,
}

impl Foreground {
    /// Starts `command`, with its output in the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = fs::File::create(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Whether its thread of this name is in an uninterruptible wait.
    pub(crate) fn has_blocked_thread(&self, name: &str) -> bool {
        let tasks = format!("/proc/{}/task", self.child.id());
        fs::read_dir(tasks).unwrap().filter_map(Result::ok).any(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.contains(&format!("({name}) D "))
        })
    }

    /// Waits for its end and returns its exit status, or none where a signal ended it.
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("norfuse -f has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as it should be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
