//! A directory of one test's own, in which norfuse and real tools run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use serde_json::Value;
use tempfile::TempDir;

use super::bytes::assert_same;
use super::foreground::Foreground;
use super::mounts::{Mount, detach_all_under, mounts_under};
use super::shell::{Account, Finished, Paused, wait_until};

/// By this variable, with the bench's directory as value, its daemons are found again.
const MARK: &str = "NORFUSE_TEST_BENCH";

/// A work directory with a mountpoint `m` and, mostly, a simulated chip's file `chip.img`. Commands run in it. Nothing
/// stays mounted and no daemon stays alive when it is dropped.
pub(crate) struct Bench {
    directory: TempDir,
    account: Account,
    binary: PathBuf,
}

/// The counters of info.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) messages: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) pages_programmed: u64,
    /// By what an erase clears, in bytes.
    pub(crate) erases: BTreeMap<u64, u64>,
    pub(crate) verify_failures: u64,
}

impl Counters {
    /// Erases of all sizes.
    pub(crate) fn all_erases(&self) -> u64 {
        self.erases.values().sum()
    }
}

impl Bench {
    /// A bench without a chip.
    pub(crate) fn new() -> Self {
        Self::of(Account::Own)
    }

    /// A bench whose `chip.img` holds `contents`.
    pub(crate) fn with_chip(contents: &[u8]) -> Self {
        let bench = Self::new();
        bench.write("chip.img", contents);
        bench
    }

    /// The same for somebody without privileges, to whom everything on the bench belongs.
    pub(crate) fn of_ordinary_user(contents: &[u8]) -> Self {
        let mode = fs::metadata("/dev/fuse").expect("these tests need /dev/fuse").permissions().mode();
        assert_eq!(mode & 0o666, 0o666, "ordinary users cannot mount here; run: chmod 666 /dev/fuse");
        let mut bench = Self::of(Account::Ordinary);
        // A command of its own makes the copy: a file open for writing in this process may be inherited by what another
        // thread starts just now, and a file that is open for writing cannot be executed.
        let copy = bench.path("norfuse");
        let mut cp = Account::Own.command(bench.directory(), "install");
        cp.args(["-m", "755"]).arg(&bench.binary).arg(&copy);
        Finished::of(cp, "install norfuse").ok();
        bench.binary = copy;
        bench.write("chip.img", contents);
        bench
    }

    fn of(account: Account) -> Self {
        let directory = tempfile::Builder::new().prefix("norfuse-test-").tempdir().unwrap();
        let bench = Self { directory, account, binary: PathBuf::from(env!("CARGO_BIN_EXE_norfuse")) };
        bench.hand_over(bench.directory());
        bench.make_directory("m");
        bench
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of something on the bench.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The built norfuse, where the bench's account can run it.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
        self.hand_over(&self.path(name));
    }

    pub(crate) fn make_directory(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        self.hand_over(&self.path(name));
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Gives `path` to the bench's account.
    fn hand_over(&self, path: &Path) {
        if let Some(id) = self.account.uid_to_become() {
            chown(path, Some(Uid::from_raw(id)), Some(Gid::from_raw(id))).unwrap();
        }
    }

    /// Runs a bash script on the bench, which fails where any part of a pipeline fails. `$NORFUSE` is the built binary.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> Finished {
        let mut command = self.program("bash");
        command.args(["-o", "pipefail", "-c", script]);
        Finished::of(command, script)
    }

    /// Runs a Python script on the bench.
    #[track_caller]
    pub(crate) fn python(&self, script: &str) -> Finished {
        let mut command = self.program("python3");
        command.args(["-c", script]);
        Finished::of(command, script)
    }

    /// Runs a Python script up to its `pause()`, and past it when told to.
    #[track_caller]
    pub(crate) fn paused_python(&self, script: &str) -> Paused {
        let prelude = "def pause():\n    print('paused', flush=True)\n    input()\n";
        let mut command = self.program("python3");
        command.args(["-c", &format!("{prelude}{script}")]);
        Paused::start(command, script)
    }

