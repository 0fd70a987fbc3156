//! The bar of a long commit at the end of a mount: on a terminal, there alone, and in nobody's way.

mod common;

use common::{Bench, Foreground, noise, wait_until};

/// What only the bar has.
const BAR: &str = "norfuse: writing [";

/// Writes what takes a real chip seconds, and dies before it is there; then unmounts, as nobody has anything open any more.
const WRITE_AND_UNMOUNT: &str = "
    python3 -c '
import os
raw = os.open(\"m/raw.bin\", os.O_WRONLY)
os.write(raw, os.urandom((512 << 10) - 16) + bytes([0xff] * 16))
os.kill(os.getpid(), 9)
' || true
    until fusermount3 -u m; do sleep 0.01; done";

/// Starts norfuse in the foreground on a terminal, which shows in the file `log`.
fn mount_on_terminal(bench: &Bench, term: &str, arguments: &str) -> Foreground {
    let mut script = bench.program("script");
    let norfuse = format!("exec \"$NORFUSE\" -f --sim-realtime {arguments} sim:chip.img m");
    script.args(["-qefc", &norfuse, "/dev/null"]).env("TERM", term).env("RUST_LOG", "info");
    let mut terminal = Foreground::start(script, bench.path("log"));
    wait_until("norfuse -f is mounted", || {
        assert!(!terminal.has_ended(), "{}", terminal.log());
        !bench.mounts().is_empty()
    });
    terminal
}

#[test]
fn a_long_commit_at_unmount_shows_a_bar_on_a_terminal_and_takes_it_away() {
    let bench = Bench::with_chip(&noise(1));
    let mut terminal = mount_on_terminal(&bench, "xterm", "");
    bench.sh(WRITE_AND_UNMOUNT).ok();
    assert_eq!(terminal.exit_status(), Some(0), "{}", terminal.log());
    let log = terminal.log();
    assert!(log.contains(BAR) && log.contains("KiB left"), "{log:?}");
    let (_, after) = log.rsplit_once(BAR).unwrap();
    assert!(after.contains("\x1b[2K"), "the bar stays: {log:?}");
}

#[test]
fn a_message_during_the_bar_has_a_line_of_its_own() {
    let bench = Bench::with_chip(&noise(1));
    let faults: Vec<_> = (0..16).map(|byte| format!("weak-erase={:#x}.0", 0x7fff0 + byte)).collect();
    bench.write("faults", faults.join(" ").as_bytes());
    let mut terminal = mount_on_terminal(&bench, "xterm", "--sim-faults faults");
    bench.sh(WRITE_AND_UNMOUNT).ok();
    terminal.exit_status();
    let log = terminal.log();
    assert!(log.contains(BAR), "{log:?}");
    for message in ["norfuse: warning: ", "norfuse: error: "] {
        for (at, _) in log.match_indices(message) {
            let before = &log[..at];
            assert!(
                before.ends_with('\n') || before.ends_with("\x1b[2K"),
                "{:?}",
                &log[at.saturating_sub(80)..]
            );
        }
    }
    assert!(log.contains("see \"verify fails\""), "{log:?}");
}

#[test]
fn nothing_of_a_bar_gets_into_a_file_or_onto_a_terminal_that_has_no_cursor() {
    let bench = Bench::with_chip(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &["--sim-realtime"]);
    bench.sh(WRITE_AND_UNMOUNT).ok();
    assert_eq!(daemon.exit_status(), Some(0));
    let log = daemon.log();
    assert!(log.contains("unmounted") && !log.contains(BAR) && !log.contains('\x1b'), "{log:?}");

    let mut terminal = mount_on_terminal(&bench, "dumb", "");
    bench.sh(WRITE_AND_UNMOUNT).ok();
    assert_eq!(terminal.exit_status(), Some(0));
    let log = terminal.log();
    assert!(log.contains("unmounted") && !log.contains(BAR) && !log.contains('\x1b'), "{log:?}");
}

#[test]
fn info_json_tells_what_a_commit_has_done() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let pending = &bench.info()["pending"];
    assert_eq!((pending["committed_bytes"].as_u64(), pending["bytes_per_second"].as_u64()), (Some(0), None));
    bench.sh("head -c 8192 /dev/urandom | dd of=m/raw.bin bs=4k seek=1 conv=notrunc").ok();
    let pending = &bench.info()["pending"];
    assert_eq!((pending["bytes"].as_u64(), pending["committed_bytes"].as_u64()), (Some(0), Some(8192)));
    assert!(pending["bytes_per_second"].as_u64().unwrap() > 0, "{pending}");
    bench.unmount();
}
