//! Identification, reading and deep power-down.

use super::{Configuration, Duration, Host, Violation};
use crate::spi::sim::sfdp;
use crate::spi::sim::storage::CHIP_SIZE;

#[test]
fn the_ids_are_those_of_the_fm25q128a() {
    let mut host = Host::new();
    assert_eq!(host.read(&[0x9f], 5), [0xa1, 0x40, 0x18, 0xff, 0xff]);
    assert_eq!(host.read(&[0x90, 0, 0, 0], 4), [0xa1, 0x17, 0xa1, 0x17]);
    assert_eq!(host.read(&[0x90, 0, 0, 1], 2), [0x17, 0xa1]);
    assert_eq!(host.read(&[0xab, 0, 0, 0], 2), [0x17, 0x17]);
    host.assert_violations(&[]);
}

#[test]
fn a_unique_id_is_read_behind_four_dummy_bytes_or_is_ff() {
    let id = [1, 2, 3, 4, 5, 6, 7, 8];
    let mut host = Host::with(Configuration { unique_id: Some(id), ..Configuration::default() });
    assert_eq!(host.read(&[0x4b, 0, 0, 0, 0], 9), [1, 2, 3, 4, 5, 6, 7, 8, 0xff]);
    let mut host = Host::with(Configuration { unique_id: None, ..Configuration::default() });
    assert_eq!(host.read(&[0x4b, 0, 0, 0, 0], 8), [0xff; 8]);
}

#[test]
fn the_sfdp_area_is_read_from_any_address_and_is_ff_behind_its_end() {
    let mut host = Host::new();
    assert_eq!(host.read(&[0x5a, 0, 0, 0, 0], 4), b"SFDP");
    let area = sfdp::area();
    assert_eq!(host.read(&[0x5a, 0, 0, 0x80, 0], 66), [&area[0x80..], &[0xff, 0xff]].concat());
}

#[test]
fn a_read_wraps_at_the_end_of_the_chip_and_is_counted() {
    let mut host = Host::new();
    host.poke(CHIP_SIZE - 2, &[1, 2]);
    host.poke(0, &[3, 4]);
    assert_eq!(host.read(&[0x03, 0xff, 0xff, 0xfe], 2), [1, 2]);
    host.assert_violations(&[]);
    assert_eq!(host.read(&[0x03, 0xff, 0xff, 0xfe], 4), [1, 2, 3, 4]);
    host.assert_violations(&[Violation::BeyondChip]);
    assert_eq!(host.model.counters().bytes_read, 6);
}

#[test]
fn fast_read_has_as_many_dummy_bytes_as_configured() {
    for dummies in [1, 2] {
        let mut host = Host::with(Configuration { fast_read_dummies: dummies, ..Configuration::default() });
        host.poke(0x100, &[1, 2, 3]);
        let late = host.read(&[0x0b, 0, 1, 0, 0], 3);
        let expected = if dummies == 1 { [1, 2, 3] } else { [0xff, 1, 2] };
        assert_eq!(late, expected);
    }
}

#[test]
fn a_frame_may_be_split_anywhere_and_run_full_duplex() {
    let mut host = Host::new();
    host.poke(0x123456, &[1, 2, 3, 4]);
    for split in 0..9 {
        let frame = [0x03, 0x12, 0x34, 0x56, 0, 0, 0, 0];
        let mut answer = [0; 8];
        let (sent_first, sent_last) = frame.split_at(split.min(8));
        let (first, last) = answer.split_at_mut(split.min(8));
        host.model.select(host.now, host.clock_hz);
        host.model.exchange(Some(sent_first), Some(first)).unwrap();
        host.model.exchange(Some(sent_last), Some(last)).unwrap();
        host.model.deselect(host.now).unwrap();
        assert_eq!(answer, [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], "split at {split}");
    }
}

#[test]
fn without_chip_select_the_line_reads_ff() {
    let mut host = Host::new();
    let mut answer = [0; 3];
    host.model.exchange(Some(&[0x9f, 0, 0]), Some(&mut answer)).unwrap();
    host.model.deselect(host.now).unwrap();
    assert_eq!(answer, [0xff; 3]);
    assert_eq!(host.model.counters().frames, 0);
}

#[test]
fn unknown_opcodes_and_short_or_long_frames_do_nothing_and_are_counted() {
    let mut host = Host::new();
    assert_eq!(host.read(&[0x6b, 0, 0, 0, 0], 2), [0xff, 0xff]);
    host.send(&[0x03, 0, 0]);
    host.send(&[0x06, 0]);
    host.send(&[]);
    assert_eq!(host.status(), 0);
    host.assert_violations(&[Violation::UnknownOpcode, Violation::Truncated, Violation::Overlong]);
}

#[test]
fn read_is_limited_to_50_mhz_and_everything_else_to_104() {
    let mut host = Host::new();
    host.clock_hz = 50_000_000;
    host.read(&[0x03, 0, 0, 0], 1);
    host.clock_hz = 104_000_000;
    host.read(&[0x0b, 0, 0, 0, 0], 1);
    host.assert_violations(&[]);
    host.read(&[0x03, 0, 0, 0], 1);
    host.clock_hz = 104_000_001;
    host.read(&[0x0b, 0, 0, 0, 0], 1);
    host.assert_violations(&[Violation::TooFast, Violation::TooFast]);
}

#[test]
fn in_power_down_only_the_release_is_heard_and_takes_its_time() {
    let mut host = Host::new();
    host.send(&[0xb9]);
    assert_eq!(host.read(&[0x9f], 1), [0xff]);
    assert_eq!(host.read(&[0x05], 1), [0xff]);
    host.send(&[0xab]);
    let deaf = host.read(&[0x9f], 1);
    assert_eq!(deaf, [0xff]);
    host.wait(Duration::from_micros(3));
    assert_eq!(host.read(&[0x9f], 1), [0xa1]);
    host.assert_violations(&[Violation::PoweredDown, Violation::PoweredDown, Violation::Busy]);
}

#[test]
fn a_chip_that_is_awake_ignores_the_release() {
    let mut host = Host::new();
    host.send(&[0xab]);
    assert_eq!(host.read(&[0x9f], 1), [0xa1]);
    host.assert_violations(&[]);
}
