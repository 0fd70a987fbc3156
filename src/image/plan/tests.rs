use std::time::Duration;

use super::{Costs, EraseCost, Operation, Plan, Region, Sector, plan, sectors_worth_reading};

const KIB: u32 = 1024;
const SECTOR_LEN: u32 = 4 * KIB;
const REGION_ADDRESS: u32 = 0x12_0000;

/// The typical times of a W25Q128 class chip, with 1 µs per byte on the wire.
fn costs(erase_lens: &[u32]) -> Costs {
    let time = |len| match len {
        SECTOR_LEN => Duration::from_millis(45),
        0x8000 => Duration::from_millis(120),
        _ => Duration::from_millis(150),
    };
    Costs {
        page_len: 256,
        page_program: Duration::from_micros(700),
        per_byte: Duration::from_micros(1),
        erases: erase_lens.iter().map(|&len| EraseCost { len, time: time(len) }).collect(),
    }
}

fn nested() -> Costs {
    costs(&[4 * KIB, 32 * KIB, 64 * KIB])
}

/// 64 KiB of a chip: all blank and to stay so, unless a test says otherwise.
struct Chip {
    current: Vec<u8>,
    wanted: Vec<u8>,
    unread: Vec<usize>,
}

impl Chip {
    fn blank() -> Self {
        Self::holding(0xFF)
    }

    fn holding(byte: u8) -> Self {
        Self { current: vec![byte; 0x1_0000], wanted: vec![byte; 0x1_0000], unread: Vec::new() }
    }

