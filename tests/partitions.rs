//! Parts of the chip as files: named by the user, by the chip, and used with real tools.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::geteuid;
use serde_json::{Value, json};

use common::{Bench, CHIP_LEN, SpidevNode, noise, patched};

/// Where the firmware's last partition begins.
const ROOTFS: usize = 0x25_0000;

const MTDPARTS: &str = "mtdparts=256k(boot),64k(env),2m(kernel),-(rootfs)";

/// Two partitions that overlap each other and begin and end within sectors, and one that is protected.
const ODD_LAYOUT: &str = "\
# odd ones
000ff123:001000ff a
00100000:0x100fff b   # overlaps
00200010:0020001f locked
";

/// A FMAP of a whole chip with areas of these offsets, lengths, names and flags.
fn fmap(areas: &[(u32, u32, &str, u16)]) -> Vec<u8> {
    let name = |name: &str| [name.as_bytes(), &vec![0; 32 - name.len()]].concat();
    let size = u32::try_from(CHIP_LEN).unwrap();
    let mut bytes = [&b"__FMAP__\x01\x01"[..], &[0; 8], &size.to_le_bytes(), &name("FLASH")].concat();
    bytes.extend(u16::try_from(areas.len()).unwrap().to_le_bytes());
    for (offset, len, area, flags) in areas {
        bytes.extend(
            [&offset.to_le_bytes()[..], &len.to_le_bytes(), &name(area), &flags.to_le_bytes()].concat(),
        );
    }
    bytes
}

fn names(bench: &Bench) -> String {
    bench.sh("ls m/partitions").ok().stdout.replace('\n', " ")
}

/// What info.json says of partitions.
fn told(bench: &Bench) -> Value {
    bench.info()["partitions"].clone()
}

#[test]
fn a_squashfs_in_a_partition_is_mounted_unpacked_repacked_and_put_back() {
    let bench = Bench::new();
    bench.make_directory("tree");
    bench.write("tree/telnetd", &noise(3)[..300_000]);
    bench.sh("echo 'telnetd &' > tree/rcS && ln -s rcS tree/init").ok();
    bench.sh("mksquashfs tree rootfs.img -noappend -quiet -no-progress").ok();
    let chip = patched(&noise(1), ROOTFS, &bench.read("rootfs.img"));
    bench.write("chip.img", &chip);
    bench.mount_with(&["-o", MTDPARTS]);
    if geteuid().is_root() {
        bench.make_directory("x");
        bench
            .sh("mount -t squashfs -o loop,ro m/partitions/rootfs.bin x && diff -r --no-dereference tree x")
            .ok();
        // The loop device goes a moment after the mount.
        bench
            .sh("umount x && until [ -z \"$(losetup -j m/partitions/rootfs.bin)\" ]; do sleep 0.01; done")
            .ok();
    }
    bench.sh("unsquashfs -quiet -no-progress -d changed m/partitions/rootfs.bin").ok();
    bench.sh("diff -r --no-dereference tree changed && echo 'echo no telnet' > changed/rcS && rm changed/telnetd").ok();
    bench.sh("mksquashfs changed changed.img -noappend -quiet -no-progress").ok();
    bench.sh("dd if=changed.img of=m/partitions/rootfs.bin bs=64k conv=notrunc,fsync status=none").ok();
    bench.unmount_to(&patched(&chip, ROOTFS, &bench.read("changed.img")));
    bench.mount_with(&["-o", MTDPARTS]);
    bench.sh("unsquashfs -quiet -no-progress -d again m/partitions/rootfs.bin").ok();
    bench.sh("diff -r --no-dereference changed again").ok();
    bench.unmount();
}

#[test]
fn every_way_to_name_partitions_shows_the_same_files() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("layout", b"00000000:0003ffff boot\n00040000:0004ffff env\n00050000:0024ffff kernel\n00250000:00ffffff rootfs\n");
    let list = format!("ro,{MTDPARTS},speed=8M");
    for (arguments, source) in [
        (["--layout", "layout"], "layout"),
        (["-o", "ro,layout=layout,speed=8M"], "layout"),
        (["-o", &list], "mtdparts"),
        (["--mtdparts", "nor:0x40000(boot),64K(env),2097152(kernel),-(rootfs)"], "mtdparts"),
    ] {
        bench.mount_with(&arguments);
        let sizes = bench.sh("stat -c '%n %s' m/partitions/*").ok().stdout;
        let expected = [
            ("boot", 0, 0x4_0000),
            ("env", 0x4_0000, 0x1_0000),
            ("kernel", 0x5_0000, 0x20_0000),
            ("rootfs", 0x25_0000, 0xdb_0000),
        ];
        let lines = expected.map(|(name, _, size)| format!("m/partitions/{name}.bin {size}\n"));
        assert_eq!(sizes, lines.concat(), "{arguments:?}");
        bench.sh("cat m/partitions/{boot,env,kernel,rootfs}.bin | cmp - chip.img").ok();
        let list = expected.map(|(name, address, size)| {
            json!({ "name": name, "address": format!("{address:#08x}"), "size": size, "read_only": false })
        });
        assert_eq!(
            told(&bench),
            json!({ "source": source, "list": list, "suggestion": null }),
            "{arguments:?}"
        );
        bench.unmount_to(&chip);
    }
}

