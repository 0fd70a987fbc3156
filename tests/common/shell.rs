//! Real tools, run in real shells, with their exit status and what they printed.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};

/// Whatever takes this long hangs, even on a machine that has much else to do.
const HANG: Duration = Duration::from_secs(300);

/// Where tools are looked for, so that nothing depends on whose shell the suite was started from.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The tools that tests use, and the Debian packages that have them.
const TOOLS: [(&str, &str); 29] = [
    ("bash", "bash"),
    ("cc", "gcc"),
    ("chmod", "coreutils"),
    ("cmp", "diffutils"),
    ("cp", "coreutils"),
    ("dd", "coreutils"),
    ("df", "coreutils"),
    ("fallocate", "util-linux"),
    ("fio", "fio"),
    ("flock", "util-linux"),
    ("fusermount3", "fuse3"),
    ("losetup", "mount"),
    ("ls", "coreutils"),
    ("mksquashfs", "squashfs-tools"),
    ("mount", "mount"),
    ("mount.fuse3", "fuse3"),
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("sha256sum", "coreutils"),
    ("stat", "coreutils"),
    ("stress-ng", "stress-ng"),
    ("timeout", "coreutils"),
    ("touch", "coreutils"),
    ("truncate", "coreutils"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("unsquashfs", "squashfs-tools"),
    ("xxd", "xxd"),
];

/// Who runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// Whoever runs the suite.
    Own,
    /// Somebody without privileges: user and group 65534 where the suite runs as root, otherwise whoever runs it.
    Ordinary,
}

impl Account {
    /// The user id to give up root for, where that is needed.
    pub(crate) fn uid_to_become(self) -> Option<u32> {
        (self == Self::Ordinary && geteuid().is_root()).then_some(65534)
    }

    /// A command that this account runs in `directory`, with a known environment.
    pub(crate) fn command(self, directory: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
        need_tools();
        let mut command = match self.uid_to_become() {
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--"]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(directory).env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.process_group(0);
        command
    }
}

/// A command that has ended.
pub(crate) struct Finished {
    what: String,
    /// The exit status; 128 plus the signal's number where a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Runs `command` to its end. Its children may live on and keep stdout and stderr open.
    #[track_caller]
    pub(crate) fn of(mut command: Command, what: &str) -> Self {
        let mut outputs = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        command.stdout(outputs[0].try_clone().unwrap()).stderr(outputs[1].try_clone().unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > HANG {
                let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
                // Fails when it has just ended, which is as good.
                let _ = killpg(group, Signal::SIGKILL);
                panic!("{what}: hangs");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let [stdout, stderr] = outputs.each_mut().map(|file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Self { what: what.to_owned(), code, stdout, stderr }
    }

    /// Fails the test unless the exit status is 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// Fails the test unless the exit status is not 0 and stderr has `message`.
    #[track_caller]
    pub(crate) fn fails_with(self, message: &str) -> Self {
        assert_ne!(self.code, 0, "{self}");
        assert!(self.stderr.contains(message), "should say {message:?}: {self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, code, stdout, stderr } = self;
        let stdout: String = stdout.chars().take(2000).collect();
        write!(f, "\n{what}\nexit status {code}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// A command that waits half way until it is told to go on.
pub(crate) struct Paused {
    what: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Paused {
    #[track_caller]
    pub(crate) fn start(mut command: Command, what: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut paused = Self { what: what.to_owned(), child, stdout };
        let mut line = String::new();
        paused.stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "paused\n", "{what}");
        paused
    }

    /// Lets it go on to its end, which must be a good one, and returns what it printed on the way.
    #[track_caller]
    pub(crate) fn go_on(mut self) -> String {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut printed = String::new();
        self.stdout.read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}: {status}", self.what);
        printed
    }

    /// Ends it where it is.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // Fails when it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for what must come to be, in whatever time; fails the test when it hangs.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < HANG, "still not so: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fails the test, and says what to install, unless every tool is there. A test that is skipped proves nothing.
fn need_tools() {
    static MISSING: OnceLock<Vec<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let is_there = |tool: &str| PATH.split(':').any(|directory| Path::new(directory).join(tool).exists());
        let absent = TOOLS.iter().filter(|(tool, _)| !is_there(tool));
        absent.map(|(tool, package)| format!("{tool} (install {package})")).collect()
    });
    assert!(missing.is_empty(), "these tests need {}", missing.join(", "));
}
