//! Program and erase, WEL and BUSY.

use super::{Duration, Host, RegisterMap, Violation};
use crate::spi::sim::storage::CHIP_SIZE;
use crate::spi::sim::timing;

#[test]
fn a_program_without_wel_does_nothing() {
    let mut host = Host::new();
    host.send(&[0x02, 0, 0, 0, 0xaa]);
    host.send(&[0x06]);
    host.send(&[0x04]);
    host.send(&[0x20, 0, 0, 0]);
    assert_eq!(host.peek(0, 1), [0xff]);
    assert_eq!(host.status(), 0);
    host.assert_violations(&[Violation::WriteDisabled, Violation::WriteDisabled]);
}

#[test]
fn wel_and_busy_are_set_until_the_program_is_done() {
    let mut host = Host::new();
    host.send(&[0x06]);
    assert_eq!(host.status(), 0x02);
    host.send(&[0x02, 0, 0, 0, 0xaa]);
    let started = host.now;
    assert_eq!(host.status(), 0x03);
    host.now = started + timing::PAGE_PROGRAM - Duration::from_micros(2);
    assert_eq!(host.status(), 0x03);
    host.now = started + timing::PAGE_PROGRAM;
    assert_eq!(host.status(), 0x00);
    host.assert_violations(&[]);
}

#[test]
fn a_status_read_follows_busy_within_one_frame() {
    let mut host = Host::new();
    host.send(&[0x06]);
    host.send(&[0x02, 0, 0, 0, 0xaa]);
    // At 8 MHz a byte takes 1 us, so that 599 of them begin before the program is done.
    let answers = host.read(&[0x05], 1000);
    assert_eq!(answers.iter().filter(|&&status| status == 0x03).count(), 599);
    assert_eq!(answers[599..], [0; 401]);
}

#[test]
fn a_busy_chip_hears_only_status_reads() {
    let mut host = Host::new();
    host.send(&[0x06]);
    host.send(&[0x20, 0, 0, 0]);
    assert_eq!(host.read(&[0x9f], 3), [0xff; 3]);
    host.send(&[0x04]);
    assert_eq!(host.read(&[0x05], 1), [0x03]);
    assert_eq!(host.read(&[0x35], 1), [0x00]);
    assert_eq!(host.read(&[0x15], 1), [0xff]);
    host.assert_violations(&[Violation::Busy, Violation::Busy]);
}

#[test]
fn erases_take_their_typical_times() {
    let units: [(&[u8], Duration); 4] = [
        (&[0x20, 0, 0, 0], timing::SECTOR_ERASE),
        (&[0x52, 0, 0, 0], timing::BLOCK_ERASE_32K),
        (&[0xd8, 0, 0, 0], timing::BLOCK_ERASE_64K),
        (&[0x60], timing::CHIP_ERASE),
    ];
    for (command, time) in units {
        let mut host = Host::new();
        host.send(&[0x06]);
        host.send(command);
        host.wait(time - Duration::from_micros(2));
        assert_eq!(host.status(), 0x03, "{command:x?}");
        assert_eq!(host.status(), 0x00, "{command:x?}");
    }
}

#[test]
fn a_program_only_clears_bits_and_says_when_it_should_set_some() {
    let mut host = Host::new();
    host.poke(0, &[0b1100, 0b1111]);
    host.write(&[0x02, 0, 0, 0, 0b0110, 0b1010]);
    assert_eq!(host.peek(0, 3), [0b0100, 0b1010, 0xff]);
    host.assert_violations(&[Violation::SetsBits]);
}

#[test]
fn a_program_wraps_within_its_page() {
    let mut host = Host::new();
    host.write(&[0x02, 0x00, 0x12, 0xfe, 1, 2, 3, 4]);
    assert_eq!(host.peek(0x12fe, 4), [1, 2, 0xff, 0xff]);
    assert_eq!(host.peek(0x1200, 3), [3, 4, 0xff]);
    host.assert_violations(&[Violation::PageOverrun]);
}

#[test]
fn of_a_program_longer_than_a_page_the_last_256_bytes_count() {
    let mut host = Host::new();
    let data: Vec<u8> = (0..=255).chain([0xf0, 0x0f]).collect();
    host.write(&[&[0x02, 0x00, 0x00, 0x00][..], &data].concat());
    let mut expected: Vec<u8> = (0..=255).collect();
    expected[..2].copy_from_slice(&[0xf0, 0x0f]);
    assert_eq!(host.peek(0, 256), expected);
    assert_eq!(host.peek(256, 1), [0xff]);
    host.assert_violations(&[Violation::PageOverrun]);
}

#[test]
fn a_whole_page_in_pieces_is_no_violation() {
    let mut host = Host::new();
    let data: Vec<u8> = (0..=255).collect();
    host.send(&[0x06]);
    host.model.select(host.now, host.clock_hz);
    for piece in [&[0x02, 0xff][..], &[0xff, 0x00], &data[..100], &data[100..]] {
        host.model.exchange(Some(piece), None).unwrap();
    }
    host.model.deselect(host.now).unwrap();
    assert_eq!(host.peek(0xffff00, 256), data);
    assert_eq!(host.model.counters().pages_programmed, 1);
    host.assert_violations(&[]);
}

