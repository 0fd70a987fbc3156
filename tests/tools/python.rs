//! Python: the ways in which its libraries write files.

use super::firmware::{BINARY_AT, TEXT_AT, ZEROS_AT, firmware, other_firmware};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};
use crate::common::{SECTOR_LEN, noise};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = writing_rows();
    rows.extend(replacing_rows());
    rows.extend(system_call_rows());
    rows
}

fn new_sector() -> Vec<u8> {
    noise(6)[..SECTOR_LEN].to_vec()
}

/// Puts another sector into the file `new`, runs `script`, and checks that it has got to the sector at [`BINARY_AT`].
#[track_caller]
fn writes_sector(bench: &FirmwareBench, script: &str) -> String {
    let new = new_sector();
    bench.write("new", &new);
    bench.python(script).ok();
    bench.changed(&[(BINARY_AT, &new)])
}

/// Runs a script that raises an OSError and prints it; that must be `error`, and the chip as it was.
#[track_caller]
fn raises(bench: &FirmwareBench, script: &str, error: &str) -> String {
    let last = bench.python(script).fails_with(error).stderr.lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(error), "{last}");
    format!("{error}; {}", bench.unchanged())
}

fn writing_rows() -> Vec<Row> {
    vec![
        row("python open r+b", "bytes in place", |bench| {
            let script = "
with open('m/raw.bin', 'r+b') as f:
    f.seek(70000)
    f.write(b'in place')
    f.flush()
    f.seek(70000)
    assert f.read(8) == b'in place'
";
            bench.python(script).ok();
            bench.changed(&[(70_000, b"in place")])
        }),
        // Paced, so that what is still to be done when the process has ended is still to be done when that is looked at.
        row("python os.write", "and ended without closing", |bench| {
            let new = &noise(6)[..4 * SECTOR_LEN];
            bench.write("new", new);
            let script = "
import os
fd = os.open('m/raw.bin', os.O_RDWR)
os.pwrite(fd, open('new', 'rb').read(), 0xa000)
os._exit(0)
";
            bench.python(script).ok();
            bench.changed(&[(BINARY_AT, new)])
        })
        .mounted_with(&["--sim-realtime"]),
        row("python write_bytes", "a whole sector", |bench| {
            let script = "
from pathlib import Path
Path('m/sectors/00a000.bin').write_bytes(Path('new').read_bytes())
";
            writes_sector(bench, script)
        }),
        row("python open ab", "to the end of raw.bin", |bench| {
            raises(bench, "f = open('m/raw.bin', 'ab', 0)\nf.write(b'more')", "No space left on device")
        }),
        row("python open x", "raw.bin", |bench| raises(bench, "open('m/raw.bin', 'x')", "File exists")),
        row("python mmap", "written, flushed, and seen in the sector", |bench| {
            let script = "
import mmap
with open('m/raw.bin', 'r+b') as f, mmap.mmap(f.fileno(), 0) as mapped:
    assert mapped[0xa000:0xa004] == b'/usr'
    mapped[0xa000:0xa004] = b'/USR'
    mapped[0xb000:0xb004] = b'NAME'
    mapped.flush()
    assert open('m/sectors/00a000.bin', 'rb').read(4) == b'/USR'
";
            bench.python(script).ok();
            bench.changed(&[(BINARY_AT, b"/USR"), (TEXT_AT, b"NAME")])
        }),
        row("python mmap", "ACCESS_COPY, ACCESS_READ", |bench| {
            let script = "
import mmap
with open('m/raw.bin', 'rb') as f:
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[0:4] = b'mine'
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        open('copy', 'wb').write(mapped)
";
            bench.python(script).ok();
            bench.assert_file("copy", firmware());
            bench.unchanged()
        }),
        row("python mmap", "with PROT_WRITE of a file that is open for reading", |bench| {
            raises(
                bench,
                "import mmap\nf = open('m/raw.bin', 'rb')\nmmap.mmap(f.fileno(), 0)",
                "Permission denied",
            )
        }),
    ]
}

fn replacing_rows() -> Vec<Row> {
    vec![
        row("python tempfile, os.replace", "a sector", |bench| {
            let script = "
import os, tempfile
fd, name = tempfile.mkstemp(dir='m/sectors')
with os.fdopen(fd, 'wb') as f:
    f.write(open('new', 'rb').read())
    f.flush()
    os.fsync(f.fileno())
os.replace(name, 'm/sectors/00a000.bin')
assert open('m/sectors/00a000.bin', 'rb').read() == open('new', 'rb').read()
";
            writes_sector(bench, script)
        }),
        row("python tempfile, os.replace", "raw.bin", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            let script = "
import os, shutil, tempfile
with tempfile.NamedTemporaryFile(dir='m', delete=False) as f:
    shutil.copyfileobj(open('image', 'rb'), f)
os.replace(f.name, 'm/raw.bin')
";
            bench.python(script).ok();
            bench.changed_to(&image)
        }),
        row("python tempfile, os.replace", "a sector by a shorter file", |bench| {
            let script = "
import os, tempfile
with tempfile.NamedTemporaryFile(dir='m/sectors') as f:
    f.write(b'short')
    f.flush()
    os.replace(f.name, 'm/sectors/00a000.bin')
";
            raises(bench, script, "Invalid argument")
        }),
        row("python os.remove", "a sector", |bench| {
            raises(bench, "import os\nos.remove('m/sectors/00a000.bin')", "Operation not permitted")
        }),
        row("python shutil.copyfile", "over a sector", |bench| {
            writes_sector(bench, "import shutil\nshutil.copyfile('new', 'm/sectors/00a000.bin')")
        }),
        row("python shutil.copy", "a file of mode 600 over a sector", |bench| {
            let script = "
import os, shutil
os.chmod('new', 0o600)
shutil.copy('new', 'm/sectors/00a000.bin')
";
            writes_sector(bench, script)
        }),
        row("python shutil.copy", "a file of mode 644 over a sector", |bench| {
            let new = new_sector();
            bench.write("new", &new);
            let script = "
import os, shutil
os.chmod('new', 0o644)
shutil.copy('new', 'm/sectors/00a000.bin')
";
            bench.python(script).fails_with("PermissionError: [Errno 1] Operation not permitted");
            format!("Operation not permitted; bytes {}", bench.changed(&[(BINARY_AT, &new)]))
        }),
    ]
}

