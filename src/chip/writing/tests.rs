use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::chip::Speed;
use crate::chip::status::WEL;
use crate::chip::testing::{Slow, Tampered, varied};
use crate::spi::Bus;
use crate::spi::sim::model::{Configuration, Model};
use crate::spi::sim::storage::Storage;
use crate::spi::sim::timing::{Times, wire_time};
use crate::spi::sim::{Pace, Simulated};

const HZ: u32 = 32_000_000;
const PAGE: [u8; 256] = [0x5A; 256];
/// What the simulated programmer takes beyond a message's bits.
const MESSAGE: Duration = Duration::from_micros(15);

fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

fn model(times: Times) -> Model {
    Model::new(Storage::memory(varied()), Configuration { times, ..Configuration::default() })
}

fn chip_on(bus: impl Bus + 'static, hz: u32) -> Chip {
    Chip::identify(Box::new(bus), Speed::Fixed(hz)).unwrap()
}

fn chip(times: Times, hz: u32) -> (Chip, Arc<Mutex<Model>>) {
    let bus = Simulated::from_model(model(times), Pace::Virtual);
    let model = bus.share();
    (chip_on(bus, hz), model)
}

/// Messages and time that `work` takes.
fn cost(chip: &mut Chip, work: impl FnOnce(&mut Chip)) -> (u64, Duration) {
    let messages = chip.counters().totals().messages;
    let started = chip.wire.now();
    work(chip);
    (chip.counters().totals().messages - messages, chip.wire.now() - started)
}

fn program_pages(chip: &mut Chip, pages: std::ops::Range<u32>) {
    pages.for_each(|page| chip.program(0x80_0000 + 256 * page, &PAGE).unwrap());
}

fn erase_sectors(chip: &mut Chip, sectors: std::ops::Range<u32>) {
    let erase = chip.part().erase_types[0].clone();
    sectors.for_each(|sector| chip.erase(4096 * sector, &erase).unwrap());
}

/// Chips as they may come: as typical of the part, quicker, and slower.
fn page_times() -> [Times; 4] {
    [600, 180, 430, 2400].map(|page| Times { page_program: us(page), ..Times::default() })
}

#[test]
fn a_page_takes_one_message_once_the_chip_is_known_and_hardly_longer_than_it_must() {
    for times in page_times() {
        for hz in [1_000_000, HZ, 104_000_000] {
            let (mut chip, model) = chip(times.clone(), hz);
            program_pages(&mut chip, 0..50);
            let (messages, time) = cost(&mut chip, |chip| program_pages(chip, 50..150));
            assert_eq!(messages, 100, "{times:?} at {hz} Hz");
            let bound = 100 * (MESSAGE + wire_time(261, hz) + times.page_program);
            // At 1 MHz a status byte alone takes 8 us.
            let most_lost = if hz == 1_000_000 { us(40) } else { us(12) };
            assert!(
                time < bound + 100 * most_lost,
                "{:?} a page lost with {times:?} at {hz} Hz",
                (time - bound) / 100
            );
            let seen = chip.times().page_program.average();
            assert!(seen.abs_diff(times.page_program) < us(20), "{seen:?}");
            assert_eq!(model.lock().violations().total(), 0);
        }
    }
}

#[test]
fn an_unknown_chip_is_known_after_a_few_pages() {
    for times in page_times() {
        let (mut chip, _) = chip(times.clone(), HZ);
        let (messages, time) = cost(&mut chip, |chip| program_pages(chip, 0..16));
        let bound = 16 * (MESSAGE + wire_time(261, HZ) + times.page_program);
        assert!(messages <= 16 * 4, "{messages} messages with {times:?}");
        assert!(time < bound * 5 / 4 + us(2500), "{time:?} with {times:?} instead of {bound:?}");
    }
}

#[test]
fn an_erase_takes_two_messages_once_the_chip_is_known_and_hardly_longer_than_it_must() {
    for sector_erase in [us(45_000), us(31_000), us(98_000)] {
        let (mut chip, model) = chip(Times { sector_erase, ..Times::default() }, HZ);
        let (first, _) = cost(&mut chip, |chip| erase_sectors(chip, 0..1));
        assert!(first <= 40, "{first} messages for the first erase of {sector_erase:?}");
        erase_sectors(&mut chip, 1..60);
        let (messages, time) = cost(&mut chip, |chip| erase_sectors(chip, 60..80));
        assert_eq!(messages, 2 * 20, "{sector_erase:?}");
        let bound = 20 * (MESSAGE + wire_time(5, HZ) + sector_erase);
        assert!(time < bound + 20 * us(20), "{:?} lost an erase of {sector_erase:?}", (time - bound) / 20);
        assert_eq!(model.lock().violations().total(), 0);
    }
}

