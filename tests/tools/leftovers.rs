//! What desktops and file managers leave in directories.

use super::row::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("desktop", ".Trash-1000", |bench| {
            let message = "mkdir: cannot create directory ‘m/.Trash-1000’: Operation not permitted";
            bench.refuses("mkdir m/.Trash-1000", 1, message)
        }),
        row("desktop", ".DS_Store, Thumbs.db, .directory", |bench| {
            let names = "m/.DS_Store m/Thumbs.db m/sectors/._00a000.bin m/sectors/.directory";
            bench.sh(&format!("for name in {names}; do echo leftover > $name || exit; done")).ok();
            assert_eq!(bench.sh(&format!("cat {names} | sort -u")).ok().stdout, "leftover\n");
            bench.sh(&format!("fusermount3 -u m && $NORFUSE sim:chip.img m && ! ls {names}")).ok();
            format!("in memory, gone at unmount; {}", bench.unchanged())
        }),
    ]
}