    fn with<R>(&self, ask: impl FnOnce(&Region<'_>) -> R) -> R {
        let sectors: Vec<_> = self
            .current
            .chunks(4096)
            .zip(self.wanted.chunks(4096))
            .enumerate()
            .map(|(index, (current, wanted))| {
                (!self.unread.contains(&index)).then_some(Sector { current, wanted })
            })
            .collect();
        ask(&Region { address: REGION_ADDRESS, sector_len: SECTOR_LEN, sectors: &sectors })
    }

    fn plan(&self, costs: &Costs) -> Option<Plan> {
        self.with(|region| plan(region, costs))
    }

    fn operations(&self, costs: &Costs) -> Vec<Operation> {
        self.plan(costs).expect("a plan").operations
    }

    fn worth_reading(&self, costs: &Costs) -> Vec<u32> {
        self.with(|region| sectors_worth_reading(region, costs))
    }
}

fn erase(offset: u32, len: u32) -> Operation {
    Operation::Erase { address: REGION_ADDRESS + offset, len }
}

fn program(offset: u32, len: u32) -> Operation {
    Operation::Program { address: REGION_ADDRESS + offset, len }
}

#[test]
fn equal_bytes_plan_nothing() {
    let plan = Chip::holding(0x5A).plan(&nested()).expect("a plan");
    assert!(plan.is_empty());
    assert_eq!(plan.cost, Duration::ZERO);
}

#[test]
fn a_cleared_bit_plans_one_program_and_no_erase() {
    let mut chip = Chip::holding(0x5A);
    chip.wanted[0x3123] = 0x58;
    let plan = chip.plan(&nested()).expect("a plan");
    assert_eq!(plan.operations, [program(0x3123, 1)]);
    assert_eq!(plan.cost, Duration::from_micros(701));
}

#[test]
fn one_program_covers_the_changed_bytes_of_a_page_and_none_crosses_a_page() {
    let mut chip = Chip::blank();
    for offset in [0x10F0, 0x10F8, 0x10FF, 0x1100, 0x1101] {
        chip.wanted[offset] = 0;
    }
    assert_eq!(chip.operations(&nested()), [program(0x10F0, 16), program(0x1100, 2)]);
}

#[test]
fn a_set_bit_plans_one_smallest_erase_and_reprograms_only_pages_that_are_not_blank() {
    let mut chip = Chip::blank();
    for bytes in [&mut chip.current, &mut chip.wanted] {
        bytes[0x2000] = 0x12;
        bytes[0x2F10..0x2F20].fill(0x34);
        bytes[0x3000] = 0x56;
    }
    chip.wanted[0x2000] = 0x13;
    assert_eq!(chip.operations(&nested()), [erase(0x2000, 4 * KIB), program(0x2000, 1), program(0x2F10, 16)]);
}

#[test]
fn a_wholly_different_block_plans_one_erase_of_the_largest_unit() {
    let mut chip = Chip::holding(0x5A);
    chip.wanted.fill(0xA5);
    let plan = chip.plan(&nested()).expect("a plan");
    let block = REGION_ADDRESS..REGION_ADDRESS + 64 * KIB;
    assert_eq!(plan.erases().collect::<Vec<_>>(), [block]);
    let programs = (0..256).map(|page| program(page * 256, 256));
    assert!(plan.operations[1..].iter().copied().eq(programs));
    assert_eq!(plan.cost, Duration::from_micros(150_000 + 256 * 956));
}

#[test]
fn a_block_to_be_blank_plans_an_erase_and_no_program() {
    let mut chip = Chip::holding(0);
    chip.wanted.fill(0xFF);
    assert_eq!(chip.operations(&nested()), [erase(0, 64 * KIB)]);
}

#[test]
fn two_far_sectors_keep_two_smallest_erases() {
    let mut chip = Chip::holding(0x5A);
    chip.wanted[0x0000..0x1000].fill(0xFF);
    chip.wanted[0xF000..0x1_0000].fill(0xFF);
    assert_eq!(chip.operations(&nested()), [erase(0x0000, 4 * KIB), erase(0xF000, 4 * KIB)]);
}

#[test]
fn half_a_different_block_plans_the_middle_unit_and_leaves_the_other_half_alone() {
    let mut chip = Chip::holding(0x5A);
    chip.wanted[0x8000..].fill(0xFF);
    assert_eq!(chip.operations(&nested()), [erase(0x8000, 32 * KIB)]);
}

#[test]
fn pages_outside_the_erased_units_are_programmed_in_place_in_ascending_order() {
    let mut chip = Chip::blank();
    chip.current[0x4000] = 0;
    chip.wanted[0x3FFF] = 1;
    chip.wanted[0x5000] = 2;
    assert_eq!(chip.operations(&nested()), [program(0x3FFF, 1), erase(0x4000, 4 * KIB), program(0x5000, 1)]);
}

#[test]
fn equally_cheap_plans_are_decided_by_fewer_erases_then_fewer_bytes() {
    let mut chip = Chip::blank();
    let mut costs = nested();
    for (unit, time) in costs.erases.iter_mut().zip([10, 20, 20]) {
        unit.time = Duration::from_millis(time);
    }
    chip.current[0x0000] = 0;
    chip.current[0x1000] = 0;
    assert_eq!(chip.operations(&costs), [erase(0, 32 * KIB)]);
}

#[test]
fn unread_neighbours_are_never_erased() {
    let mut chip = Chip::holding(0);
    chip.wanted.fill(0xFF);
    chip.unread = vec![9];
    let mut expected = vec![erase(0, 32 * KIB)];
    expected.extend([8, 10, 11, 12, 13, 14, 15].map(|index| erase(index * SECTOR_LEN, SECTOR_LEN)));
    assert_eq!(chip.operations(&nested()), expected);
}

#[test]
fn unread_sectors_are_worth_reading_where_a_larger_erase_would_save_more() {
    let mut chip = Chip::holding(0);
    chip.wanted.fill(0xFF);
    chip.unread = vec![9];
    assert_eq!(chip.worth_reading(&nested()), [REGION_ADDRESS + 9 * SECTOR_LEN]);
}

#[test]
fn unread_sectors_are_not_worth_reading_for_one_small_erase() {
    let mut chip = Chip::holding(0x5A);
    chip.wanted[0x0000] = 0xFF;
    chip.unread = (1..16).collect();
    assert!(chip.worth_reading(&nested()).is_empty());
}

#[test]
fn unread_sectors_are_not_worth_reading_to_save_wear_but_no_time() {
    let mut chip = Chip::blank();
    let mut costs = nested();
    costs.per_byte = Duration::ZERO;
    for (unit, time) in costs.erases.iter_mut().zip([10, 20, 20]) {
        unit.time = Duration::from_millis(time);
    }
    chip.current[0x0000] = 0;
    chip.current[0x1000] = 0;
    chip.unread = vec![2];
    assert!(chip.worth_reading(&costs).is_empty());
}

#[test]
fn a_slow_wire_makes_reading_not_worth_it() {
    let mut chip = Chip::holding(0);
    chip.wanted.fill(0xFF);
    chip.unread = vec![9];
    let mut costs = nested();
    costs.per_byte = Duration::from_millis(1);
    assert!(chip.worth_reading(&costs).is_empty());
}

#[test]
fn a_unit_larger_than_a_sector_has_no_plan_until_its_sectors_are_read() {
    let costs = costs(&[64 * KIB]);
    let mut chip = Chip::blank();
    chip.current[0] = 0;
    chip.unread = vec![3, 4];
    assert_eq!(chip.plan(&costs), None);
    assert_eq!(chip.worth_reading(&costs), [3, 4].map(|index| REGION_ADDRESS + index * SECTOR_LEN));
    chip.unread.clear();
    assert_eq!(chip.operations(&costs), [erase(0, 64 * KIB)]);
}

#[test]
fn a_set_bit_has_no_plan_on_a_chip_without_a_usable_erase() {
    let mut chip = Chip::blank();
    chip.current[0] = 0;
    for erase_lens in [&[][..], &[0], &[128], &[5000], &[128 * KIB]] {
        assert_eq!(chip.plan(&costs(erase_lens)), None, "{erase_lens:?}");
    }
}

#[test]
fn an_erase_never_reaches_beyond_the_region() {
    let sector = Some(Sector { current: &[0; 4096], wanted: &[0xFF; 4096] });
    let region = Region { address: REGION_ADDRESS, sector_len: SECTOR_LEN, sectors: &[sector; 9] };
    let plan = plan(&region, &nested()).expect("a plan");
    assert_eq!(plan.operations, [erase(0, 32 * KIB), erase(32 * KIB, 4 * KIB)]);
}

#[test]
fn an_erase_is_aligned_to_its_length_on_the_chip() {
    let sector = Some(Sector { current: &[0; 4096], wanted: &[0xFF; 4096] });
    let region =
        Region { address: REGION_ADDRESS + SECTOR_LEN, sector_len: SECTOR_LEN, sectors: &[sector; 8] };
    let plan = plan(&region, &nested()).expect("a plan");
    let each = (1..9).map(|index| erase(index * SECTOR_LEN, SECTOR_LEN));
    assert!(plan.operations.iter().copied().eq(each));
}

#[test]
fn units_that_do_not_nest_are_ignored() {
    let mut chip = Chip::holding(0);
    chip.wanted.fill(0xFF);
    let mut costs = costs(&[4 * KIB, 6 * KIB, 64 * KIB]);
    costs.erases[1].time = Duration::ZERO;
    assert_eq!(chip.operations(&costs), [erase(0, 64 * KIB)]);
}

#[test]
fn the_quicker_of_two_erases_of_one_length_counts() {
    let mut chip = Chip::blank();
    chip.current[0] = 0;
    let mut costs = costs(&[4 * KIB, 4 * KIB]);
    costs.erases[1].time = Duration::from_millis(1);
    let plan = chip.plan(&costs).expect("a plan");
    assert_eq!(plan.cost, Duration::from_millis(1));
}

#[test]
fn a_region_that_contradicts_itself_has_no_plan() {
    let short = [0; 100];
    let sectors = [Some(Sector { current: &short, wanted: &short })];
    let sound = Region { address: 0, sector_len: SECTOR_LEN, sectors: &[None] };
    assert!(plan(&sound, &nested()).is_some());
    let unsound = [
        Region { sectors: &sectors, ..sound },
        Region { sector_len: 0, ..sound },
        Region { sector_len: 100, ..sound },
        Region { sector_len: 300, ..sound },
        Region { address: 1, ..sound },
        Region { address: u32::MAX - 255, ..sound },
    ];
    for region in unsound {
        assert_eq!(plan(&region, &nested()), None, "{region:?}");
        assert!(sectors_worth_reading(&region, &nested()).is_empty());
    }
    let no_page = Costs { page_len: 0, ..nested() };
    assert_eq!(plan(&sound, &no_page), None);
}