#[test]
fn erases_that_take_longer_and_shorter_by_turns_are_found_over_within_a_few_looks() {
    let (mut chip, model) = chip(Times::default(), HZ);
    let mut total = (0, Duration::ZERO);
    let mut bound = Duration::ZERO;
    for (sector, late) in (0..64).zip([0, 3000, 1200, 5000, 700, 2600, 4100, 1900].into_iter().cycle()) {
        let sector_erase = us(43_000 + late);
        model.lock().set_times(Times { sector_erase, ..Times::default() });
        let (messages, time) = cost(&mut chip, |chip| erase_sectors(chip, sector..sector + 1));
        if sector >= 8 {
            total = (total.0 + messages, total.1 + time);
            bound += sector_erase;
        }
    }
    let (messages, time) = (total.0, total.1);
    assert!(messages <= 56 * 7, "{messages} messages for 56 erases");
    assert!(time < bound * 102 / 100, "{time:?} instead of {bound:?}");
}

#[test]
fn a_system_whose_delays_last_twice_as_long_is_asked_for_half_of_them() {
    let bus = Slow::new(Simulated::from_model(model(Times::default()), Pace::Virtual), 2, Duration::ZERO);
    let mut chip = chip_on(bus, HZ);
    program_pages(&mut chip, 0..150);
    let (messages, time) = cost(&mut chip, |chip| program_pages(chip, 150..250));
    let bound = 100 * (MESSAGE + wire_time(261, HZ) + us(600));
    assert!(messages <= 110, "{messages} messages");
    assert!(time < bound * 21 / 20, "{time:?} instead of {bound:?}");
    let seen = chip.times().page_program.average();
    assert!(seen.abs_diff(us(600)) < us(20), "{seen:?}");
}

#[test]
fn a_system_that_tells_late_of_what_is_over_does_not_make_the_chip_seem_slow() {
    let late = us(300);
    let bus = Slow::new(Simulated::from_model(model(Times::default()), Pace::Virtual), 1, late);
    let mut chip = chip_on(bus, HZ);
    program_pages(&mut chip, 0..50);
    let (messages, time) = cost(&mut chip, |chip| program_pages(chip, 50..150));
    assert!(messages <= 130, "{messages} messages");
    let bound = 100 * (MESSAGE + wire_time(261, HZ) + us(600));
    assert!(time < bound + 100 * (late + us(20)), "{time:?} instead of {bound:?}");
    let seen = chip.times().page_program.average();
    assert!(seen.abs_diff(us(600)) < us(50), "{seen:?}");
}

#[test]
fn short_programs_do_not_count_for_the_time_of_a_page() {
    let (mut chip, _) = chip(Times::default(), HZ);
    chip.program(0x80_0000, &[0; 100]).unwrap();
    assert_eq!(chip.times().page_program.observed(), 0);
    chip.program(0x80_0100, &[0; 128]).unwrap();
    assert_eq!(chip.times().page_program.observed(), 1);
}

#[test]
fn a_line_that_floats_high_is_busy_until_the_time_is_up() {
    let (mut chip, model) = chip(Times::default(), HZ);
    model.lock().set_faults("disconnected".parse().unwrap());
    let maximum = chip.part().page_program.maximum;
    let (messages, time) = cost(&mut chip, |chip| {
        assert!(matches!(chip.program(0, &PAGE), Err(Error::TimedOut { .. })));
    });
    assert!(time > 2 * maximum && time < 3 * maximum, "{time:?}");
    assert!(messages < 100, "{messages} messages");
    assert_eq!(chip.times().page_program.observed(), 0);
}

#[test]
fn a_misread_status_byte_does_not_end_a_wait() {
    let shared = Simulated::from_model(model(Times::default()), Pace::Virtual);
    let model = shared.share();
    let bus = Tampered::new(shared).with_reads(|_, data| {
        if data.len() >= SHORTEST_BURST && data.iter().all(|&status| status == WIP | WEL) {
            data[data.len() - 1] = 0;
        }
    });
    let mut chip = chip_on(bus, 16_000_000);
    program_pages(&mut chip, 0..30);
    assert_eq!(model.lock().violations().total(), 0);
}

#[test]
fn a_message_that_is_refused_for_its_length_is_sent_in_pieces() {
    let bus = Simulated::from_model(model(Times::default()), Pace::Virtual).with_max_data_len(270);
    let model = bus.share();
    let mut chip = chip_on(bus, HZ);
    chip.program(0x80_0000, &PAGE).unwrap();
    let mut found = [0; 256];
    model.lock().peek(0x80_0000, &mut found).unwrap();
    assert_eq!(found, PAGE);
}
