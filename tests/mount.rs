//! Mounting and unmounting the way people, mount(8) and service managers do it.

mod common;

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;

use common::{Bench, CHIP_LEN, assert_same, noise, wait_until};

/// Opens the second sector, writes `pending` to it and neither closes nor synchronizes it.
const WRITE_AND_KEEP_OPEN: &str = "
import os
fd = os.open('m/sectors/001000.bin', os.O_RDWR)
os.write(fd, b'pending')
pause()
os.close(fd)
";

/// `chip` with what [`WRITE_AND_KEEP_OPEN`] writes.
fn with_pending_written(chip: &[u8]) -> Vec<u8> {
    let mut wanted = chip.to_vec();
    wanted[0x1000..0x1007].copy_from_slice(b"pending");
    wanted
}

#[test]
fn the_chip_can_be_copied_as_soon_as_the_start_returns() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.sh("$NORFUSE sim:chip.img m && cp m/raw.bin a.bin && cmp a.bin chip.img").ok();
    assert_same(&bench.read("a.bin"), &chip, "the copy");
    bench.unmount_to(&chip);
}

#[test]
fn the_daemon_keeps_neither_its_starters_pipe_nor_its_directory() {
    let bench = Bench::with_chip(&noise(1));
    // cat ends when nobody holds the pipe any more.
    bench.sh("timeout 60 bash -c '$NORFUSE sim:chip.img m 2>&1 | cat'").ok();
    let daemons = bench.daemons();
    assert!(!daemons.is_empty());
    for pid in daemons {
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"), "{pid}");
    }
    bench.unmount();
}

#[test]
fn the_mount_table_shows_the_device_and_the_type() {
    let bench = Bench::with_chip(&noise(1));
    let device = format!("sim:{}", bench.path("chip.img").display());
    bench.norfuse(&[&device, "m"]).ok();
    let mounts = bench.mounts();
    assert_eq!(mounts.len(), 1);
    assert_eq!(mounts[0].source, device);
    assert_eq!(mounts[0].kind, "fuse.norfuse");
    assert_eq!(mounts[0].target, bench.path("m"));
    for option in ["rw", "nosuid", "nodev", "default_permissions"] {
        assert!(mounts[0].options.iter().any(|other| other == option), "{option}: {mounts:?}");
    }
    assert_eq!(bench.info()["bus"]["device"], device.as_str());
    bench.unmount();
}

#[test]
fn in_the_foreground_it_stays_until_it_is_unmounted() {
    let bench = Bench::with_chip(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &[]);
    bench.sh("cat m/jedec_id").ok();
    assert!(!daemon.has_ended());
    bench.sh("fusermount3 -u m").ok();
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
    assert!(bench.mounts().is_empty());
}

#[test]
fn debugging_means_the_foreground() {
    let bench = Bench::with_chip(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &["-d"]);
    bench.sh("cat m/jedec_id").ok();
    assert!(!daemon.has_ended());
    bench.unmount();
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
}

#[test]
fn umount_ends_it_with_everything_on_the_chip() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("printf pending | dd of=m/sectors/001000.bin conv=notrunc status=none && umount m").ok();
    bench.wait_for_daemons();
    bench.assert_chip(&with_pending_written(&chip));
}

#[test]
fn every_terminating_signal_puts_pending_bytes_on_the_chip_and_unmounts() {
    let chip = noise(1);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let bench = Bench::with_chip(&chip);
        let mut daemon = bench.mount_in_foreground("sim:chip.img", &[]);
        let writer = bench.paused_python(WRITE_AND_KEEP_OPEN);
        daemon.signal(signal);
        wait_until("it is unmounted", || bench.mounts().is_empty());
        let wanted = with_pending_written(&chip);
        wait_until("the bytes are on the chip", || bench.read("chip.img") == wanted);
        // Nobody has the chip open any more, so there is nothing left to wait for.
        writer.kill();
        assert_eq!(daemon.exit_status(), Some(0), "{signal}: {}", daemon.log());
        bench.assert_chip(&wanted);
    }
}

#[test]
fn a_terminated_daemon_does_not_wait_for_ever_for_who_has_the_chip_open() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let writer = bench.paused_python(WRITE_AND_KEEP_OPEN);
    for pid in bench.daemons() {
        kill(pid, Signal::SIGTERM).unwrap();
    }
    bench.wait_for_daemons();
    assert!(bench.mounts().is_empty());
    bench.assert_chip(&with_pending_written(&chip));
    writer.kill();
}