#[test]
fn mount_8_passes_the_commas_of_mtdparts_along() {
    let bench = Bench::with_chip(&noise(1));
    let options = format!("ro,{MTDPARTS},nofail");
    if geteuid().is_root() {
        bench.sh(&format!("mount -t fuse.$NORFUSE sim:$PWD/chip.img m -o '{options}'")).ok();
    } else {
        bench.sh(&format!("mount.fuse3 sim:$PWD/chip.img m -o '{options}' -t fuse.$NORFUSE")).ok();
    }
    assert_eq!(names(&bench), "boot.bin env.bin kernel.bin rootfs.bin ");
    bench.unmount();
}

#[test]
fn a_write_through_one_view_is_seen_at_once_through_overlapping_partitions() {
    see_at_once(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn a_write_through_one_view_is_seen_at_once_through_overlapping_partitions_with_the_page_cache() {
    see_at_once(&["-o", "page_cache"]);
}

fn see_at_once(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("layout", ODD_LAYOUT.as_bytes());
    bench.mount_with(&[&["--layout", "layout"], arguments].concat());
    let script = "
import mmap, os
at = 0x100010
views = []
for name, base in [('raw', 0), ('sectors/100000', 0x100000), ('partitions/a', 0xff123), ('partitions/b', 0x100000)]:
    fd = os.open(f'm/{name}.bin', os.O_RDWR)
    views.append((name, fd, at - base, mmap.mmap(fd, 0)))
for i in range(20):
    for writer, fd, offset, _ in views:
        text = b'%s %04d' % (writer[-3:].encode(), i)
        os.pwrite(fd, text, offset)
        for reader, fd, offset, mapping in views:
            assert os.pread(fd, len(text), offset) == text, (writer, reader, i)
            assert mapping[offset:offset + len(text)] == text, (writer, reader, 'mapped', i)
for i in range(50):
    for writer, _, offset, mapping in views:
        text = b'%s %04d' % (writer[-3:].encode(), i)
        mapping[offset:offset + len(text)] = text
        mapping.flush()
        for reader, fd, offset, mapping in views:
            assert os.pread(fd, len(text), offset) == text, (writer, reader, i, 'msync')
            assert mapping[offset:offset + len(text)] == text, (writer, reader, i, 'msync mapped')
";
    bench.python(script).ok();
    bench.unmount_to(&patched(&chip, 0x10_0010, b"s/b 0049"));
}

#[test]
fn a_partition_ends_where_it_ends_within_a_sector_too() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("layout", ODD_LAYOUT.as_bytes());
    bench.mount_with(&["--layout", "layout"]);
    bench.sh("printf X | dd of=m/partitions/a.bin bs=1 seek=$((0xfdc)) conv=notrunc status=none").ok();
    bench.sh("printf X >> m/partitions/a.bin").fails_with("No space left on device");
    bench
        .sh("truncate -s 4K m/partitions/a.bin && truncate -s 5K m/partitions/a.bin")
        .fails_with("File too large");
    bench.sh("head -c 1M /dev/zero > m/partitions/b.bin").fails_with("No space left on device");
    let wanted = patched(&patched(&chip, 0x10_00ff, b"X"), 0x10_0000, &[0; 0x1000]);
    bench.sh("cmp m/partitions/b.bin <(head -c 4096 /dev/zero)").ok();
    bench.unmount_to(&wanted);
}

#[test]
fn a_write_changes_the_times_of_the_partitions_that_have_the_bytes_and_of_no_others() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount_with(&["-o", "mtdparts=1m(first),1m(second),2m@0(both)"]);
    let times = || {
        let shown = bench.sh("stat -c %.9Y m/partitions/{first,second,both}.bin").ok().stdout;
        shown.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = times();
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    let after = times();
    let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
    assert_eq!(changed, [true, false, true]);
    bench.unmount();
}

#[test]
fn nobody_writes_through_a_protected_partition() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(&["-o", "mtdparts=64k(locked)ro,64k(open)"]);
    assert_eq!(bench.sh("stat -c %a m/partitions/{locked,open}.bin").ok().stdout, "400\n600\n");
    for change in [
        "echo x > m/partitions/locked.bin",
        "echo x >> m/partitions/locked.bin",
        "truncate -s 0 m/partitions/locked.bin",
    ] {
        bench.sh(change).fails_with("Permission denied");
    }
    let script = "
import mmap, os
for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
    try:
        os.open('m/partitions/locked.bin', flags)
        assert False, flags
    except PermissionError: pass
try:
    os.truncate('m/partitions/locked.bin', 65536)
    assert False, 'truncate'
except PermissionError: pass
fd = os.open('m/partitions/locked.bin', os.O_RDONLY)
try:
    mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    assert False, 'mmap'
except PermissionError: pass
assert len(mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)) == 65536
";
    bench.python(script).ok();
    // Times are not the chip's: who owns a file that he may not write can set them anywhere.
    bench.sh("touch m/partitions/locked.bin && cmp -n 65536 m/partitions/locked.bin chip.img").ok();
    bench.sh("printf open | dd of=m/raw.bin bs=1 conv=notrunc status=none").ok();
    assert_eq!(bench.sh("head -c 4 m/partitions/locked.bin").ok().stdout, "open");
    bench.unmount_to(&patched(&chip, 0, b"open"));
}

