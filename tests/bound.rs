//! The bounds that `contrib/bench` compares with.

#[path = "bench/speed/bound.rs"]
mod bound;

use std::ops::Range;
use std::time::Duration;

use norfuse::spi::sim::timing::Times;

use bound::{Bound, Bus};

const CHIP_LEN: usize = 1 << 20;
/// At 32.768 MHz a KiB takes a quarter of a millisecond.
const BUS: Bus = Bus { clock_hz: 32_768_000, max_data_len: 4096 };

/// What is read and read back in 4 KiB and one message.
const SECTOR_READ_NS: u64 = 15_000 + wire_ns(5 + 4096);

const fn wire_ns(len: u64) -> u64 {
    len * 8 * 1_000_000 / 32_768
}

fn writing(current: &[u8], wanted: &[u8], written: Range<usize>) -> Bound {
    Bound::of_writing(BUS, &Times::default(), current, wanted, written)
}

/// The bound's time is `expected_ns`, but for what rounding takes.
#[track_caller]
fn assert_time(bound: &Bound, expected_ns: u64) {
    let expected = Duration::from_nanos(expected_ns);
    assert!(bound.time().abs_diff(expected) < Duration::from_micros(2), "{:?}: {bound}", bound.time());
}

#[test]
fn a_read_is_made_of_messages_and_bytes() {
    assert_time(&Bound::of_reading(BUS, 1 << 20), 256 * 15_000 + wire_ns(256 * (5 + 4096)));
    let one = Bus { max_data_len: 65_536, ..BUS };
    assert_time(&Bound::of_reading(one, 1 << 20), 16 * 15_000 + wire_ns(16 * (5 + 65_536)));
    assert_eq!(Bound::of_reading(BUS, 4096).to_string(), "read 4 KiB 1.016 ms");
}

#[test]
fn writing_what_is_there_is_reading_its_sectors() {
    let chip = vec![0x5a; CHIP_LEN];
    assert_time(&writing(&chip, &chip, 4000..4200), 15_000 + wire_ns(5 + 8192) + 15_000 + wire_ns(5));
    assert_eq!(writing(&chip, &chip, 4000..4200).to_string(), "read 8 KiB 2.032 ms");
}

#[test]
fn clearing_a_bit_is_reading_programming_and_reading_back() {
    let chip = vec![0x5a; CHIP_LEN];
    let mut wanted = chip.clone();
    wanted[5000] = 0x58;
    let bound = writing(&chip, &wanted, 5000..5001);
    assert_time(&bound, SECTOR_READ_NS + 600_000 + 15_000 + wire_ns(7 + 1) + 15_000 + wire_ns(5 + 1));
    assert_eq!(bound.to_string(), "read 4 KiB 1.016 ms, 1 pages 0.617 ms, read back 1 bytes 0.016 ms");
}

#[test]
fn setting_a_bit_takes_its_sector_along() {
    let chip = vec![0x5a; CHIP_LEN];
    let mut wanted = chip.clone();
    wanted[5000] = 0x5b;
    let bound = writing(&chip, &wanted, 5000..5001);
    let programs = 16 * (600_000 + 15_000 + wire_ns(7 + 256));
    assert_time(&bound, 2 * SECTOR_READ_NS + 45_000_000 + 15_000 + wire_ns(7) + programs);
}

#[test]
fn a_block_is_erased_whole_where_that_is_quicker() {
    let chip = vec![0x5a; CHIP_LEN];
    let mut wanted = chip.clone();
    wanted[65_536..2 * 65_536].fill(0xff);
    wanted[65_536 + 700] = 0x11;
    let text = writing(&chip, &wanted, 65_536..2 * 65_536).to_string();
    assert!(text.contains("1 erases of 64 KiB") && text.contains("1 pages"), "{text}");
    wanted.copy_from_slice(&chip);
    wanted[..7 * 4096].fill(0xa5);
    let text = writing(&chip, &wanted, 0..7 * 4096).to_string();
    assert!(text.contains("1 erases of 32 KiB") && text.contains("128 pages"), "{text}");
    wanted[3 * 4096..7 * 4096].fill(0x5a);
    let text = writing(&chip, &wanted, 0..7 * 4096).to_string();
    assert!(text.contains("3 erases of 4 KiB") && text.contains("48 pages"), "{text}");
}

#[test]
fn a_sector_that_is_blank_needs_no_erase() {
    let chip = vec![0xff; CHIP_LEN];
    let mut wanted = chip.clone();
    wanted[0..700].fill(0);
    let text = writing(&chip, &wanted, 0..700).to_string();
    assert!(
        !text.contains("erases") && text.contains("3 pages") && text.contains("read back 700 bytes"),
        "{text}"
    );
}