#[test]
fn unmounting_is_refused_while_a_file_is_open_and_harms_nothing() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let writer = bench.paused_python(WRITE_AND_KEEP_OPEN);
    bench.sh("fusermount3 -u m").fails_with("busy");
    assert_eq!(bench.sh("head -c 7 m/sectors/001000.bin").ok().stdout, "pending");
    writer.go_on();
    bench.unmount_to(&with_pending_written(&chip));
}

#[test]
fn a_lazily_unmounted_chip_is_served_until_its_last_file_is_closed() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let writer = bench.paused_python(WRITE_AND_KEEP_OPEN);
    bench.sh("fusermount3 -uz m").ok();
    assert!(bench.mounts().is_empty());
    writer.go_on();
    bench.wait_for_daemons();
    bench.assert_chip(&with_pending_written(&chip));
}

#[test]
fn mount_8_mounts_it_by_its_type() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    if geteuid().is_root() {
        // mount(8) gives its helpers no PATH; as part of the type the path serves as well as a name.
        bench.sh("mount -t fuse.$NORFUSE sim:$PWD/chip.img m -o ro").ok();
    } else {
        bench.sh("mount.fuse3 sim:$PWD/chip.img m -o ro -t fuse.$NORFUSE").ok();
    }
    let mounts = bench.mounts();
    assert_eq!(mounts[0].kind, "fuse.norfuse");
    assert!(mounts[0].options.iter().any(|option| option == "ro"), "{mounts:?}");
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.unmount_to(&chip);
}

#[test]
fn the_mount_helper_finds_it_by_its_name() {
    let bench = Bench::with_chip(&noise(1));
    bench.sh("PATH=$(dirname $NORFUSE):$PATH mount.fuse3 sim:chip.img m -t fuse.norfuse -o ro").ok();
    assert_eq!(bench.mounts()[0].kind, "fuse.norfuse");
    bench.unmount();
}

#[test]
fn what_an_fstab_line_holds_is_understood() {
    let bench = Bench::with_chip(&noise(1));
    let options = "rw,nosuid,nodev,noexec,relatime,_netdev,user,noauto,nofail,x-systemd.automount,x-systemd.idle-timeout=60";
    bench.norfuse(&["sim:chip.img", "m", "-o", options]).ok();
    bench.unmount();
    // What mount.fuse3 adds when it is run by root for a plain line.
    bench.norfuse(&["sim:chip.img", "m", "-o", "rw,dev,suid"]).ok();
    bench.unmount();
}

#[test]
fn options_may_come_before_between_and_after_the_operands() {
    let bench = Bench::with_chip(&noise(1));
    for arguments in [
        ["-o", "ro", "sim:chip.img", "m"],
        ["sim:chip.img", "-o", "ro", "m"],
        ["sim:chip.img", "m", "-o", "ro"],
        ["sim:chip.img", "m", "-oro", "-orelatime"],
    ] {
        bench.norfuse(&arguments).ok();
        assert!(bench.mounts()[0].options.iter().any(|option| option == "ro"), "{arguments:?}");
        bench.unmount();
    }
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(&["-o", "ro"]);
    assert_eq!(bench.sh("stat -c %a m/raw.bin m/sectors/000000.bin").ok().stdout, "400\n400\n");
    for change in
        ["echo x > m/raw.bin", "truncate -s 16M m/raw.bin", "touch m/raw.bin", "rm -f m/raw.bin", "mkdir m/x"]
    {
        bench.sh(change).fails_with("Read-only file system");
    }
    bench.unmount_to(&chip);
}

#[test]
fn owner_and_mode_are_as_asked() {
    let bench = Bench::with_chip(&noise(1));
    // Without privileges somebody else's files could not even be looked at.
    let uid = if geteuid().is_root() { 12 } else { geteuid().as_raw() };
    bench.mount_with(&["-o", &format!("uid={uid},gid=34,umask=027")]);
    assert_eq!(bench.sh("stat -c '%u %g %a' m/raw.bin").ok().stdout, format!("{uid} 34 640\n"));
    assert_eq!(bench.sh("stat -c '%u %g %a' m/sectors").ok().stdout, format!("{uid} 34 750\n"));
    bench.unmount();
}