#[test]
fn partitions_can_neither_be_made_nor_removed_and_keep_their_inodes() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(&["-o", "mtdparts=64k(a),64k(b)"]);
    for change in [
        "rm -f m/partitions/a.bin",
        "rmdir m/partitions",
        "mkdir m/partitions/c",
        "ln m/raw.bin m/partitions/c.bin",
    ] {
        bench.sh(change).fails_with("not permitted");
    }
    bench.sh("cat m/partitions/a").fails_with("No such file");
    assert_eq!(
        bench.sh("find m/partitions -type f | sort").ok().stdout,
        "m/partitions/a.bin\nm/partitions/b.bin\n"
    );
    let inodes = || bench.sh("stat -c '%i %n' m/partitions m/partitions/*").ok().stdout;
    let before = inodes();
    bench.unmount();
    bench.mount_with(&["-o", "mtdparts=64k(a),64k(b)"]);
    assert_eq!(inodes(), before);
    bench.unmount_to(&chip);
}

#[test]
fn what_is_wrong_with_partitions_is_said_in_one_line() {
    let bench = Bench::with_chip(&noise(1));
    bench.write("good", b"0:fff a\n");
    bench.write("bad", b"0:fff a\n\n1000:1fff a/b\n");
    bench.write("twice", b"0:fff a\n1000:1fff a\n");
    bench.write("behind", b"0:1000000 a\n");
    bench.write("binary", &noise(1)[..4096]);
    for (arguments, code, message) in [
        (&["--layout", "missing"][..], 1, "missing: No such file or directory"),
        (&["--layout", "."], 1, ".: Is a directory"),
        (&["-o", "layout=bad"], 1, "bad: line 3: a partition's name"),
        (&["--layout", "twice"], 1, "twice: line 2: line 1 has a partition 'a' too"),
        (
            &["--layout", "behind"],
            1,
            "partition 'a' ends at 0x1000001, behind the end of the chip at 0x1000000",
        ),
        (&["--layout", "binary"], 1, "binary: "),
        (&["--mtdparts", "17m(a)"], 1, "partition 'a' ends at 0x1100000, behind"),
        (&["-o", "mtdparts=1m(a),1m(a)"], 1, "two partitions are called 'a'"),
        (&["-o", "mtdparts=1m(a),64q(b)"], 2, "mtdparts: expected a comma or the end at 'q(b)'"),
        (&["--mtdparts", "1m(..)"], 2, "'..'"),
        (&["--mtdparts", "1m(a/b)"], 2, "no '/'"),
        (&["--mtdparts", "-(a),1m(b)"], 2, "nothing can follow"),
        (&["--mtdparts", ""], 2, "expected a number"),
        (&["-o", "mtdparts"], 2, "mtdparts"),
        (&["-o", "layout"], 2, "layout"),
        (&["-o", "mtdparts=1m(a),boot"], 2, "unknown mount option 'boot'"),
        (&["--layout", "good", "-o", "mtdparts=1m(a)"], 2, "not from both"),
    ] {
        let finished = bench.norfuse(&[arguments, &["sim:chip.img", "m"]].concat());
        assert_eq!(finished.code, code, "{finished}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished}");
        finished.fails_with(message);
        assert!(bench.mounts().is_empty());
    }
    bench.wait_for_daemons();
    for word in ["--layout", "--mtdparts", "layout=FILE", "mtdparts=PARTS", "partitions/NAME.bin"] {
        let help = bench.norfuse(&["--help"]).ok().stdout;
        assert!(help.contains(word), "--help does not tell of {word}");
    }
}

