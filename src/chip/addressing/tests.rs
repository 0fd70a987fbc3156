use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::chip::Speed;
use crate::chip::testing::varied;
use crate::spi::sim::model::{Addressing as ModelAddressing, Configuration, Model};
use crate::spi::sim::status::RegisterMap;
use crate::spi::sim::storage::Storage;
use crate::spi::sim::tally::Violation;
use crate::spi::sim::{Pace, Simulated, sfdp};

const SIZE: u32 = 32 << 20;
/// Beyond what three bytes reach; and where a chip goes that takes the upper three of four bytes, or the lower three.
const ADDRESS: u32 = 0x1A0_0000;
const ASTRAY: [u32; 2] = [ADDRESS >> 8, ADDRESS & 0xFF_FFFF];

const W25Q256: [u8; 3] = [0xEF, 0x40, 0x19];
const GD25Q256: [u8; 3] = [0xC8, 0x40, 0x19];
const UNKNOWN: [u8; 3] = [0x77, 0x40, 0x19];

const ENTERED_AND_EXITED_AFTER_06: u32 = 1 << 25 | 1 << 15;

/// A part without SFDP.
fn part(jedec_id: [u8; 3], addressing: ModelAddressing) -> Configuration {
    Configuration {
        jedec_id,
        addressing,
        register_map: RegisterMap::B,
        sfdp: Vec::new(),
        ..Configuration::default()
    }
}

/// A part that only SFDP tells of, with these ways of four address bytes in dword 16.
fn described(ways: u32, addressing: ModelAddressing) -> Configuration {
    let mut space = sfdp::area();
    space[0x84..0x88].copy_from_slice(&(8 * SIZE - 1).to_le_bytes());
    space[0x80 + 60..].copy_from_slice(&ways.to_le_bytes());
    Configuration { sfdp: space, ..part(UNKNOWN, addressing) }
}

fn model(contents: Vec<u8>, configuration: Configuration) -> Arc<Mutex<Model>> {
    Arc::new(Mutex::new(Model::new(Storage::memory_of(SIZE, contents), configuration)))
}

fn identify(model: &Arc<Mutex<Model>>) -> Result<Chip, Error> {
    Chip::identify(Box::new(Simulated::shared(Arc::clone(model), Pace::Virtual)), Speed::Auto)
}

fn peek(model: &Mutex<Model>, address: u32) -> [u8; 256] {
    let mut bytes = [0; 256];
    model.lock().peek(address, &mut bytes).unwrap();
    bytes
}

/// Erases and programs at [`ADDRESS`], and reads it back; nothing else must have changed.
fn assert_writes_where_it_should(chip: &mut Chip, model: &Mutex<Model>) {
    let before = ASTRAY.map(|address| peek(model, address));
    model.lock().poke(ADDRESS, &[0; 4096]).unwrap();
    let erase = chip.part().erase_types[0].clone();
    chip.erase(ADDRESS, &erase).unwrap();
    assert_eq!(peek(model, ADDRESS), [0xFF; 256]);
    let page: [u8; 256] = std::array::from_fn(|index| index.to_le_bytes()[0]);
    chip.program(ADDRESS, &page).unwrap();
    assert_eq!(peek(model, ADDRESS), page);
    let mut read = [0; 256];
    chip.read(ADDRESS, &mut read).unwrap();
    assert_eq!(read, page);
    assert_eq!(ASTRAY.map(|address| peek(model, address)), before);
}

#[test]
fn a_chip_of_32_mib_is_written_beyond_16_mib_by_each_way_of_four_address_bytes() {
    let chips = [
        part(W25Q256, ModelAddressing::Mode),
        part(GD25Q256, ModelAddressing::Opcodes),
        described(ENTERED_AND_EXITED_AFTER_06, ModelAddressing::ModeByWriteEnable),
        described(1 << 24 | 1 << 14, ModelAddressing::Mode),
        described(1 << 29, ModelAddressing::Opcodes),
    ];
    for configuration in chips {
        let model = model(varied(), configuration);
        let mut chip = identify(&model).unwrap();
        assert_eq!(chip.part().size, SIZE);
        assert_writes_where_it_should(&mut chip, &model);
        drop(chip);
        assert!(!model.lock().is_in_four_byte_mode());
        assert_eq!(model.lock().violations().total(), 0, "{:?}", model.lock().violations());
    }
}

