//! Scratch files: made, changed and removed like files anywhere, in memory, and put on the chip by renaming them over a chip file.

mod common;

use common::{Bench, SECTOR_LEN, noise, patched};

#[test]
fn scratch_files_are_made_listed_renamed_and_removed_and_the_chip_stays_as_it_is() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let tree = bench.sh("find m | sort").ok().stdout;
    for directory in ["m", "m/sectors"] {
        let script = format!(
            "cd {directory} && echo one > a && echo two >> a && test \"$(cat a)\" = $'one\\ntwo' && mv a b \
             && test ! -e a && cp b c && truncate -s 3 c && test \"$(cat c)\" = one && ls b && mv -f c b && test \"$(cat b)\" = one && rm b && test ! -e b"
        );
        bench.sh(&script).ok();
    }
    bench.sh("echo there > m/a && mv m/a m/sectors/b && cat m/sectors/b && rm m/sectors/b").ok();
    assert_eq!(bench.sh("find m | sort").ok().stdout, tree);
    bench.unmount_to(&chip);
}

#[test]
fn scratch_files_are_gone_with_the_mount() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("cp m/sectors/000000.bin m/copy && echo x > m/sectors/note").ok();
    bench.unmount();
    bench.mount();
    bench.sh("cat m/copy").fails_with("No such file or directory");
    bench.sh("cat m/sectors/note").fails_with("No such file or directory");
    bench.unmount_to(&chip);
}

#[test]
fn a_scratch_file_renamed_over_a_sector_is_on_the_chip_when_the_rename_returns() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..SECTOR_LEN];
    bench.write("new", new);
    bench.mount();
    bench.sh("cat m/sectors/00a000.bin > /dev/null && cp new m/sectors/.new").ok();
    bench.python("import os; os.rename('m/sectors/.new', 'm/sectors/00a000.bin')").ok();
    let wanted = patched(&chip, 0xa000, new);
    bench.assert_chip(&wanted);
    bench.sh("cmp new m/sectors/00a000.bin && test ! -e m/sectors/.new").ok();
    bench.sh("cmp new <(tail -c +40961 m/raw.bin | head -c 4096)").ok();
    assert_eq!(bench.sh("stat -c '%i %h %s' m/sectors/00a000.bin").ok().stdout, "4106 1 4096\n");
    bench.unmount_to(&wanted);
}

#[test]
fn a_whole_image_can_be_renamed_over_the_chip() {
    let bench = Bench::with_chip(&noise(1));
    let image = noise(2);
    bench.write("image", &image);
    bench.mount();
    bench.sh("cp image m/image && mv -f m/image m/raw.bin && cmp image m/raw.bin").ok();
    bench.assert_chip(&image);
    bench.unmount_to(&image);
}

#[test]
fn a_file_of_another_size_cannot_be_renamed_over_a_sector() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &[]);
    for len in [0, 4095, 4097] {
        bench.sh(&format!("head -c {len} /dev/zero > m/new")).ok();
        let rename = "import os; os.rename('m/new', 'm/sectors/00a000.bin')";
        bench.python(rename).fails_with("Invalid argument");
        assert_eq!(bench.sh("stat -c %s m/new").ok().stdout, format!("{len}\n"));
    }
    bench.sh("mv -f m/sectors/00a000.bin m/raw.bin").fails_with("Operation not permitted");
    let log = daemon.log();
    assert!(
        log.contains("new has 4095 bytes") && log.contains("sectors/00a000.bin, which has 4096"),
        "{log}"
    );
    bench.sh("fusermount3 -u m").ok();
    daemon.exit_status();
    bench.assert_chip(&chip);
}

