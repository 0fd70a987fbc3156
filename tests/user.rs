//! Mounting without privileges: by fusermount3, and for nobody else.

mod common;

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;

use common::{Account, Bench, Finished, noise, wait_until};

/// Runs a script as whoever runs the suite, who may be another than the bench's user.
fn as_suite(bench: &Bench, script: &str) -> Finished {
    let mut command = Account::Own.command(bench.directory(), "bash");
    command.args(["-c", script]);
    Finished::of(command, script)
}

#[test]
fn an_ordinary_user_mounts_reads_writes_and_unmounts() {
    let chip = noise(1);
    let bench = Bench::of_ordinary_user(&chip);
    bench.sh("$NORFUSE sim:chip.img m && cp m/raw.bin a.bin && cmp a.bin chip.img").ok();
    let mounts = bench.mounts();
    assert_eq!(mounts[0].kind, "fuse.norfuse");
    assert_eq!(mounts[0].source, "sim:chip.img");
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    let mut wanted = chip;
    wanted[0xa000..0xa003].copy_from_slice(b"hi\n");
    bench.unmount_to(&wanted);
}

#[test]
fn everything_belongs_to_the_user_alone() {
    let bench = Bench::of_ordinary_user(&noise(1));
    bench.mount();
    let shown = bench.sh("stat -c '%a %u:%g' m m/sectors m/raw.bin m/sectors/00a000.bin").ok().stdout;
    let owner = bench.sh("echo $(id -u):$(id -g)").ok().stdout;
    let owner = owner.trim();
    assert_eq!(shown, format!("700 {owner}\n700 {owner}\n600 {owner}\n600 {owner}\n"));
    bench.unmount();
}

#[test]
fn not_even_root_gets_in() {
    let bench = Bench::of_ordinary_user(&noise(1));
    bench.mount();
    if geteuid().is_root() {
        for intrusion in ["ls m", "cat m/raw.bin", "cat m/info.json", "stat m/raw.bin"] {
            as_suite(&bench, intrusion).fails_with("Permission denied");
        }
    } else {
        let mounts = bench.mounts();
        assert!(!mounts[0].options.iter().any(|option| option == "allow_other"), "{mounts:?}");
    }
    bench.unmount();
}

#[test]
fn allow_other_is_for_the_system_to_allow() {
    let bench = Bench::of_ordinary_user(&noise(1));
    let configuration = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if configuration.lines().any(|line| line.trim() == "user_allow_other") {
        bench.mount_with(&["-o", "allow_other"]);
        as_suite(&bench, "ls m").ok();
        bench.unmount();
    } else {
        let stderr = bench.norfuse_refuses(&["-o", "allow_other", "sim:chip.img", "m"]);
        assert!(stderr.contains("user_allow_other"), "{stderr}");
    }
}

#[test]
fn a_users_daemon_unmounts_when_terminated() {
    let chip = noise(1);
    let bench = Bench::of_ordinary_user(&chip);
    bench.mount();
    for pid in bench.daemons() {
        kill(pid, Signal::SIGTERM).unwrap();
    }
    bench.wait_for_daemons();
    assert!(bench.mounts().is_empty());
    bench.assert_chip(&chip);
}

#[test]
fn a_users_killed_daemon_can_be_cleaned_up() {
    let bench = Bench::of_ordinary_user(&noise(1));
    bench.mount();
    bench.kill_daemon();
    bench.sh("cat m/jedec_id").fails_with("Transport endpoint is not connected");
    bench.sh("fusermount3 -u m").ok();
    bench.mount();
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.unmount();
}

#[test]
fn with_auto_unmount_a_users_killed_daemon_leaves_no_mount() {
    let bench = Bench::of_ordinary_user(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &["-o", "auto_unmount"]);
    daemon.signal(Signal::SIGKILL);
    daemon.exit_status();
    wait_until("the mount is gone", || bench.mounts().is_empty());
    bench.mount();
    bench.unmount();
}

#[test]
fn a_user_mounts_read_only() {
    let chip = noise(1);
    let bench = Bench::of_ordinary_user(&chip);
    bench.mount_with(&["-o", "ro"]);
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.sh("echo x > m/raw.bin").fails_with("Read-only file system");
    bench.unmount_to(&chip);
}

#[test]
fn a_directory_of_somebody_else_is_no_mountpoint() {
    let bench = Bench::of_ordinary_user(&noise(1));
    let stderr = bench.norfuse_refuses(&["sim:chip.img", "/usr"]);
    assert!(stderr.contains("/usr"), "{stderr}");
}

/// Whether somebody else than the mounting user can read the bench's chip: tried where the suite runs as root, told by
/// the mount table otherwise.
fn others_get_in(bench: &Bench) -> bool {
    if !geteuid().is_root() {
        return bench.mounts()[0].options.iter().any(|option| option == "allow_other");
    }
    bench.sh("chmod 755 .").ok();
    let mut other = Account::Ordinary.command(bench.directory(), "bash");
    other.args(["-c", "head -c 4096 m/raw.bin | cmp -n 4096 - chip.img"]);
    Finished::of(other, "another user reads").code == 0
}

#[test]
fn others_stay_out_unless_they_are_allowed_in() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount_with(&["-o", "umask=022"]);
    assert!(!others_get_in(&bench));
    bench.unmount();
}

#[test]
fn others_that_root_allows_in_still_need_permission() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    if !geteuid().is_root() {
        // Only the privileged may allow it; here it is what fuse.conf says, and that has a test of its own.
        bench.mount();
        assert!(!others_get_in(&bench));
        return bench.unmount();
    }
    bench.mount_with(&["-o", "allow_other"]);
    assert!(!others_get_in(&bench), "the files are 0600");
    bench.unmount();
    bench.mount_with(&["-o", "allow_other,umask=022"]);
    assert!(others_get_in(&bench));
    let mut other = Account::Ordinary.command(bench.directory(), "bash");
    other.args(["-c", "echo x > m/raw.bin"]);
    Finished::of(other, "another user writes").fails_with("Permission denied");
    bench.unmount_to(&chip);
}
