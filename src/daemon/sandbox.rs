//! Giving up what the serving process does not need: a chip's answers and the callers' requests are parsed by a process that
//! can open no file but those of its state directory and what /proc tells of other processes, has no TCP, and gains no
//! privileges from what it might run.
//!
//! Landlock judges by what is opened, so what is open already (the chip, the connection to the kernel) goes on working, and so
//! does sending to syslog and to the service manager, which opens no file.

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, make_bitflags,
};

/// The rights to files that are given up: those that Landlock knew with Linux 6.10. One that came later, connecting to sockets,
/// is needed for syslog.
const FILES: ABI = ABI::V5;

/// Binding and connecting TCP sockets.
const NETWORK: ABI = ABI::V4;

/// Where it is seen whether a caller is dying. What /proc shows only to those who may trace a process, Landlock hides.
const PROCESSES: &str = "/proc";

/// What is left of the file system.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Directories<'a> {
    /// Where files may be created, read, written, renamed and removed.
    pub(super) state: Option<&'a Path>,
    /// Where a simulated chip's faults may be read.
    pub(super) faults: Option<&'a Path>,
}

/// What a process has given up.
#[derive(Debug)]
pub(super) struct Protection {
    landlock: Landlock,
    no_new_privileges: bool,
}

#[derive(Debug)]
enum Landlock {
    Full,
    /// The kernel's Landlock is older than some of what is asked of it.
    Partial,
    NotBuilt,
    NotEnabled,
    Failed(String),
}

/// Restricts this thread, and those that it starts from now on, to `directories` and to what is open. Threads that run already
/// stay as they are.
pub(super) fn restrict(directories: Directories<'_>) -> Protection {
    match try_restrict(directories) {
        Ok(status) => status.into(),
        Err(error) => Protection {
            landlock: Landlock::Failed(crate::error_text(&error)),
            no_new_privileges: nix::sys::prctl::set_no_new_privs().is_ok(),
        },
    }
}

fn try_restrict(directories: Directories<'_>) -> Result<RestrictionStatus, RulesetError> {
    let read_write =
        make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile});
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))?
        .handle_access(AccessNet::from_all(NETWORK))?
        .create()?;
    if let Some(directory) = directories.state.and_then(open) {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, read_write))?;
    }
    for directory in [Some(Path::new(PROCESSES)), directories.faults].into_iter().flatten().filter_map(open) {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, BitFlags::from(AccessFs::ReadFile)))?;
    }
    ruleset.restrict_self()
}

/// A directory that is not there needs no rule.
fn open(directory: &Path) -> Option<PathFd> {
    PathFd::new(directory)
        .inspect_err(|error| log::debug!("nothing below {} will be opened: {error}", directory.display()))
        .ok()
}

impl From<RestrictionStatus> for Protection {
    fn from(status: RestrictionStatus) -> Self {
        let landlock = match (status.ruleset, status.landlock) {
            (RulesetStatus::FullyEnforced, _) => Landlock::Full,
            (RulesetStatus::PartiallyEnforced, _) => Landlock::Partial,
            (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => Landlock::NotEnabled,
            (RulesetStatus::NotEnforced, _) => Landlock::NotBuilt,
        };
        Self { landlock, no_new_privileges: status.no_new_privs }
    }
}

impl Protection {
    /// Whether everything that was asked for is in force, or all that this kernel knows.
    pub(super) fn is_complete(&self) -> bool {
        self.no_new_privileges && !matches!(self.landlock, Landlock::Failed(_))
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            Landlock::Full => f.write_str("restricted by Landlock")?,
            Landlock::Partial => f.write_str("restricted by Landlock, as far as this kernel has it")?,
            Landlock::NotBuilt => f.write_str("not restricted: the kernel has no Landlock")?,
            Landlock::NotEnabled => {
                f.write_str("not restricted: the kernel's Landlock is not enabled at boot")?
            }
            Landlock::Failed(why) => write!(f, "not restricted by Landlock: {why}")?,
        }
        f.write_str(if self.no_new_privileges { "; no new privileges" } else { "; new privileges possible" })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, ErrorKind, Read, Seek, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixDatagram;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    /// Runs `test` in a thread that is restricted to a state directory with a file `old`, and to a directory of faults with a
    /// file `faults`, both below what it is given as second argument. Without Landlock everything is permitted.
    fn restricted<T: Send>(test: impl FnOnce(&Protection, &Path) -> T + Send) -> T {
        let base = TempDir::new().unwrap();
        for (directory, file) in [("state", "old"), ("faults", "faults"), ("elsewhere", "secret")] {
            fs::create_dir(base.path().join(directory)).unwrap();
            fs::write(base.path().join(directory).join(file), file).unwrap();
        }
        thread::scope(|scope| {
            let run = || {
                let (state, faults) = (base.path().join("state"), base.path().join("faults"));
                let protection = restrict(Directories { state: Some(&state), faults: Some(&faults) });
                test(&protection, base.path())
            };
            scope.spawn(run).join().unwrap()
        })
    }