#[test]
fn a_chip_that_does_not_enter_the_mode_is_refused() {
    let missing_write_enable = described(1 << 24 | 1 << 14, ModelAddressing::ModeByWriteEnable);
    for configuration in [part(W25Q256, ModelAddressing::ThreeBytes), missing_write_enable] {
        let model = model(varied(), configuration);
        let error = identify(&model).err().unwrap();
        assert!(matches!(error, Error::Addressing(_)), "{error}");
        assert_eq!(model.lock().violations().count(Violation::SetsBits), 0);
        assert_eq!(model.lock().counters().pages_programmed, 0);
    }
}

#[test]
fn a_chip_without_the_opcodes_of_their_own_is_not_taken_for_a_blank_one() {
    let model = model(varied(), part(GD25Q256, ModelAddressing::ThreeBytes));
    let error = identify(&model).err().unwrap();
    assert!(matches!(error, Error::Addressing(_)), "{error}");
}

#[test]
fn a_blank_chip_is_written_if_a_register_shows_its_mode() {
    let model = model(Vec::new(), part(W25Q256, ModelAddressing::Mode));
    let mut chip = identify(&model).unwrap();
    assert_writes_where_it_should(&mut chip, &model);
}

#[test]
fn a_blank_chip_is_refused_if_nothing_shows_its_mode() {
    let without_register =
        Configuration { register_map: RegisterMap::A, ..part(W25Q256, ModelAddressing::Mode) };
    let never_in_the_mode = part(W25Q256, ModelAddressing::ThreeBytes);
    let told_by_sfdp = described(1 << 24 | 1 << 14, ModelAddressing::Mode);
    for configuration in [without_register, never_in_the_mode, told_by_sfdp] {
        let error = identify(&model(Vec::new(), configuration)).err().unwrap();
        assert!(matches!(error, Error::Addressing(_)), "{error}");
    }
}

#[test]
fn a_loss_of_power_in_between_makes_nothing_go_astray() {
    let model = model(varied(), part(W25Q256, ModelAddressing::Mode));
    let mut chip = identify(&model).unwrap();
    model.lock().power_cycle();
    assert_writes_where_it_should(&mut chip, &model);
    model.lock().power_cycle();
    chip.check_returned().unwrap();
    let mut read = [0; 256];
    chip.read(0x10_0000, &mut read).unwrap();
    assert_eq!(read, peek(&model, 0x10_0000));
}

#[test]
fn a_chip_found_in_the_mode_is_known_by_its_unique_id_and_left_in_the_mode() {
    let model = model(varied(), part(W25Q256, ModelAddressing::Mode));
    let expected = identify(&model).unwrap().unique_id().map(<[u8]>::to_vec);
    model.lock().power_cycle();
    let mut chip = identify(&model).unwrap();
    chip.wire.command(opcode::ENTER_4_BYTE_MODE).unwrap();
    // As when norfuse is killed.
    chip.part.addressing = Addressing::ThreeBytes;
    drop(chip);
    assert!(model.lock().is_in_four_byte_mode());
    let mut chip = identify(&model).unwrap();
    assert_eq!(chip.unique_id().map(<[u8]>::to_vec), expected);
    chip.check_returned().unwrap();
    assert_writes_where_it_should(&mut chip, &model);
    drop(chip);
    assert!(model.lock().is_in_four_byte_mode());
    assert_eq!(model.lock().violations().total(), 0, "{:?}", model.lock().violations());
}