fn system_call_rows() -> Vec<Row> {
    vec![
        row("python os.sendfile", "into a sector", |bench| {
            let script = "
import os
source, target = os.open('new', os.O_RDONLY), os.open('m/sectors/00a000.bin', os.O_WRONLY)
assert os.sendfile(target, source, 0, 4096) == 4096
os.close(target)
";
            writes_sector(bench, script)
        }),
        row("python os.sendfile", "raw.bin away", |bench| {
            let script = "
import os
source, target = os.open('m/raw.bin', os.O_RDONLY), os.open('copy', os.O_WRONLY | os.O_CREAT)
sent = 0
while sent < 16 << 20:
    sent += os.sendfile(target, source, sent, 16 << 20)
";
            bench.python(script).ok();
            bench.assert_file("copy", firmware());
            bench.unchanged();
            "as on the chip".to_owned()
        }),
        row("python os.posix_fallocate", "within raw.bin", |bench| {
            let script = format!(
                "import os\nos.posix_fallocate(os.open('m/raw.bin', os.O_RDWR), {}, 65536)",
                ZEROS_AT - 0x8000
            );
            bench.python(&script).ok();
            bench.unchanged()
        }),
        row("python os.posix_fallocate", "beyond the end of raw.bin", |bench| {
            let script = "import os\nos.posix_fallocate(os.open('m/raw.bin', os.O_RDWR), 0, (16 << 20) + 1)";
            raises(bench, script, "No space left on device")
        }),
        row("python os.pwrite", "O_SYNC: on the chip while the file is open", |bench| {
            let script = "
import os
fd = os.open('m/raw.bin', os.O_RDWR | os.O_SYNC)
os.pwrite(fd, b'by O_SYNC', 300)
with open('chip.img', 'rb') as chip:
    chip.seek(300)
    assert chip.read(9) == b'by O_SYNC'
os.close(fd)
";
            bench.python(script).ok();
            bench.changed(&[(300, b"by O_SYNC")])
        }),
        row("python os.pwrite", "O_DIRECT, from a page of memory", |bench| {
            let script = "
import mmap, os
page = mmap.mmap(-1, 4096)
page.write(open('new', 'rb').read())
fd = os.open('m/raw.bin', os.O_RDWR | os.O_DIRECT)
assert os.pwritev(fd, [page], 0xa000) == 4096
page[:] = bytes(4096)
assert os.preadv(fd, [page], 0xa000) == 4096
assert page[:] == open('new', 'rb').read()
os.close(fd)
";
            writes_sector(bench, script)
        }),
        row("python os.copy_file_range", "into a sector, from another file system", |bench| {
            bench.write("new", &new_sector());
            let script = "
import os
source, target = os.open('new', os.O_RDONLY), os.open('m/sectors/00a000.bin', os.O_WRONLY)
try:
    print(os.copy_file_range(source, target, 4096))
except OSError as error:
    print(error.strerror)
os.close(target)
";
            match &*bench.python(script).ok().stdout {
                // Kernels from 5.3 to 5.18 copy by themselves.
                "4096\n" => bench.changed(&[(BINARY_AT, &new_sector())]),
                error => {
                    assert_eq!(error, "Invalid cross-device link\n");
                    format!("{}; {}", error.trim_end(), bench.unchanged())
                }
            }
        }),
        row("python os.copy_file_range", "from a sector to another", |bench| {
            let script = "
import os
source, target = (os.open(f'm/sectors/00{n}000.bin', os.O_RDWR) for n in 'ba')
copied = 0
while copied < 4096:
    copied += os.copy_file_range(source, target, 4096 - copied)
os.close(target)
";
            bench.python(script).ok();
            bench.changed(&[(BINARY_AT, &firmware()[TEXT_AT..TEXT_AT + SECTOR_LEN])])
        }),
        row("python os.splice", "from a pipe into a sector, and back", |bench| {
            let script = "
import os
reader, writer = os.pipe()
source, target = os.open('new', os.O_RDONLY), os.open('m/sectors/00a000.bin', os.O_RDWR)
assert os.splice(source, writer, 4096) == 4096
assert os.splice(reader, target, 4096) == 4096
os.lseek(target, 0, os.SEEK_SET)
assert os.splice(target, writer, 4096) == 4096
assert os.read(reader, 4096) == open('new', 'rb').read()
os.close(target)
";
            writes_sector(bench, script)
        }),
        row("python os.lseek", "SEEK_DATA, SEEK_HOLE", |bench| {
            let script = "
import os
fd = os.open('m/raw.bin', os.O_RDONLY)
print(os.lseek(fd, 4096, os.SEEK_DATA), os.lseek(fd, 4096, os.SEEK_HOLE))
";
            assert_eq!(bench.python(script).ok().stdout, "4096 16777216\n");
            format!("no holes; {}", bench.unchanged())
        }),
    ]
}
