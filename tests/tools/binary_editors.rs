//! Editors of bytes, and bspatch(1).

use super::firmware::{BINARY_AT, firmware, sector};
use super::row::{Row, row};
use crate::common::{SECTOR_LEN, patched};

/// The address of a sector of bytes that are no text and do not end in a newline.
const NOISE_AT: usize = 0xc000;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("xxd -r", "a line at its address, into raw.bin", |bench| {
            bench.sh("echo '123456: 6e6f 7266 75' | xxd -r - m/raw.bin").ok();
            bench.changed(&[(0x12_3456, b"norfu")])
        }),
        row("xxd, xxd -r", "a sector dumped, edited, and put back", |bench| {
            bench.sh("xxd m/sectors/00c000.bin dump && sed -i '1s/: .... ..../: 0102 0304/' dump").ok();
            bench.sh("xxd -r dump m/sectors/00c000.bin").ok();
            bench.changed(&[(NOISE_AT, &[1, 2, 3, 4])])
        }),
        row("xxd -p", "raw.bin's bytes", |bench| {
            let script = "xxd -p -s 0xa000 -l 16 m/raw.bin";
            bench.prints(script, "2f7573722f7362696e2f74656c6e6574\n")
        }),
        row("vim -b", ":%!xxd, edited, :%!xxd -r", |bench| {
            let edit = "-c '%!xxd' -c '1s/: .... ..../: 0102 0304/' -c '%!xxd -r' -c wq";
            bench.sh(&format!("vim -es -b {edit} m/sectors/00c000.bin")).ok();
            bench.changed(&[(NOISE_AT, &[1, 2, 3, 4])])
        }),
        row("vim -b", ":%!xxd in a terminal", |bench| {
            bench
                .in_terminal(
                    r#"
                    spawn vim -b m/sectors/00c000.bin
                    must "4096B"
                    send ":%!xxd\r"
                    must "00000000: "
                    send ":1s/: .... ..../: 0102 0304/\r"
                    must "0102 0304"
                    send ":%!xxd -r\r"
                    send ":wq\r"
                    "#,
                )
                .ok();
            bench.changed(&[(NOISE_AT, &[1, 2, 3, 4])])
        }),
        row("hexedit", "two bytes of raw.bin, in a terminal", |bench| {
            bench
                .in_terminal(
                    r#"
                    spawn hexedit m/raw.bin
                    must "--0x0/0x1000000"
                    # Return asks for an address, ^X saves and leaves.
                    send "\r"
                    must "New position"
                    send "0xa000\r"
                    must "A000/0x1000000"
                    send "4142"
                    send "\030"
                    must "Save changes"
                    send "y"
                    "#,
                )
                .ok();
            bench.changed(&[(BINARY_AT, b"AB")])
        }),
        row("bsdiff, bspatch", "a sector", |bench| {
            let new = patched(sector(BINARY_AT), 2000, b"by bspatch");
            bench.write("new", &new);
            bench.sh("bsdiff m/sectors/00a000.bin new delta").ok();
            bench.sh("bspatch m/sectors/00a000.bin m/sectors/00a000.bin delta").ok();
            bench.changed(&[(BINARY_AT, &new)])
        }),
        row("bspatch", "a sector from a shorter one", |bench| {
            bench.write("new", &sector(BINARY_AT)[..SECTOR_LEN - 10]);
            bench.sh("bsdiff m/sectors/00a000.bin new delta").ok();
            bench.sh("bspatch m/sectors/00a000.bin m/sectors/00c000.bin delta").ok();
            bench.changed(&[(NOISE_AT, &firmware()[BINARY_AT..BINARY_AT + SECTOR_LEN - 10])])
        }),
    ]
}