#[test]
fn the_clock_is_as_asked() {
    let bench = Bench::with_chip(&noise(1));
    for (speed, hz) in [("8M", 8_000_000), ("16MHz", 16_000_000), ("8000000", 8_000_000), ("500k", 500_000)] {
        bench.mount_with(&["-o", &format!("speed={speed}")]);
        assert_eq!(bench.info()["bus"]["clock_hz"], hz, "{speed}");
        bench.unmount();
    }
}

#[test]
fn with_auto_unmount_a_killed_daemon_leaves_no_mount() {
    let bench = Bench::with_chip(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &["-o", "auto_unmount"]);
    daemon.signal(Signal::SIGKILL);
    daemon.exit_status();
    wait_until("the mount is gone", || bench.mounts().is_empty());
    bench.mount();
    bench.unmount();
}

#[test]
fn a_killed_daemons_mountpoint_can_be_cleaned_and_used_again() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("printf pending | dd of=m/sectors/001000.bin conv=notrunc status=none").ok();
    bench.kill_daemon();
    bench.sh("cat m/jedec_id").fails_with("Transport endpoint is not connected");
    let refused = bench.norfuse(&["sim:chip.img", "m"]).fails_with("umount");
    assert!(bench.daemons().is_empty(), "{refused}");
    bench.sh("fusermount3 -u m").ok();
    bench.mount();
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.unmount_to(&with_pending_written(&chip));
}

#[test]
fn two_chips_can_be_mounted_at_a_time() {
    let bench = Bench::with_chip(&noise(1));
    let other = noise(2);
    bench.write("other.img", &other);
    bench.make_directory("n");
    bench.mount();
    bench.norfuse(&["sim:other.img", "n"]).ok();
    bench.sh("dd if=m/sectors/abc000.bin of=n/sectors/def000.bin status=none").ok();
    bench.sh("cmp m/raw.bin chip.img && cmp n/raw.bin other.img").ok();
    bench.sh("fusermount3 -u n").ok();
    let mut wanted = other;
    wanted[0xde_f000..0xdf_0000].copy_from_slice(&noise(1)[0xab_c000..0xab_d000]);
    bench.sh("cat m/jedec_id").ok();
    bench.unmount_to(&noise(1));
    assert_same(&bench.read("other.img"), &wanted, "the other chip");
}

#[test]
fn a_missing_simulated_chip_is_created_blank() {
    let bench = Bench::new();
    bench.mount();
    assert_eq!(bench.sh("cat m/jedec_id").ok().stdout, "a14018\n");
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.unmount_to(&vec![0xff; CHIP_LEN]);
}

#[test]
fn the_demonstration_chip_needs_no_file() {
    let bench = Bench::new();
    bench.norfuse(&["sim:", "m"]).ok();
    bench.sh("cp m/raw.bin a.bin").ok();
    let dump = bench.read("a.bin");
    assert_eq!(dump.len(), CHIP_LEN);
    assert!(dump.iter().any(|&byte| byte != 0xff), "nothing is on it");
    bench.unmount();
}

#[test]
fn it_starts_with_its_standard_streams_closed() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.sh("$NORFUSE sim:chip.img m <&- >&- 2>&-").ok();
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.unmount_to(&chip);
}

#[test]
fn it_starts_without_an_environment() {
    let bench = Bench::with_chip(&noise(1));
    bench.sh("env -i NORFUSE_TEST_BENCH=$NORFUSE_TEST_BENCH $NORFUSE -o no_journal sim:chip.img m").ok();
    bench.sh("cat m/jedec_id").ok();
    bench.unmount();
}

#[test]
fn a_mount_over_it_is_not_unmounted_when_it_ends() {
    let bench = Bench::with_chip(&noise(1));
    bench.write("other.img", &noise(2));
    bench.mount();
    let daemons = bench.daemons();
    let reader = bench.paused_python("f = open('m/raw.bin', 'rb')\nf.read(1)\npause()\nf.read(1)\n");
    bench.sh("fusermount3 -uz m").ok();
    bench.norfuse(&["sim:other.img", "m"]).ok();
    reader.go_on();
    wait_until("the first daemon is gone", || !bench.daemons().iter().any(|pid| daemons.contains(pid)));
    assert_eq!(bench.mounts().len(), 1);
    bench.sh("cmp m/raw.bin other.img").ok();
    bench.unmount();
}