#[test]
fn nothing_is_read_for_partitions_until_somebody_asks_and_then_once() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    bench.norfuse(&["--no-scrub", &node.device(), "m"]).ok();
    let messages = || node.wires().messages.len();
    let mounted = messages();
    bench.sh("ls -l m && stat m/partitions m/info.json && cat m/jedec_id").ok();
    assert_eq!(messages(), mounted);
    assert_eq!(names(&bench), "");
    assert!(messages() > mounted);
    let surveyed = messages();
    bench.sh("ls -l m/partitions && cat m/info.json").ok();
    bench.sh("cat m/partitions/boot.bin").fails_with("No such file");
    // To everybody else it is as if nothing had been read.
    assert_eq!(bench.info()["cache"]["cached_sectors"], 0);
    bench.sh("cat m/sectors/{000000,010000,ff0000}.bin").ok();
    assert_eq!(messages(), surveyed + 3);
    bench.unmount();

    bench.norfuse(&["--no-scrub", "-o", "mtdparts=1m(a)", &node.device(), "m"]).ok();
    let mounted = messages();
    bench.sh("ls -l m/partitions && cat m/info.json").ok();
    assert_eq!(messages(), mounted);
    bench.unmount();
    node.assert_chip(&chip);
}

#[test]
fn many_who_ask_at_a_time_share_one_survey() {
    let node = SpidevNode::new(&noise(1));
    let bench = Bench::new();
    bench.norfuse(&["--no-scrub", &node.device(), "m"]).ok();
    let before = node.wires().messages.len();
    bench.sh("for i in $(seq 12); do ls m/partitions & cat m/info.json > /dev/null & stat m/partitions/x; done 2> /dev/null; wait").ok();
    assert_eq!(node.wires().messages.len(), before + 256);
    bench.unmount();
}

#[test]
fn the_areas_of_a_fmap_are_partitions_as_far_as_they_can_be() {
    let table = fmap(&[
        (0, 0x10_0000, "WP_RO", 4),
        (0x8_0000, 0x8_0000, "RO FRID", 1),
        (0x20_0123, 0x1000, "RW_SECTION_A", 0),
        (0xff_ffff, 2, "behind", 0),
        (0, 0, "empty", 0),
        (0, 16, "../../etc", 0),
        (0, 16, "\u{1b}[2J", 0),
        (16, 16, "WP_RO", 0),
    ]);
    let chip = patched(&noise(1), 0x30_0000, &table);
    let bench = Bench::with_chip(&chip);
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &[]);
    assert_eq!(names(&bench), "RO FRID.bin RW_SECTION_A.bin WP_RO.bin ");
    let told = told(&bench);
    assert_eq!(told["source"], "FMAP");
    assert_eq!(
        told["list"][2],
        json!({ "name": "RW_SECTION_A", "address": "0x200123", "size": 4096, "read_only": false })
    );
    assert_eq!(daemon.log().matches("left out").count(), 5, "{}", daemon.log());
    assert!(!daemon.log().contains('\u{1b}'));
    bench.sh("echo x > m/partitions/WP_RO.bin").fails_with("Permission denied");
    bench.sh("printf area > m/partitions/RW_SECTION_A.bin").ok();
    // What has been shown stays.
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=64k seek=48 count=1 conv=notrunc status=none && cat m/raw.bin > /dev/null").ok();
    assert_eq!(names(&bench), "RO FRID.bin RW_SECTION_A.bin WP_RO.bin ");
    bench.sh("fusermount3 -u m").ok();
    assert_eq!(daemon.exit_status(), Some(0));
    bench.assert_chip(&patched(&patched(&chip, 0x20_0123, b"area"), 0x30_0000, &[0; 0x1_0000]));
}

