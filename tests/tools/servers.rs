//! Programs that offer files to others.

use super::firmware::{firmware, other_firmware};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};

/// Runs `script` while nbdkit serves raw.bin at `$uri`.
#[track_caller]
fn served(bench: &FirmwareBench, options: &str, script: &str) -> String {
    bench.write("client", script.as_bytes());
    bench.sh(&format!("nbdkit {options} -U - file m/raw.bin --run 'export uri; bash -e client'")).ok().stdout
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("nbdkit file, nbdinfo", "raw.bin's size", |bench| {
            assert_eq!(served(bench, "-r", "nbdinfo --size \"$uri\""), "16777216\n");
            bench.unchanged()
        }),
        row("nbdkit file, nbdcopy", "raw.bin away", |bench| {
            served(bench, "-r", "nbdcopy \"$uri\" copy");
            bench.assert_file("copy", firmware());
            bench.unchanged();
            "as on the chip".to_owned()
        }),
        row("nbdkit file, nbdcopy", "an image over raw.bin", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            served(bench, "", "nbdcopy --flush image \"$uri\"");
            bench.changed_to(&image)
        }),
    ]
}