#[test]
fn what_is_written_to_an_open_file_after_its_rename_is_on_the_chip() {
    write_after_the_rename(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn what_is_written_to_an_open_file_after_its_rename_is_on_the_chip_with_the_page_cache() {
    write_after_the_rename(&["-o", "page_cache"]);
}

fn write_after_the_rename(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(arguments);
    let script = "
import os
fd = os.open('m/sectors/new', os.O_RDWR | os.O_CREAT)
os.write(fd, b'a' * 4096)
os.rename('m/sectors/new', 'm/sectors/00a000.bin')
os.pwrite(fd, b'late', 100)
os.fsync(fd)
other = os.open('m/sectors/00a000.bin', os.O_RDWR)
assert os.pread(other, 8, 98) == b'aalateaa'
os.pwrite(fd, b'later', 200)
os.close(fd)
";
    bench.python(script).ok();
    let mut sector = [b'a'; SECTOR_LEN];
    sector[100..104].copy_from_slice(b"late");
    sector[200..205].copy_from_slice(b"later");
    let wanted = patched(&chip, 0xa000, &sector);
    bench.assert_chip(&wanted);
    bench.unmount_to(&wanted);
}

#[test]
fn a_chip_file_that_is_renamed_away_stays_and_leaves_a_copy() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("mv m/sectors/00a000.bin m/sectors/00a000.bin~").ok();
    bench.sh("cmp m/sectors/00a000.bin m/sectors/00a000.bin~").ok();
    let inodes = bench.sh("stat -c %i m/sectors/00a000.bin m/sectors/00a000.bin~").ok().stdout;
    assert_ne!(inodes.lines().next(), inodes.lines().nth(1), "{inodes}");
    bench.sh("echo backup > m/sectors/00a000.bin~").ok();
    bench.sh("mv m/raw.bin m/old.bin && cmp m/raw.bin m/old.bin").ok();
    // What was saved is put back.
    bench.sh("echo changed > m/sectors/00b000.bin").ok();
    bench.sh("mv -f m/old.bin m/raw.bin").ok();
    bench.unmount_to(&chip);
}

#[test]
fn names_can_be_exchanged_or_kept_from_being_replaced() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def rename(old, new, flags):
    done = libc.renameat2(-100, old.encode(), -100, new.encode(), flags)
    return 'done' if done == 0 else os.strerror(ctypes.get_errno())
NOREPLACE, EXCHANGE = 1, 2
os.chdir('m')
open('a', 'w').write('a')
open('b', 'w').write('b')
print(rename('a', 'b', EXCHANGE), open('a').read(), open('b').read())
print(rename('a', 'b', NOREPLACE))
print(rename('a', 'raw.bin', NOREPLACE))
print(rename('a', 'raw.bin', EXCHANGE))
print(rename('jedec_id', 'c', 0))
print(rename('sectors', 'c', 0))
print(rename('a', 'info.json', 0))
";
    let answers = bench.python(script).ok().stdout;
    assert_eq!(
        answers,
        "done b a\nFile exists\nFile exists\nInvalid argument\nOperation not permitted\nOperation not permitted\n\
         Operation not permitted\n"
    );
    bench.unmount_to(&chip);
}

#[test]
fn scratch_files_keep_to_the_memory_that_they_are_given() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(&["-o", "scratch=64k"]);
    bench.sh("head -c 70000 /dev/zero > m/large").fails_with("No space left on device");
    bench.sh("rm m/large && head -c 61440 /dev/zero > m/large && echo x > m/small").ok();
    bench.sh("echo x > m/more").fails_with("No space left on device");
    bench.sh("mv m/sectors/00a000.bin m/copy").fails_with("No space left on device");
    bench.sh("truncate -s 1T m/small").fails_with("No space left on device");
    bench.sh("rm m/large && echo x > m/more").ok();
    bench.unmount_to(&chip);
    bench.mount_with(&["-o", "scratch=0"]);
    bench.sh("echo x > m/any").fails_with("No space left on device");
    bench.unmount();
    let refusal = bench.norfuse_refuses(&["-o", "scratch=much", "sim:chip.img", "m"]);
    assert!(refusal.contains("mount option 'scratch' takes a number of bytes"), "{refusal}");
}

#[test]
fn an_unlinked_scratch_file_can_be_used_until_it_is_closed() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount_with(&["-o", "scratch=64k"]);
    let script = "