#[test]
fn a_fmap_elsewhere_is_found_once_it_has_been_read_or_written() {
    let table = fmap(&[(0, 0x1000, "ONE", 0), (0x1000, 0x1000, "TWO", 0)]);
    // Across the end of a sector.
    let at = 0x31_9fb0;
    for script in ["cp m/raw.bin /dev/null", "xxd -s 0x319fb0 -l 16 m/raw.bin"] {
        let bench = Bench::with_chip(&patched(&noise(1), at, &table));
        bench.mount();
        assert_eq!(names(&bench), "");
        bench.sh(script).ok();
        assert_eq!(names(&bench), "ONE.bin TWO.bin ", "{script}");
        bench.unmount();
    }
    let bench = Bench::with_chip(&noise(1));
    bench.write("table", &table);
    bench.mount();
    bench.sh("cp m/raw.bin /dev/null; stat m/partitions/ONE.bin").fails_with("No such file");
    bench.sh("dd if=table of=m/raw.bin bs=1 seek=$((0x319fb0)) conv=notrunc status=none").ok();
    bench.sh("cmp -n 4096 m/partitions/ONE.bin chip.img").ok();
    bench.unmount();
}

#[test]
fn a_table_that_the_survey_sees_only_the_beginning_of_is_read_to_its_end() {
    let table = fmap(&[(0, 0x1000, "ONE", 0), (0x1000, 0x1000, "TWO", 0)]);
    let bench = Bench::with_chip(&patched(&noise(1), 0x31_0fb0, &table));
    bench.mount();
    assert_eq!(names(&bench), "ONE.bin TWO.bin ");
    bench.unmount();
}

#[test]
fn the_demonstration_firmware_suggests_its_partitions_ready_to_paste() {
    let bench = Bench::new();
    bench.norfuse(&["sim:", "m"]).ok();
    assert_eq!(
        told(&bench),
        json!({ "source": "none", "list": [], "suggestion": format!("-o '{MTDPARTS}'") })
    );
    bench.sh("python3 -c 'import json; print(json.load(open(\"m/info.json\"))[\"partitions\"][\"suggestion\"])' > pasted").ok();
    bench.unmount();
    bench.sh("eval \"$NORFUSE $(cat pasted) sim: m\"").ok();
    assert_eq!(names(&bench), "boot.bin env.bin kernel.bin rootfs.bin ");
    assert_eq!(bench.sh("head -c 8 m/partitions/rootfs.bin").ok().stdout, "-rom1fs-");
    bench.unmount();
}

#[test]
fn the_suggestion_follows_what_is_written() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    assert_eq!(told(&bench)["suggestion"], Value::Null);
    bench.sh("printf 'mtdparts=x:1m(a),-(b)\\0' | dd of=m/raw.bin seek=$((0x12345)) bs=1 conv=notrunc status=none").ok();
    assert_eq!(told(&bench)["suggestion"], "-o 'mtdparts=1m(a),-(b)'");
    // The chip is too small for it.
    bench.sh("printf 17m | dd of=m/raw.bin seek=$((0x12345 + 11)) bs=1 conv=notrunc status=none").ok();
    assert_eq!(told(&bench)["suggestion"], Value::Null);
    bench.unmount();
}

#[test]
fn a_chip_that_cannot_be_read_has_no_partitions_and_is_asked_again() {
    let table = fmap(&[(0, 0x1000, "ONE", 0)]);
    let bench = Bench::with_chip(&patched(&noise(1), 0x30_0000, &table));
    bench.write("faults", b"");
    bench.mount_with(&["--sim-faults", "faults", "--no-scrub"]);
    bench.sh("sleep 0.01; echo disconnected > faults.new; mv faults.new faults; sleep 0.01").ok();
    assert_eq!(names(&bench), "");
    assert_eq!(told(&bench)["source"], "none");
    bench.sh("> faults.new; mv faults.new faults; sleep 0.01; head -c 1 m/raw.bin").ok();
    assert_eq!(names(&bench), "ONE.bin ");
    bench.unmount();
}

#[test]
fn partitions_belong_to_the_user_who_mounts() {
    let chip = noise(1);
    let bench = Bench::of_ordinary_user(&chip);
    bench.write("layout", b"0:ffff a\n");
    fs::set_permissions(bench.path("layout"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.mount_with(&["--layout", "layout"]);
    assert_eq!(bench.sh("stat -c %a m/partitions m/partitions/a.bin").ok().stdout, "700\n600\n");
    bench.sh("printf mine | dd of=m/partitions/a.bin conv=notrunc status=none").ok();
    bench.unmount_to(&patched(&chip, 0, b"mine"));
}
