//! Unlocking and locking again, on simulated chips of both register maps and with various habits.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::chip::testing::{Tampered, varied};
use crate::chip::{ReadMode, Speed, parts};
use crate::spi::Bus;
use crate::spi::sim::model::{Configuration, Model};
use crate::spi::sim::status::RegisterMap as SimulatedMap;
use crate::spi::sim::storage::Storage;
use crate::spi::sim::tally::Violation;
use crate::spi::sim::{Pace, Simulated};

const SECTOR: u32 = 0xA000;

fn simulated(register_map: SimulatedMap, status_registers: [u8; 3]) -> Simulated {
    let configuration = Configuration { register_map, status_registers, ..Configuration::default() };
    Simulated::from_model(Model::new(Storage::memory(varied()), configuration), Pace::Virtual)
}

fn identify(bus: impl Bus + 'static) -> Chip {
    Chip::identify(Box::new(bus), Speed::Auto).unwrap()
}

fn chip(register_map: SimulatedMap, status_registers: [u8; 3]) -> (Chip, Arc<Mutex<Model>>) {
    let bus = simulated(register_map, status_registers);
    let model = bus.share();
    (identify(bus), model)
}

/// Whether an erase has an effect; what it erased is put back.
fn is_writable(chip: &mut Chip, model: &Mutex<Model>) -> bool {
    let mut before = [0; 4096];
    model.lock().peek(SECTOR, &mut before).unwrap();
    let erase = chip.part().erase_type(4096).cloned().unwrap();
    chip.erase(SECTOR, &erase).unwrap();
    let mut after = [0; 4096];
    model.lock().peek(SECTOR, &mut after).unwrap();
    model.lock().poke(SECTOR, &before).unwrap();
    before != after
}

fn registers(model: &Mutex<Model>) -> [u8; 3] {
    let registers = model.lock().status_registers();
    [settled(registers[0]), registers[1], registers[2]]
}

/// Steps until the chip can be written.
fn unlock_all(chip: &mut Chip, model: &Mutex<Model>, how: Unlock) -> Vec<Unlocked> {
    let mut steps = Vec::new();
    while !is_writable(chip, model) {
        steps.push(chip.unlock(how).unwrap());
    }
    steps
}

fn state_of(name: &str, values: [u8; 3], range: Range<u32>) -> ProtectionState {
    explain(StatusRegisters(values), &range, &parts::by_name(name).unwrap())
}

fn state(values: [u8; 3], range: Range<u32>) -> ProtectionState {
    state_of("FM25Q128A", values, range)
}

#[test]
fn the_explanation_names_the_bits_and_what_they_protect() {
    let all = state([0x1C, 0x02, 0xFF], 0..4096);
    assert_eq!(all.verdict, Verdict::Protected);
    assert_eq!(
        all.text,
        "SR1 = 1c, SR2 = 02: BP2 BP1 BP0 set (protects 0x000000-0xffffff under both published register maps)"
    );
    let locked = state([0x9C, 0, 0xFF], 0..4096);
    assert!(locked.text.contains("SRP0 BP2 BP1 BP0 set") && locked.text.contains("WP#"), "{}", locked.text);
}

#[test]
fn only_what_both_maps_protect_is_protected() {
    let top_quarter = [0x14, 0, 0xFF];
    assert_eq!(state(top_quarter, 0..4096).verdict, Verdict::NotByRegisters);
    assert_eq!(state(top_quarter, 0xFF_0000..0x100_0000).verdict, Verdict::Protected);
    assert_eq!(state(top_quarter, 0xBF_FFFF..0xC0_0001).verdict, Verdict::Protected);
    let sec_or_cmp = [0x64, 0, 0xFF];
    assert_eq!(state(sec_or_cmp, 0..4096).verdict, Verdict::Maybe);
    assert_eq!(state(sec_or_cmp, 0x4_0000..0x5_0000).verdict, Verdict::Maybe);
    assert_eq!(state([0, 0x08, 0xFF], 0..4096).verdict, Verdict::Maybe);
    assert_eq!(state([0, 0x04, 0xFF], 0..4096).verdict, Verdict::NotByRegisters);
    assert_eq!(state([0, 0xFF, 0xFF], 0..4096).verdict, Verdict::NotByRegisters);
}