#[test]
fn a_program_without_data_does_nothing() {
    let mut host = Host::new();
    host.send(&[0x06]);
    host.send(&[0x02, 0, 0, 0]);
    assert_eq!(host.status(), 0x02);
    host.assert_violations(&[Violation::ProgramWithoutData]);
}

#[test]
fn an_erase_clears_its_whole_unit_and_nothing_else() {
    let units = [(0x20, 0x1000), (0x52, 0x8000), (0xd8, 0x1_0000)];
    for (opcode, len) in units {
        let mut host = Host::new();
        host.poke(0x10_0000 - 1, &vec![0; len as usize + 2]);
        host.write(&[opcode, 0x10, 0x0f, 0xff]);
        assert_eq!(host.peek(0x10_0000 - 1, 2), [0x00, 0xff]);
        assert_eq!(host.peek(0x10_0000 + len - 1, 2), [0xff, 0x00]);
        host.assert_violations(&[Violation::UnalignedErase]);
    }
}

#[test]
fn a_chip_erase_clears_everything() {
    for opcode in [0x60, 0xc7] {
        let mut host = Host::new();
        host.poke(0, &[0; 3]);
        host.poke(CHIP_SIZE - 3, &[0; 3]);
        host.write(&[opcode]);
        assert!(host.model.contents().unwrap().iter().all(|&byte| byte == 0xff));
        assert_eq!(host.model.counters().chip_erases, 1);
        host.assert_violations(&[]);
    }
}

#[test]
fn an_erase_with_bytes_too_many_or_too_few_is_not_carried_out() {
    let mut host = Host::new();
    host.poke(0, &[0]);
    host.write(&[0x20, 0, 0]);
    host.write(&[0x20, 0, 0, 0, 0]);
    assert_eq!(host.peek(0, 1), [0]);
    assert_eq!(host.status(), 0x02);
    host.assert_violations(&[Violation::Truncated, Violation::Overlong]);
}

#[test]
fn counters_tell_erases_by_size() {
    let mut host = Host::new();
    host.write(&[0x20, 0, 0, 0]);
    host.write(&[0x52, 0, 0, 0]);
    host.write(&[0x52, 0, 0, 0]);
    host.write(&[0xd8, 0, 0, 0]);
    let counters = host.model.counters();
    assert_eq!((counters.sectors_erased, counters.blocks_32k_erased, counters.blocks_64k_erased), (1, 2, 1));
    assert_eq!(counters.frames, 8);
}

#[test]
fn protected_pages_and_sectors_are_left_alone_in_both_maps() {
    for map in [RegisterMap::A, RegisterMap::B] {
        let mut host = Host::with_status(map, [0x24, 0, 0]);
        host.poke(0x3ffff, &[0, 0]);
        host.write(&[0x02, 0, 0, 0, 0xaa]);
        assert_eq!(host.status() & 0x03, 0);
        host.write(&[0x20, 0x03, 0xf0, 0x00]);
        host.write(&[0xc7]);
        host.assert_violations(&[Violation::Protected; 3]);
        host.write(&[0x20, 0x04, 0x00, 0x00]);
        assert_eq!(host.peek(0, 1), [0xff]);
        assert_eq!(host.peek(0x3ffff, 2), [0x00, 0xff]);
        host.assert_violations(&[Violation::Protected; 3]);
    }
}

#[test]
fn with_wps_all_blocks_are_locked_at_power_up_until_unlocked() {
    for (map, status) in [(RegisterMap::A, [0, 0x08, 0]), (RegisterMap::B, [0, 0, 0x04])] {
        let mut host = Host::with_status(map, status);
        host.write(&[0x02, 0, 0, 0, 1]);
        host.write(&[0x98]);
        host.write(&[0x02, 0, 0, 1, 2]);
        host.write(&[0x7e]);
        host.write(&[0x02, 0, 0, 2, 3]);
        host.write(&[0x98]);
        host.model.power_cycle();
        host.write(&[0x02, 0, 0, 3, 4]);
        assert_eq!(host.peek(0, 4), [0xff, 2, 0xff, 0xff]);
        host.assert_violations(&[Violation::Protected; 3]);
    }
}

#[test]
fn security_registers_are_programmed_read_and_erased() {
    let mut host = Host::new();
    host.write(&[0x42, 0x00, 0x10, 0xff, 1, 2]);
    host.write(&[0x42, 0x00, 0x30, 0x00, 3]);
    assert_eq!(host.read(&[0x48, 0x00, 0x10, 0xff, 0], 3), [1, 2, 0xff]);
    assert_eq!(host.read(&[0x48, 0x00, 0x20, 0x00, 0], 1), [0xff]);
    host.write(&[0x44, 0x00, 0x10, 0x00]);
    assert_eq!(host.read(&[0x48, 0x00, 0x10, 0xff, 0], 2), [0xff, 0xff]);
    assert_eq!(host.read(&[0x48, 0x00, 0x30, 0x00, 0], 1), [3]);
    assert_eq!(host.peek(0x1000, 1), [0xff]);
    host.assert_violations(&[Violation::PageOverrun]);
    assert_eq!(host.read(&[0x48, 0x00, 0x40, 0x00, 0], 1), [0xff]);
    host.write(&[0x44, 0x00, 0x00, 0x00]);
    host.assert_violations(&[Violation::PageOverrun, Violation::BeyondChip, Violation::BeyondChip]);
}
