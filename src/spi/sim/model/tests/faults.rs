//! The chip with faults.

use super::{Host, Model};
use crate::spi::sim::faults::Faults;

#[test]
fn disconnected_reads_ff_and_loses_writes_until_it_is_over() {
    let mut host = Host::with_faults("disconnected");
    host.write(&[0x02, 0, 0, 0, 0]);
    assert_eq!(host.read(&[0x9f], 3), [0xff; 3]);
    assert_eq!(host.model.counters().frames, 0);
    host.model.set_faults(Faults::default());
    assert_eq!(host.read(&[0x9f], 3), [0xa1, 0x40, 0x18]);
    assert_eq!(host.peek(0, 1), [0xff]);
}

#[test]
fn stuck_low_reads_00_but_hears() {
    let mut host = Host::with_faults("stuck-low");
    host.write(&[0x02, 0, 0, 0, 0x5a]);
    assert_eq!(host.read(&[0x03, 0, 0, 0], 2), [0, 0]);
    assert_eq!(host.peek(0, 1), [0x5a]);
}

#[test]
fn stuck_busy_is_busy_for_ever_and_ignores_everything_else() {
    let mut host = Host::with_faults("stuck-busy");
    assert_eq!(host.status(), 0x01);
    host.write(&[0x02, 0, 0, 0, 0x5a]);
    assert_eq!(host.status(), 0x01);
    assert_eq!(host.peek(0, 1), [0xff]);
}

#[test]
fn a_lost_frame_is_not_seen_at_all() {
    let mut host = Host::with_faults("lost=1");
    assert_eq!(host.read(&[0x9f], 3), [0xff; 3]);
    assert_eq!(host.model.counters().frames, 0);
}

#[test]
fn flips_spoil_what_is_read_and_not_what_is_stored() {
    let mut host = Host::with_faults("flip=0.01");
    let read = host.read(&[0x03, 0, 0, 0], 65_536);
    let flipped: u32 = read.iter().map(|byte| byte.count_zeros()).sum();
    // 5243 expected, with a standard deviation of 72.
    assert!((4800..5700).contains(&flipped), "{flipped}");
    assert!(host.peek(0, 65_536).iter().all(|&byte| byte == 0xff));
}

#[test]
fn written_flips_reach_the_chip() {
    let mut host = Host::with_faults("flip-written=1");
    // Every bit flipped, this is 9Fh.
    assert_eq!(host.read(&[0x60], 3), [0xa1, 0x40, 0x18]);
}

#[test]
fn a_cell_that_does_not_program_stays_1() {
    let mut host = Host::with_faults("weak-program=0x1234.3");
    host.write(&[0x02, 0x00, 0x12, 0x33, 0, 0, 0]);
    assert_eq!(host.peek(0x1233, 3), [0x00, 0x08, 0x00]);
}

#[test]
fn a_cell_that_does_not_erase_stays_0() {
    let mut host = Host::with_faults("weak-erase=0x4000.0 weak-erase=0x4001.7");
    host.poke(0x4000, &[0x00, 0x80, 0x00]);
    host.write(&[0x20, 0x00, 0x40, 0x00]);
    assert_eq!(host.peek(0x4000, 3), [0xfe, 0xff, 0xff]);
}

#[test]
fn a_power_cut_leaves_a_page_half_programmed_and_the_chip_dead() {
    let mut host = Host::with_faults("power-cut=2");
    let start: Vec<u8> = vec![0xf0; 256];
    host.poke(0x100, &start);
    host.write(&[0x20, 0x10, 0x00, 0x00]);
    host.write(&[&[0x02, 0x00, 0x01, 0x00][..], &[0x30; 256]].concat());
    let page = host.peek(0x100, 256);
    assert!(page.iter().all(|byte| byte & 0x3f == 0x30), "{page:x?}");
    assert!(
        page.iter().any(|byte| byte & 0xc0 != 0) && page.iter().any(|byte| byte & 0xc0 != 0xc0),
        "{page:x?}"
    );

    assert!(host.model.is_dead());
    assert_eq!(host.read(&[0x9f], 3), [0xff; 3]);
    host.model.power_cycle();
    assert_eq!(host.read(&[0x9f], 3), [0xa1, 0x40, 0x18]);
    host.write(&[0x20, 0x00, 0x00, 0x00]);
    assert_eq!(host.peek(0x100, 256), [0xff; 256]);
}

#[test]
fn a_power_cut_leaves_a_sector_half_erased_and_its_neighbours_alone() {
    let mut host = Host::with_faults("power-cut=1");
    host.poke(0x0fff, &[0; 4098]);
    host.write(&[0x20, 0x00, 0x10, 0x00]);
    let sector = host.peek(0x1000, 4096);
    let ones: u32 = sector.iter().map(|byte| byte.count_ones()).sum();
    assert!((15_000..18_000).contains(&ones), "{ones}");
    assert_eq!((host.peek(0x0fff, 1), host.peek(0x2000, 1)), (vec![0], vec![0]));
}

#[test]
fn other_faults_revive_a_dead_chip() {
    let mut host = Host::with_faults("power-cut=1");
    host.write(&[0x20, 0x00, 0x00, 0x00]);
    assert!(host.model.is_dead());
    host.model.set_faults(Faults::default());
    assert_eq!(host.status(), 0x00);
}

#[test]
fn the_same_seed_does_the_same_and_another_does_not() {
    let contents = |words: &str| -> Vec<u8> {
        let mut host = Host::with_faults(words);
        for page in 0..64 {
            host.write(&[&[0x02, 0x00, page, 0x00][..], &[0x5a; 256]].concat());
        }
        contents_below(&host.model, 0x4000)
    };
    let faults = "flip-written=1e-4 lost=0.1";
    assert!(contents(&format!("{faults} seed=7")) == contents(&format!("{faults} seed=7")));
    assert!(contents(&format!("{faults} seed=7")) != contents(&format!("{faults} seed=8")));
}

fn contents_below(model: &Model, end: usize) -> Vec<u8> {
    let mut contents = vec![0; end];
    model.peek(0, &mut contents).unwrap();
    contents
}