    /// The command that runs norfuse on the bench.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&self.binary);
        command.args(arguments);
        command
    }

    /// A command that runs any program on the bench.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.account.command(self.directory(), program);
        command.env(MARK, self.directory()).env("NORFUSE", &self.binary).env_remove("RUST_LOG");
        // What one test leaves unfinished must not be finished on another's chip, which has the same id.
        command.env("STATE_DIRECTORY", self.path("state")).env("HOME", self.directory());
        command
    }

    /// Runs norfuse until the process that was started ends, as it does with all arguments but `-f` and `-d`.
    #[track_caller]
    pub(crate) fn norfuse(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments), &format!("norfuse {}", arguments.join(" ")))
    }

    /// Runs norfuse with arguments that it must refuse: it says why, and leaves no mount and no daemon.
    #[track_caller]
    pub(crate) fn norfuse_refuses(&self, arguments: &[&str]) -> String {
        let finished = self.norfuse(arguments);
        assert_ne!(finished.code, 0, "{finished}");
        assert!(!finished.stderr.trim().is_empty(), "says nothing: {finished}");
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        assert!(mounts_under(self.directory()).is_empty(), "left something mounted: {finished}");
        self.wait_for_daemons();
        finished.stderr
    }

    /// Mounts `chip.img` at `m`, in the background.
    #[track_caller]
    pub(crate) fn mount(&self) {
        self.mount_with(&[]);
    }

    /// The same with further arguments.
    #[track_caller]
    pub(crate) fn mount_with(&self, arguments: &[&str]) {
        self.norfuse(&[arguments, &["sim:chip.img", "m"]].concat()).ok();
    }

    /// Starts `norfuse -f DEVICE m` and waits until it is mounted. `RUST_LOG` is `info`.
    #[track_caller]
    pub(crate) fn mount_in_foreground(&self, device: &str, arguments: &[&str]) -> Foreground {
        let mut command = self.command(&[&["-f"], arguments, &[device, "m"]].concat());
        command.env("RUST_LOG", "info");
        let mut daemon = Foreground::start(command, self.path("log"));
        wait_until("norfuse -f is mounted", || {
            assert!(!daemon.has_ended(), "norfuse -f ended at once: {}", daemon.log());
            !self.mounts().is_empty()
        });
        daemon
    }

    /// What is mounted on the bench.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        mounts_under(self.directory())
    }

    /// Unmounts `m` with fusermount3 and waits until the daemon is gone.
    #[track_caller]
    pub(crate) fn unmount(&self) {
        // Who looks at all that is mounted, as df and stress-ng do, is in there for an instant.
        wait_until("m is unmounted", || {
            let finished = self.sh("fusermount3 -u m");
            assert!(finished.code == 0 || finished.stderr.contains("busy"), "{finished}");
            finished.code == 0
        });
        self.wait_for_daemons();
    }

    /// Waits until no daemon of this bench is left.
    #[track_caller]
    pub(crate) fn wait_for_daemons(&self) {
        wait_until("norfuse is gone", || self.daemons().is_empty());
    }

    /// The processes of norfuse that were started from this bench: the one that serves, and what helps it.
    pub(crate) fn daemons(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.directory().display());
        let is_ours = |pid: &i32| {
            let process = Path::new("/proc").join(pid.to_string());
            // A process that has ended but was not waited for has neither.
            let runs_norfuse = fs::read_link(process.join("exe")).is_ok_and(|exe| exe.ends_with("norfuse"));
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            runs_norfuse && environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        };
        let processes = fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(is_ours).map(Pid::from_raw).collect()
    }

    /// Kills the daemon as an impatient person does; what helps it ends by itself.
    #[track_caller]
    pub(crate) fn kill_daemon(&self) {
        let mut serving = self.daemons();
        serving.retain(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "norfuse\n")
        });
        assert_eq!(serving.len(), 1, "{:?}", self.daemons());
        kill(serving[0], Signal::SIGKILL).unwrap();
        self.wait_for_daemons();
    }

    /// What info.json says now.
    #[track_caller]
    pub(crate) fn info(&self) -> Value {
        let text = self.sh("cat m/info.json").ok().stdout;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("info.json: {error}\n{text}"))
    }

    /// The counters that info.json shows now.
    #[track_caller]
    pub(crate) fn counters(&self) -> Counters {
        let info = self.info();
        let counters = &info["counters"];
        let number =
            |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {value} in {counters}"));
        let erases = counters["erases"].as_object().expect("erases by size");
        Counters {
            messages: number(&counters["messages"]),
            bytes_read: number(&counters["bytes_read"]),
            bytes_written: number(&counters["bytes_written"]),
            pages_programmed: number(&counters["pages_programmed"]),
            erases: erases.iter().map(|(size, count)| (size.parse().unwrap(), number(count))).collect(),
            verify_failures: number(&counters["verify_failures"]),
        }
    }

    /// Fails the test unless the file of the simulated chip holds exactly `expected`.
    #[track_caller]
    pub(crate) fn assert_chip(&self, expected: &[u8]) {
        assert_same(&self.read("chip.img"), expected, "the chip");
    }

    /// Unmounts, and fails the test unless the chip holds exactly `expected`.
    #[track_caller]
    pub(crate) fn unmount_to(&self, expected: &[u8]) {
        self.unmount();
        self.assert_chip(expected);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        detach_all_under(self.directory());
        for pid in self.daemons() {
            // Fails when it has just ended.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