    fn is_in_force(protection: &Protection) -> bool {
        matches!(protection.landlock, Landlock::Full | Landlock::Partial)
    }

    /// Denied where Landlock is in force, and done where not.
    #[track_caller]
    fn assert_denied<T>(protection: &Protection, result: io::Result<T>) {
        match result {
            Ok(_) => assert!(!is_in_force(protection), "permitted though {protection}"),
            Err(error) => {
                assert!(is_in_force(protection), "{error} though {protection}");
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            }
        }
    }

    #[test]
    fn landlock_is_in_force_exactly_where_the_kernel_lists_it() {
        let Ok(list) = fs::read_to_string("/sys/kernel/security/lsm") else {
            eprintln!("the kernel does not list its security modules");
            return;
        };
        let is_listed = list.trim().split(',').any(|name| name == "landlock");
        restricted(|protection, _| assert_eq!(is_in_force(protection), is_listed, "{protection}"));
    }

    #[test]
    fn nothing_is_opened_elsewhere_by_the_thread_or_one_that_it_starts() {
        restricted(|protection, base| {
            assert_denied(protection, File::open("/etc/passwd"));
            assert_denied(protection, File::open(base.join("elsewhere/secret")));
            assert_denied(protection, fs::read_dir(base));
            assert_denied(protection, File::create(base.join("elsewhere/new")));
            assert_denied(protection, fs::remove_file(base.join("elsewhere/secret")));
            thread::scope(|scope| {
                scope.spawn(|| assert_denied(protection, File::open("/etc/hosts")));
            });
        });
    }

    #[test]
    fn files_of_the_state_directory_are_created_written_renamed_listed_and_removed() {
        restricted(|_, base| {
            let state = base.join("state");
            fs::write(state.join("new"), "new").unwrap();
            File::options().write(true).open(state.join("new")).unwrap().set_len(1).unwrap();
            fs::rename(state.join("new"), state.join("old")).unwrap();
            File::open(&state).unwrap().sync_all().unwrap();
            assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
            assert_eq!(fs::read_to_string(state.join("old")).unwrap(), "n");
            fs::remove_file(state.join("old")).unwrap();
        });
    }

    #[test]
    fn the_state_directory_takes_no_directories_devices_or_programs() {
        restricted(|protection, base| {
            assert_denied(protection, fs::create_dir(base.join("state/directory")));
            assert_denied(protection, std::os::unix::fs::symlink("old", base.join("state/link")));
            assert_denied(protection, std::process::Command::new("true").status());
        });
    }

    #[test]
    fn faults_are_read_and_not_written() {
        restricted(|protection, base| {
            assert_eq!(fs::read_to_string(base.join("faults/faults")).unwrap(), "faults");
            assert_denied(protection, OpenOptions::new().write(true).open(base.join("faults/faults")));
        });
    }

    #[test]
    fn it_is_seen_whether_a_process_is_dying_but_not_what_it_does() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        restricted(|protection, _| {
            fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            assert_denied(protection, File::open(format!("/proc/{}/mem", child.id())));
            assert_denied(protection, fs::read_dir("/proc"));
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_open_already_goes_on_working() {
        let mut file = tempfile::tempfile().unwrap();
        restricted(move |_, _| {
            file.write_all(b"chip").unwrap();
            file.set_len(2).unwrap();
            file.sync_all().unwrap();
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "ch");
        });
    }

    #[test]
    fn datagrams_still_reach_syslog_and_the_service_manager() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        restricted(|_, _| UnixDatagram::unbound().unwrap().send_to(b"message", &path).unwrap());
        let mut message = [0; 16];
        let len = syslog.recv(&mut message).unwrap();
        assert_eq!(&message[..len], b"message");
    }

    #[test]
    fn tcp_is_given_up_where_landlock_knows_it() {
        restricted(|protection, _| {
            let result = TcpListener::bind("127.0.0.1:0");
            if matches!(protection.landlock, Landlock::Full) || !is_in_force(protection) {
                assert_denied(protection, result);
            }
        });
    }

    #[test]
    fn there_are_no_new_privileges_with_or_without_landlock() {
        restricted(|protection, _| {
            assert!(protection.no_new_privileges, "{protection}");
            assert!(nix::sys::prctl::get_no_new_privs().unwrap());
        });
    }

    #[test]
    fn a_directory_that_is_missing_does_not_lift_the_restriction() {
        thread::scope(|scope| {
            scope.spawn(|| {
                let missing = Some(Path::new("/nonexistent"));
                let protection = restrict(Directories { state: missing, faults: missing });
                assert!(protection.is_complete(), "{protection}");
                assert_denied(&protection, File::open("/etc/passwd"));
            });
        });
    }
}