import os
fd = os.open('m/a', os.O_RDWR | os.O_CREAT | os.O_EXCL)
os.unlink('m/a')
os.write(fd, b'x' * 61440)
assert os.pread(fd, 5, 61435) == b'xxxxx' and os.fstat(fd).st_nlink == 0
os.ftruncate(fd, 10)
assert os.fstat(fd).st_size == 10
os.ftruncate(fd, 61440)
os.close(fd)
";
    bench.python(script).ok();
    bench.sh("head -c 65536 /dev/zero > m/b").ok();
    bench.unmount();
}

#[test]
fn scratch_files_have_modes_owners_times_and_no_links_or_attributes() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    bench.sh("umask 027 && echo x > m/a && test $(stat -c %a m/a) = 640").ok();
    bench.sh("chmod 4711 m/a && test $(stat -c %a m/a) = 4711 && chown $(id -u):$(id -g) m/a").ok();
    bench.sh("touch -d '2020-02-02 UTC' m/a && test $(stat -c %Y m/a) = 1580601600").ok();
    bench.sh("cp -p m/a m/b && test $(stat -c %Y m/b) = 1580601600").ok();
    for change in ["ln m/a m/link", "ln -s a m/link", "mknod m/fifo p", "mkdir m/directory"] {
        bench.sh(change).fails_with("Operation not permitted");
    }
    bench.sh("rmdir m/a").fails_with("Not a directory");
    bench
        .sh("python3 -c \"import os; os.setxattr('m/a', 'user.x', b'y')\"")
        .fails_with("Operation not supported");
    bench.sh(&format!("echo x > m/{}", "n".repeat(255))).ok();
    bench.sh(&format!("echo x > m/{}", "n".repeat(256))).fails_with("File name too long");
    bench.unmount();
}

#[test]
fn a_directory_can_be_emptied_of_scratch_files_while_it_is_listed() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let tree = bench.sh("find m | sort").ok().stdout;
    bench.sh("cd m/sectors && for i in $(seq 500); do echo $i > scratch.$i; done").ok();
    bench.sh("test $(find m/sectors -name 'scratch.*' | wc -l) = 500").ok();
    bench.sh("find m/sectors -name 'scratch.*' -delete").ok();
    assert_eq!(bench.sh("find m | sort").ok().stdout, tree);
    bench.unmount_to(&chip);
}

#[test]
fn a_scratch_file_can_be_mapped() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    for arguments in [&[][..], &["-o", "page_cache"]] {
        bench.mount_with(arguments);
        let script = "
import mmap, os
fd = os.open('m/a', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
view = mmap.mmap(fd, 0)
view[4090:4100] = b'0123456789'
view.flush()
assert os.pread(fd, 10, 4090) == b'0123456789'
os.pwrite(fd, b'ab', 4092)
assert view[4090:4100] == b'01ab456789'
";
        bench.python(script).ok();
        bench.unmount_to(&chip);
    }
}

#[test]
fn nothing_is_made_on_a_read_only_mount() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount_with(&["-o", "ro"]);
    bench.sh("echo x > m/a").fails_with("Read-only file system");
    bench.sh("mv m/raw.bin m/b").fails_with("Read-only file system");
    bench.unmount();
}

#[test]
fn a_rename_onto_a_chip_that_refuses_fails_and_keeps_the_scratch_file() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("faults", b"protect=7");
    bench.mount_with(&["--sim-faults", "faults"]);
    bench.sh("head -c 4096 /dev/zero > m/new").ok();
    bench.sh("mv -f m/new m/sectors/00a000.bin").fails_with("Read-only file system");
    bench.sh("test $(stat -c %s m/new) = 4096").ok();
    bench.unmount_to(&chip);
}

#[test]
fn a_big_rename_lets_others_read_meanwhile() {
    let old = noise(1);
    let bench = Bench::with_chip(&old);
    let new = noise(2);
    bench.write("new", &new);
    bench.mount();
    bench.sh("cp new m/sectors/image").ok();
    bench.sh("mv -f m/sectors/image m/raw.bin & cp m/raw.bin seen; wait $!").ok();
    let seen = bench.read("seen");
    let wrong = (0..old.len()).find(|&at| seen[at] != old[at] && seen[at] != new[at]);
    assert_eq!(wrong, None);
    bench.unmount_to(&new);
}
