//! The planner against a simulated chip and against every possible choice of erases, on chips
//! small enough to try them all.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{Costs, EraseCost, Operation, Plan, Region, Sector, plan, sectors_worth_reading};

const ADDRESS: u32 = 0x40;
const PAGE: usize = 4;
const SECTOR: usize = 16;
const REGION: usize = 64;

#[derive(Clone, Debug)]
struct Case {
    costs: Costs,
    current: Vec<u8>,
    wanted: Vec<u8>,
    read: Vec<bool>,
}

impl Case {
    fn with<R>(&self, ask: impl FnOnce(&Region<'_>, &Costs) -> R) -> R {
        let bytes = self.current.chunks(SECTOR).zip(self.wanted.chunks(SECTOR));
        let sectors: Vec<_> = bytes
            .zip(&self.read)
            .map(|((current, wanted), read)| read.then_some(Sector { current, wanted }))
            .collect();
        let region = Region { address: ADDRESS, sector_len: 16, sectors: &sectors };
        ask(&region, &self.costs)
    }

    fn plan(&self) -> Option<Plan> {
        self.with(plan)
    }

    /// The cheapest (time, erases, erased bytes) over all subsets of erase units. An unread sector
    /// may be erased at the price of two reads if `reading`, else not at all.
    fn cheapest_of_all(&self, reading: bool) -> Option<(Duration, u32, u32)> {
        let mut units = Vec::new();
        for erase in &self.costs.erases {
            let len = erase.len as usize;
            units.extend((0..REGION / len).map(|index| (index * len..(index + 1) * len, erase)));
        }
        (0..1_u32 << units.len())
            .filter_map(|subset| {
                let mut time = Duration::ZERO;
                let mut erased_len = 0;
                let mut present: Vec<Option<u8>> = self.current.iter().copied().map(Some).collect();
                for (bit, (range, erase)) in units.iter().enumerate() {
                    if subset >> bit & 1 == 1 {
                        time += erase.time;
                        erased_len += erase.len;
                        present[range.clone()].fill(None);
                    }
                }
                for page in 0..REGION / PAGE {
                    let range = page * PAGE..(page + 1) * PAGE;
                    let erased = present[range.start].is_none();
                    time += if self.read[range.start / SECTOR] {
                        self.page_time(&present[range.clone()], &self.wanted[range])?
                    } else if !erased {
                        Duration::ZERO
                    } else if reading {
                        self.costs.per_byte * 8
                    } else {
                        return None;
                    };
                }
                Some((time, subset.count_ones(), erased_len))
            })
            .min()
    }

    fn page_time(&self, present: &[Option<u8>], wanted: &[u8]) -> Option<Duration> {
        let present: Vec<u8> = present.iter().map(|byte| byte.unwrap_or(0xFF)).collect();
        if present.iter().zip(wanted).any(|(p, w)| p & w != *w) {
            return None;
        }
        let differs = |index: &usize| present[*index] != wanted[*index];
        let Some(first) = (0..PAGE).find(differs) else {
            return Some(Duration::ZERO);
        };
        let last = (0..PAGE).rfind(differs)?;
        let len = u32::try_from(last - first + 1).ok()?;
        Some(self.costs.page_program + self.costs.per_byte * len)
    }

    /// Carries out one operation as a chip does.
    fn execute(&self, operation: Operation, chip: &mut [u8]) {
        let (Operation::Erase { address, len } | Operation::Program { address, len }) = operation;
        let start = (address - ADDRESS) as usize;
        let range = start..start + len as usize;
        match operation {
            Operation::Erase { .. } => chip[range].fill(0xFF),
            Operation::Program { .. } => {
                assert_eq!(range.start / PAGE, (range.end - 1) / PAGE, "crosses a page");
                for (byte, wanted) in chip[range.clone()].iter_mut().zip(&self.wanted[range]) {
                    *byte &= wanted;
                }
            }
        }
    }
}

/// Times are small so that ties are frequent.
fn costs() -> impl Strategy<Value = Costs> {
    let units = prop_oneof![
        Just(vec![16, 32, 64]),
        Just(vec![64, 16, 32]),
        Just(vec![16, 64]),
        Just(vec![8, 64]),
        Just(vec![32, 64]),
        Just(vec![16]),
        Just(vec![32]),
        Just(vec![64]),
    ];
    (units, vec(0..24_u64, 3), 0..6_u64, 0..3_u64).prop_map(|(lens, times, page, byte)| Costs {
        page_len: 4,
        page_program: Duration::from_nanos(page),
        per_byte: Duration::from_nanos(byte),
        erases: lens
            .into_iter()
            .zip(times)
            .map(|(len, time)| EraseCost { len, time: Duration::from_nanos(time) })
            .collect(),
    })
}

/// A page's present and wanted bytes.
fn page() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let byte = || prop_oneof![Just(0xFF), Just(0), any::<u8>()];
    let bytes = move || prop_oneof![Just(vec![0xFF; PAGE]), vec(byte(), PAGE)];
    prop_oneof![
        3 => bytes().prop_map(|same| (same.clone(), same)),
        2 => (bytes(), bytes()).prop_map(|(current, mask)| {
            let cleared = current.iter().zip(mask).map(|(c, m)| c & m).collect();
            (current, cleared)
        }),
        1 => (bytes(), bytes()),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let read = vec(proptest::bool::weighted(0.75), REGION / SECTOR);
    (costs(), vec(page(), REGION / PAGE), read).prop_map(|(costs, pages, read)| {
        let (current, wanted): (Vec<_>, Vec<_>) = pages.into_iter().unzip();
        Case { costs, current: current.concat(), wanted: wanted.concat(), read }
    })
}

proptest! {
    #[test]
    fn a_plan_leaves_the_wanted_bytes_and_does_not_touch_unread_sectors(case in case()) {
        if let Some(plan) = case.plan() {
            let mut chip = case.current.clone();
            for operation in plan.operations {
                case.execute(operation, &mut chip);
            }
            for (index, read) in case.read.iter().enumerate() {
                let sector = index * SECTOR..(index + 1) * SECTOR;
                let expected = if *read { &case.wanted } else { &case.current };
                prop_assert_eq!(&chip[sector.clone()], &expected[sector]);
            }
        }
    }

    #[test]
    fn no_choice_of_erases_is_better_than_the_plan(case in case()) {
        let planned = case.plan().map(|plan| {
            let erases: Vec<_> = plan.erases().map(|unit| unit.end - unit.start).collect();
            let count = u32::try_from(erases.len()).unwrap_or(u32::MAX);
            (plan.cost, count, erases.iter().sum())
        });
        prop_assert_eq!(planned, case.cheapest_of_all(false));
    }

    #[test]
    fn the_cost_is_that_of_the_operations(case in case()) {
        if let Some(plan) = case.plan() {
            let times = plan.operations.iter().map(|operation| match *operation {
                Operation::Program { len, .. } => {
                    case.costs.page_program + case.costs.per_byte * len
                }
                Operation::Erase { len, .. } => {
                    let unit = case.costs.erases.iter().find(|unit| unit.len == len);
                    unit.map_or(Duration::MAX, |unit| unit.time)
                }
            });
            prop_assert_eq!(plan.cost, times.sum::<Duration>());
        }
    }

    #[test]
    fn reading_what_is_worth_it_pays_if_it_is_blank(case in case()) {
        let without = case.cheapest_of_all(false).map(|(time, ..)| time);
        let best = case.cheapest_of_all(true).map(|(time, ..)| time);
        let addresses = case.with(sectors_worth_reading);
        let pays = best.is_some_and(|best| without.is_none_or(|without| best < without));
        prop_assert_eq!(!addresses.is_empty(), pays);

        let mut blank = case.clone();
        let mut reading = Duration::ZERO;
        for address in addresses {
            let start = (address - ADDRESS) as usize;
            prop_assert!(!blank.read[start / SECTOR]);
            blank.read[start / SECTOR] = true;
            blank.current[start..start + SECTOR].fill(0xFF);
            blank.wanted[start..start + SECTOR].fill(0xFF);
            reading += case.costs.per_byte * 32;
        }
        let paid = blank.plan().map(|plan| plan.cost + reading);
        prop_assert_eq!(paid, if pays { best } else { without });
    }
}
