//! A bench with the firmware mounted, and what rows check on it.

use std::cell::Cell;

use super::firmware::firmware;
use crate::common::{Account, Bench, Counters, Finished, assert_same};

/// A bench whose chip holds the firmware, mounted at `m`.
pub(super) struct FirmwareBench {
    bench: Bench,
    /// What was in the mount at first.
    names: String,
    is_checked: Cell<bool>,
}

impl FirmwareBench {
    pub(super) fn new(account: Account, mount_arguments: &[&str]) -> Self {
        let bench = match account {
            Account::Own => Bench::with_chip(firmware()),
            Account::Ordinary => Bench::of_ordinary_user(firmware()),
        };
        bench.mount_with(mount_arguments);
        let names = names(&bench);
        Self { bench, names, is_checked: Cell::new(false) }
    }

    /// Runs a bash script.
    #[track_caller]
    pub(super) fn sh(&self, script: &str) -> Finished {
        self.bench.sh(script)
    }

    #[track_caller]
    pub(super) fn python(&self, script: &str) -> Finished {
        self.bench.python(script)
    }

    /// Runs a script for expect(1), which drives a tool in a terminal. `must PATTERN` waits for what the tool shows.
    #[track_caller]
    pub(super) fn in_terminal(&self, script: &str) -> Finished {
        let prelude = r#"
            set timeout 60
            set stty_init "rows 24 columns 80"
            set env(TERM) xterm
            proc must {pattern} {
                expect {
                    -re $pattern {}
                    timeout { send_error "no $pattern in time\n"; exit 1 }
                    eof { send_error "ended before it showed $pattern\n"; exit 1 }
                }
            }
            proc must_end {} {
                expect {
                    eof {}
                    timeout { send_error "does not end\n"; exit 1 }
                }
                exit [lindex [wait] 3]
            }
        "#;
        self.write("terminal.exp", format!("{prelude}\n{script}\nmust_end\n").as_bytes());
        self.sh("expect -f terminal.exp")
    }

    pub(super) fn write(&self, name: &str, contents: &[u8]) {
        self.bench.write(name, contents);
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        self.bench.read(name)
    }

    #[track_caller]
    pub(super) fn counters(&self) -> Counters {
        self.bench.counters()
    }

    /// Checks that a file on the bench has just these bytes.
    #[track_caller]
    pub(super) fn assert_file(&self, name: &str, expected: &[u8]) {
        assert_same(&self.read(name), expected, name);
    }

    /// Checks that the chip has these changes, by offset, and no other.
    #[track_caller]
    pub(super) fn changed(&self, changes: &[(usize, &[u8])]) -> String {
        let mut expected = firmware().to_vec();
        for (offset, bytes) in changes {
            expected[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        self.changed_to(&expected)
    }

    /// Checks that the chip has just these bytes.
    #[track_caller]
    pub(super) fn changed_to(&self, expected: &[u8]) -> String {
        self.end(expected);
        "on the chip, nothing else changed".to_owned()
    }

    /// Checks that the chip is as it was.
    #[track_caller]
    pub(super) fn unchanged(&self) -> String {
        self.end(firmware());
        "chip unchanged".to_owned()
    }

    /// Checks that `script` succeeds, that what it has left in `copy` is `expected`, and that the chip is as it was.
    #[track_caller]
    pub(super) fn copies(&self, script: &str, copy: &str, expected: &[u8]) -> String {
        self.sh(script).ok();
        self.assert_file(copy, expected);
        self.unchanged();
        "as on the chip".to_owned()
    }

    /// Checks that `script` succeeds and prints `expected`, and that the chip is as it was.
    #[track_caller]
    pub(super) fn prints(&self, script: &str, expected: &str) -> String {
        assert_eq!(self.sh(script).ok().stdout, expected, "{script}");
        self.unchanged();
        "as on the chip".to_owned()
    }

    /// Checks that `script` fails with this exit status and a line on stderr like `message`, in which `*` stands for anything.
    /// Returns what the message ends with: the system's text for the error.
    #[track_caller]
    pub(super) fn fails(&self, script: &str, code: i32, message: &str) -> String {
        let finished = self.sh(script);
        assert_eq!(finished.code, code, "{finished}");
        assert!(
            finished.stderr.lines().any(|line| is_like(line, message)),
            "should say {message:?}: {finished}"
        );
        // Some tools append the error's number, or where they were.
        let end = message.rsplit(": ").next().unwrap_or(message);
        end.split([',', '(', '*']).next().unwrap_or(end).trim_end().to_owned()
    }

    /// The same, and that the chip is as it was.
    #[track_caller]
    pub(super) fn refuses(&self, script: &str, code: i32, message: &str) -> String {
        let error = self.fails(script, code, message);
        format!("{error}; {}", self.unchanged())
    }

    /// Checks what holds after every row: nothing is pending or has failed, no scratch file is left, and the chip has just
    /// these bytes once it is unmounted.
    #[track_caller]
    fn end(&self, expected: &[u8]) {
        let pending = &self.bench.info()["pending"];
        assert!(
            pending["bytes"] == 0 && pending["failed"] == serde_json::json!([]),
            "not on the chip: {pending}"
        );
        assert_eq!(names(&self.bench), self.names, "names in the mount");
        self.bench.unmount_to(expected);
        self.is_checked.set(true);
    }

    /// Fails the row unless the chip has been checked.
    #[track_caller]
    pub(super) fn assert_checked(&self) {
        assert!(self.is_checked.get(), "the row does not look at the chip");
    }
}

/// What is in the mount.
#[track_caller]
fn names(bench: &Bench) -> String {
    bench.sh("find m | sort").ok().stdout
}

/// Whether `text` is `pattern`, in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return text == pattern };
    let Some(rest) = text.strip_prefix(first) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && is_like(&rest[at..], others))
}