#[test]
fn a_part_of_another_maker_is_not_explained_by_the_maps_of_the_fm25q128a() {
    let winbond = state_of("W25Q128", [0x1C, 0x4A, 0], 0..4096);
    assert_eq!(winbond.verdict, Verdict::NotByRegisters);
    assert_eq!(winbond.text, "SR1 = 1c, SR2 = 4a, SR3 = 00: BP2 BP1 BP0 CMP set (protects nothing)");
    let micron = state_of("N25Q128", [0x1C, 0xFF, 0xFF], 0..4096);
    assert_eq!(micron.verdict, Verdict::Unknown);
    assert_eq!(micron.text, "SR1 = 1c; what they protect on this part is not known to norfuse");
}

#[test]
fn a_chip_explains_its_registers_as_they_are_now() {
    let (mut chip, model) = chip(SimulatedMap::A, [0x1C, 0x02, 0]);
    assert_eq!(chip.explain(0..1).unwrap().verdict, Verdict::Protected);
    unlock_all(&mut chip, &model, Unlock::Volatile);
    assert_eq!(chip.explain(0..1).unwrap().verdict, Verdict::NotByRegisters);
}

#[test]
fn each_kind_of_protection_is_unlocked_by_its_step_and_comes_back_with_restore() {
    use Unlocked::{BlockLocks, Complement, StatusRegister1};
    let cases: [(SimulatedMap, [u8; 3], &[Unlocked]); 8] = [
        (SimulatedMap::A, [0x00, 0x02, 0], &[]),
        (SimulatedMap::A, [0x9C, 0x02, 0], &[StatusRegister1]),
        (SimulatedMap::A, [0x7C, 0x06, 0], &[StatusRegister1]),
        (SimulatedMap::B, [0x44, 0x02, 0], &[StatusRegister1]),
        (SimulatedMap::A, [0x1C, 0x0A, 0], &[StatusRegister1, BlockLocks]),
        (SimulatedMap::B, [0x00, 0x02, 4], &[BlockLocks]),
        (SimulatedMap::A, [0x04, 0x42, 0], &[StatusRegister1, Complement]),
        (SimulatedMap::A, [0x1C, 0x4A, 0], &[StatusRegister1, BlockLocks]),
    ];
    for (map, values, expected) in cases {
        let (mut chip, model) = chip(map, values);
        let clock = chip.clock();
        let original = registers(&model);
        assert_eq!(unlock_all(&mut chip, &model, Unlock::Volatile), expected, "{map:?} {values:02x?}");
        chip.restore().unwrap();
        assert_eq!(registers(&model), original);
        assert_eq!(is_writable(&mut chip, &model), expected.is_empty());
        assert_eq!(chip.clock(), clock);

        let status_writes = model.lock().counters().status_writes;
        chip.restore().unwrap();
        assert_eq!(model.lock().counters().status_writes, status_writes);
        unlock_all(&mut chip, &model, Unlock::Volatile);
        model.lock().power_cycle();
        assert_eq!(registers(&model), original, "volatile changes are gone at power-up");
        chip.check_returned().unwrap();
        unlock_all(&mut chip, &model, Unlock::Volatile);
        let violations = model.lock().violations();
        assert_eq!(violations.total(), violations.count(Violation::Protected), "{violations:?}");
    }
}

#[test]
fn a_dummy_count_changed_on_the_way_is_followed() {
    let (mut chip, model) = chip(SimulatedMap::B, [0, 0x42, 0]);
    assert_eq!(chip.read_mode(), ReadMode::FastDiffers);
    assert_eq!(chip.unlock(Unlock::Volatile).unwrap(), Unlocked::Complement);
    assert_eq!(chip.read_mode(), ReadMode::Fast);
    chip.restore().unwrap();
    assert_eq!(chip.read_mode(), ReadMode::FastDiffers);
    assert_eq!(registers(&model), [0, 0x42, 0]);
}

#[test]
fn when_nothing_is_left_to_clear_that_is_said() {
    let (mut chip, _model) = chip(SimulatedMap::B, [0, 0x02, 4]);
    assert_eq!(chip.unlock(Unlock::Volatile).unwrap(), Unlocked::BlockLocks);
    assert!(matches!(chip.unlock(Unlock::Volatile), Err(Error::NothingToUnlock { .. })));
}

