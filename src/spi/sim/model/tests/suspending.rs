//! Suspending and resuming erases.

use super::{Configuration, Duration, Host, Violation};
use crate::spi::sim::timing;

/// A host whose chip is 1 ms into the erase of its second sector.
fn erasing() -> Host {
    let mut host = Host::new();
    host.poke(0, &[0x12]);
    host.send(&[0x06]);
    host.send(&[0x20, 0, 0x10, 0]);
    host.wait(Duration::from_millis(1));
    host
}

#[test]
fn a_suspended_erase_lets_other_sectors_be_read_and_takes_its_time_when_resumed() {
    let mut host = erasing();
    host.send(&[0x75]);
    assert_eq!(host.status() & 1, 1);
    host.wait(timing::SUSPEND);
    assert_eq!(host.status() & 1, 0);
    assert_eq!(host.status_registers()[1], 0x80);
    assert_eq!(host.read(&[0x03, 0, 0, 0], 1), [0x12]);
    host.wait(Duration::from_secs(1));
    host.send(&[0x7a]);
    assert_eq!(host.status() & 1, 1);
    host.wait(timing::SECTOR_ERASE - Duration::from_millis(2));
    assert_eq!(host.status() & 1, 1);
    host.wait(Duration::from_millis(1));
    assert_eq!((host.status(), host.status_registers()[1]), (0, 0));
    host.assert_violations(&[]);
}

#[test]
fn a_suspended_chip_neither_erases_nor_programs_and_shows_nothing_of_what_it_erases() {
    let mut host = erasing();
    host.send(&[0x75]);
    host.wait(timing::SUSPEND);
    host.send(&[0x06]);
    host.send(&[0x20, 0, 0, 0]);
    host.read(&[0x03, 0, 0x0f, 0xff], 2);
    host.assert_violations(&[Violation::Suspended, Violation::Suspended, Violation::SuspendedRead]);
    assert_eq!(host.peek(0, 1), [0x12]);
}

#[test]
fn an_erase_must_run_for_a_while_before_it_is_suspended_again() {
    let mut host = erasing();
    host.send(&[0x75]);
    host.wait(timing::SUSPEND);
    host.send(&[0x7a]);
    host.send(&[0x75]);
    host.assert_violations(&[Violation::SuspendTooSoon]);
}

#[test]
fn suspend_and_resume_of_nothing_are_ignored() {
    let mut host = Host::new();
    host.send(&[0x75]);
    host.send(&[0x7a]);
    assert_eq!(host.status(), 0);
    host.assert_violations(&[]);
}

#[test]
fn a_chip_that_cannot_suspend_stays_busy() {
    let mut host = Host::with(Configuration { suspends: false, ..Configuration::default() });
    host.send(&[0x06]);
    host.send(&[0x20, 0, 0, 0]);
    host.wait(Duration::from_millis(1));
    host.send(&[0x75]);
    host.wait(timing::SUSPEND);
    assert_eq!(host.status() & 1, 1);
    host.assert_violations(&[Violation::Busy]);
}
