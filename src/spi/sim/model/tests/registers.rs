//! Status register writes, volatile values and reset.

use super::{Duration, Host, RegisterMap, Violation};
use crate::spi::sim::timing;

#[test]
fn a_status_write_of_one_byte_leaves_sr2_alone_and_of_two_writes_it() {
    let mut host = Host::with_status(RegisterMap::A, [0, 0x02, 0]);
    host.write(&[0x01, 0x04]);
    assert_eq!(host.status_registers(), [0x04, 0x02, 0xff]);
    host.write(&[0x01, 0x00, 0x40]);
    assert_eq!(host.status_registers(), [0x00, 0x40, 0xff]);
    host.write(&[0x31, 0x02]);
    assert_eq!(host.read(&[0x35], 2), [0x02, 0x02]);
    host.assert_violations(&[]);
    host.write(&[0x01, 0x00, 0x00, 0x00]);
    host.assert_violations(&[Violation::Overlong]);
}

#[test]
fn a_status_write_takes_its_time_and_ignores_busy_and_wel() {
    let mut host = Host::new();
    host.send(&[0x06]);
    host.send(&[0x01, 0x07]);
    host.wait(timing::STATUS_WRITE - Duration::from_micros(2));
    assert_eq!(host.status(), 0x07);
    assert_eq!(host.status(), 0x04);
    host.assert_violations(&[]);
}

#[test]
fn sr3_exists_only_in_map_b() {
    let mut host = Host::with_status(RegisterMap::B, [0; 3]);
    host.write(&[0x11, 0x04]);
    assert_eq!(host.read(&[0x15], 1), [0x04]);
    host.assert_violations(&[]);
    let mut host = Host::new();
    host.write(&[0x11, 0x04]);
    assert_eq!(host.read(&[0x15], 1), [0xff]);
    host.assert_violations(&[Violation::UnknownOpcode]);
}

#[test]
fn the_dc_bits_of_map_b_add_dummy_bytes_to_fast_read() {
    let mut host = Host::with_status(RegisterMap::B, [0, 0x40, 0]);
    host.poke(0, &[1, 2]);
    assert_eq!(host.read(&[0x0b, 0, 0, 0, 0], 2), [0xff, 1]);
    assert_eq!(host.read(&[0x03, 0, 0, 0], 2), [1, 2]);
}

#[test]
fn a_volatile_status_write_needs_no_wel_and_is_lost_at_power_up_and_reset() {
    let mut host = Host::new();
    for lose in [power_cycle, reset] {
        host.send(&[0x50]);
        assert_eq!(host.status(), 0x00);
        host.send(&[0x50]);
        host.send(&[0x01, 0x04]);
        assert_eq!(host.status(), 0x04);
        lose(&mut host);
        assert_eq!(host.status(), 0x00);
    }
    host.assert_violations(&[]);
}

fn power_cycle(host: &mut Host) {
    host.model.power_cycle();
}

fn reset(host: &mut Host) {
    host.send(&[0x66]);
    host.send(&[0x99]);
    host.wait(timing::RESET);
}

#[test]
fn a_volatile_write_enable_counts_for_the_next_frame_only() {
    let mut host = Host::new();
    host.send(&[0x50]);
    host.send(&[0x01, 0x04]);
    host.send(&[0x01, 0x08]);
    assert_eq!(host.status(), 0x04);
    host.assert_violations(&[Violation::WriteDisabled]);
}

#[test]
fn lb_locks_the_security_registers_for_good() {
    let mut host = Host::new();
    host.write(&[0x42, 0x00, 0x10, 0x00, 1]);
    host.write(&[0x31, 0x04]);
    host.assert_violations(&[Violation::ReservedBits]);
    host.write(&[0x31, 0x00]);
    host.model.power_cycle();
    host.write(&[0x44, 0x00, 0x10, 0x00]);
    assert_eq!(host.read(&[0x48, 0x00, 0x10, 0x00, 0], 1), [1]);
    assert_eq!(host.read(&[0x35], 1), [0x04]);
    host.assert_violations(&[Violation::ReservedBits, Violation::ReservedBits, Violation::Protected]);
}

#[test]
fn srp1_refuses_status_writes() {
    let mut host = Host::with_status(RegisterMap::A, [0x84, 0x01, 0]);
    host.write(&[0x01, 0x00]);
    assert_eq!(host.status(), 0x84);
    host.assert_violations(&[Violation::Protected]);
}

#[test]
fn a_reset_only_counts_directly_behind_its_enable() {
    let mut host = Host::new();
    host.send(&[0x06]);
    host.send(&[0x66]);
    assert_eq!(host.status(), 0x02);
    host.send(&[0x99]);
    assert_eq!(host.status(), 0x02);
    host.assert_violations(&[Violation::ResetNotEnabled]);
    host.send(&[0x66]);
    host.send(&[0x99]);
    assert_eq!(host.status(), 0xff);
    host.wait(timing::RESET);
    assert_eq!(host.status(), 0x00);
    host.assert_violations(&[Violation::ResetNotEnabled, Violation::Busy]);
}