#[test]
fn without_volatile_writes_the_bits_are_cleared_only_for_good_and_only_when_asked() {
    let bus = simulated(SimulatedMap::A, [0x1C, 0x02, 0]);
    let model = bus.share();
    let mut chip = identify(Tampered::new(bus).with_writes(|bytes| (bytes[0] != 0x50).then_some(bytes)));
    let error = chip.unlock(Unlock::Volatile).unwrap_err();
    assert!(matches!(error, Error::NeedsPermanent { .. }), "{error}");
    assert_eq!(registers(&model)[0], 0x1C);
    assert_eq!(unlock_all(&mut chip, &model, Unlock::Permanent), [Unlocked::StatusRegister1]);
    chip.restore().unwrap();
    model.lock().power_cycle();
    assert_eq!(registers(&model), [0x00, 0x02, 0xFF]);
}

#[test]
fn a_volatile_unlock_stays_volatile_when_a_refused_program_has_left_wel_set() {
    let (mut chip, model) = chip(SimulatedMap::A, [0x1C, 0x02, 0]);
    chip.wire.command(opcode::WRITE_ENABLE).unwrap();
    chip.unlock(Unlock::Volatile).unwrap();
    assert_eq!(registers(&model)[0], 0x00);
    model.lock().power_cycle();
    assert_eq!(registers(&model)[0], 0x1C);
}

#[test]
fn a_part_that_clears_sr2_with_sr1_gets_it_back() {
    for how in [Unlock::Volatile, Unlock::Permanent] {
        let bus = simulated(SimulatedMap::A, [0x1C, 0x02, 0]);
        let model = bus.share();
        let mut chip = identify(Tampered::new(bus).with_writes(|mut bytes| {
            if bytes[0] == 0x01 {
                bytes.push(0);
            }
            Some(bytes)
        }));
        assert_eq!(chip.unlock(how).unwrap(), Unlocked::StatusRegister1);
        assert_eq!(registers(&model), [0x00, 0x02, 0xFF]);
        chip.restore().unwrap();
        model.lock().power_cycle();
        let sr1 = if how == Unlock::Volatile { 0x1C } else { 0 };
        assert_eq!(registers(&model), [sr1, 0x02, 0xFF]);
    }
}

#[test]
fn registers_that_take_no_write_are_reported_as_locked() {
    let bus = simulated(SimulatedMap::A, [0x9C, 0x02, 0]);
    let model = bus.share();
    let mut chip =
        identify(Tampered::new(bus).with_writes(|bytes| (!matches!(bytes[0], 0x01 | 0x31)).then_some(bytes)));
    assert!(matches!(chip.unlock(Unlock::Volatile), Err(Error::NeedsPermanent { .. })));
    let error = chip.unlock(Unlock::Permanent).unwrap_err();
    assert!(error.to_string().contains("connect the chip's WP# pin to 3.3 V"), "{error}");
    chip.restore().unwrap();
    assert_eq!(registers(&model)[0], 0x9C);
}

#[test]
fn nothing_is_cleared_for_good_under_a_complement() {
    let (mut chip, model) = chip(SimulatedMap::A, [0x04, 0x42, 0]);
    assert!(matches!(chip.unlock(Unlock::Permanent), Err(Error::ComplementSet { .. })));
    assert_eq!(registers(&model), [0x04, 0x42, 0xFF]);
    assert_eq!(model.lock().counters().status_writes, 0);
}

#[test]
fn registers_that_read_differently_are_not_written() {
    let bus = simulated(SimulatedMap::A, [0x1C, 0x02, 0]);
    let model = bus.share();
    let noisy = Arc::new(Mutex::new(false));
    let (is_noisy, mut count) = (Arc::clone(&noisy), 0u8);
    let mut chip = identify(Tampered::new(bus).with_reads(move |_, data| {
        if *is_noisy.lock() && data.len() == 1 {
            count = count.wrapping_add(1);
            data[0] ^= u8::from(count % 4 == 0) << 2;
        }
    }));
    *noisy.lock() = true;
    assert!(matches!(chip.unlock(Unlock::Volatile), Err(Error::UnstableStatus { .. })));
    assert_eq!(model.lock().counters().status_writes, 0);
}

#[test]
fn a_chip_that_stays_busy_is_given_up_and_keeps_its_clock() {
    let (mut chip, model) = chip(SimulatedMap::A, [0x1C, 0x02, 0]);
    let clock = chip.clock();
    model.lock().set_faults("stuck-busy".parse().unwrap());
    assert!(matches!(chip.unlock(Unlock::Volatile), Err(Error::TimedOut { .. })));
    assert_eq!(chip.clock(), clock);
}
