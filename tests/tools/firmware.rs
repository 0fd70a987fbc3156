//! What is on the chips of this table: bytes like those of a camera's or router's firmware.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::common::{Account, CHIP_LEN, Finished, SECTOR_LEN, noise};

/// Text that is found in the boot loader, NUL on both sides.
pub(super) const BANNER: &str = "U-Boot 2013.07 for FM25Q128A";
pub(super) const BANNER_AT: usize = 0x1234;

/// A sector of binary data that begins with [`COMMAND`] and ends with a newline, so that editors find complete lines.
pub(super) const BINARY_AT: usize = 0xa000;
/// Occurs once on the chip, but for the squashfs.
pub(super) const COMMAND: &str = "/usr/sbin/telnetd -l /bin/sh\n";

/// A sector of text, in lines of 16 bytes: `name000=value00`, `name001=value01`, ...
pub(super) const TEXT_AT: usize = 0xb000;
pub(super) const LINE_LEN: usize = 16;

pub(super) const SQUASHFS_AT: usize = 0x20_0000;
/// What is in the squashfs.
pub(super) const SQUASHED: [(&str, &str); 2] =
    [("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("usr/sbin/telnetd", "#!/bin/sh\nexec telnetd\n")];
/// Free space for it.
const SQUASHFS_ROOM: usize = 0x10_0000;

pub(super) const ZEROS_AT: usize = 0x30_0000;
pub(super) const ZEROS_LEN: usize = 0x1_0000;

/// From the zeros to here the chip is blank.
const CALIBRATION_AT: usize = 0xf0_0000;

/// The bytes of the chip.
pub(super) fn firmware() -> &'static [u8] {
    static FIRMWARE: OnceLock<Vec<u8>> = OnceLock::new();
    FIRMWARE.get_or_init(|| {
        let mut chip = noise(1);
        let mut put = |at: usize, bytes: &[u8]| chip[at..at + bytes.len()].copy_from_slice(bytes);
        put(BANNER_AT, format!("\0{BANNER}\0").as_bytes());
        put(BINARY_AT, COMMAND.as_bytes());
        put(BINARY_AT + SECTOR_LEN - 1, b"\n");
        put(TEXT_AT, text().as_bytes());
        put(SQUASHFS_AT, &vec![0xff; CALIBRATION_AT - SQUASHFS_AT]);
        put(SQUASHFS_AT, squashfs());
        put(ZEROS_AT, &[0; ZEROS_LEN]);
        chip
    })
}

/// The bytes of the sector at `at`.
pub(super) fn sector(at: usize) -> &'static [u8] {
    &firmware()[at..at + SECTOR_LEN]
}

/// The text of the sector at [`TEXT_AT`].
pub(super) fn text() -> String {
    (0..SECTOR_LEN / LINE_LEN).map(|number| format!("name{number:03}=value{:02}\n", number % 100)).collect()
}

/// Another chip's bytes, which differ from the firmware by a byte, some thousands, and a block.
pub(super) fn other_firmware() -> Vec<u8> {
    let mut other = firmware().to_vec();
    other[0x12_3456] ^= 0x5a;
    other[0x15_0ff0..0x15_2ff0].copy_from_slice(&noise(2)[..0x2000]);
    other[0xf1_0000..0xf2_0000].copy_from_slice(&noise(3)[..0x1_0000]);
    assert_eq!(other.len(), CHIP_LEN);
    other
}

/// A squashfs with the files of [`SQUASHED`].
pub(super) fn squashfs() -> &'static [u8] {
    static SQUASHFS: OnceLock<Vec<u8>> = OnceLock::new();
    SQUASHFS.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        for (name, contents) in SQUASHED {
            let path = directory.path().join("root").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        let made = make_squashfs(directory.path());
        assert!(made.len() < SQUASHFS_ROOM, "{}", made.len());
        made
    })
}

fn make_squashfs(directory: &Path) -> Vec<u8> {
    let mut mksquashfs = Account::Own.command(directory, "mksquashfs");
    mksquashfs.args(["root", "squashfs", "-quiet", "-no-progress", "-all-root", "-processors", "1"]);
    Finished::of(mksquashfs, "mksquashfs").ok();
    fs::read(directory.join("squashfs")).unwrap()
}
