//! Power fails during an update: at every erase and program, and at every point of the journal's own write. The next start must
//! leave the chip as it should be.

mod figures;
mod model_chip;

use std::fs;
use std::path::{Path, PathBuf};

use model_chip::{ModelChip, mixed_contents, open_journal};
use norfuse::image::Image;
use norfuse::spi::sim::faults::{Cell, Faults};

/// Unaligned, over mixed content, across a 64 KiB boundary.
const ADDRESS: u32 = 0x1_2345;
const LEN: usize = 70 << 10;

/// Where a journal keeps the number of the last batch that has begun, and where its records are.
const JOURNAL_BEGUN: std::ops::Range<usize> = 4096..8192;
const JOURNAL_RECORDS_AT: usize = 8192;

/// New bytes of every kind: some bits only cleared, some sectors blank, some left as they are, the rest anything.
fn update(old: &[u8]) -> Vec<u8> {
    let old = &old[ADDRESS as usize..ADDRESS as usize + LEN];
    let mut new: Vec<u8> =
        old.iter().zip((0..251).cycle()).map(|(&byte, step)| byte.rotate_left(1) ^ step).collect();
    for (index, byte) in new.iter_mut().enumerate() {
        match index / 5000 {
            1 => *byte = old[index] & 0x5A,
            4 => *byte = 0xFF,
            7 => *byte = old[index],
            _ => {}
        }
    }
    new
}

fn wanted(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut wanted = old.to_vec();
    wanted[ADDRESS as usize..ADDRESS as usize + LEN].copy_from_slice(new);
    wanted
}

/// Writes the update with faults in force; whether it was reported to be on the chip.
fn write(chip: &ModelChip, directory: &Path, new: &[u8], faults: Faults) -> bool {
    let image = chip.start(Some(directory)).expect("a whole chip starts");
    chip.model().set_faults(faults);
    image.write(ADDRESS, ADDRESS, new, Box::new(|result| result.expect("there is room")));
    model_chip::commit(&image).is_ok()
}

/// What the next start makes of the chip.
fn restart(chip: &ModelChip, directory: &Path) -> Vec<u8> {
    chip.model().set_faults(Faults::default());
    let image = chip.start(Some(directory)).expect("the interrupted write is finished");
    image.stop().expect("nothing is left to do");
    chip.contents()
}

#[test]
fn a_power_cut_at_any_operation_is_made_good_by_the_next_start() {
    let old = mixed_contents();
    let new = update(&old);
    let wanted = wanted(&old, &new);
    let (mut cuts, mut recovered, mut lost) = (0, 0, 0);
    loop {
        let directory = tempfile::tempdir().unwrap();
        let chip = ModelChip::new(&old);
        let faults = Faults { power_cut: Some(cuts + 1), seed: cuts, ..Faults::default() };
        if write(&chip, directory.path(), &new, faults) {
            assert_eq!(chip.contents(), wanted);
            break;
        }
        cuts += 1;
        if restart(&chip, directory.path()) == wanted {
            recovered += 1
        } else {
            lost += 1
        }
        assert_eq!(chip.model().violations().total(), 0, "{:?}", chip.model().violations());
        assert!(open_journal(&chip, directory.path()).1.is_empty(), "the record is retired");
    }
    figures::show(format_args!(
        "power cuts at every operation: {cuts} tried, {recovered} recovered, {lost} lost"
    ));
    assert!(cuts > 200, "only {cuts} operations");
    assert_eq!((recovered, lost), (cuts, 0));
}

#[test]
fn a_power_cut_while_the_next_batch_is_in_the_journal_leaves_no_region_half_written() {
    let old = mixed_contents();
    let mut new = old.clone();
    // More regions than a batch has: in each a sector to be erased, and one in which a bit is only cleared.
    let regions = (0..20).map(|region| region << 16);
    for region in regions.clone() {
        new[region + 0x100] = !old[region + 0x100];
        new[region + 0x5000] = old[region + 0x5000] & 0x7F;
    }
    let (mut cuts, mut ahead) = (0, 0);
    loop {
        let directory = tempfile::tempdir().unwrap();
        let chip = ModelChip::new(&old);
        let image = chip.start(Some(directory.path())).unwrap();
        let faults = Faults { power_cut: Some(cuts + 1), seed: cuts, ..Faults::default() };
        chip.model().set_faults(faults);
        for region in regions.clone() {
            for address in [region + 0x100, region + 0x5000] {
                let (at, byte) = (u32::try_from(address).unwrap(), new[address]);
                image.write(at, at, &[byte], Box::new(|result| result.expect("there is room")));
            }
        }
        let is_done = model_chip::commit(&image).is_ok();
        drop(image);
        if is_done {
            assert!(chip.contents() == new);
            break;
        }
        // A region has 18 operations; the seventh each time is at another place in the next.
        cuts += 7;
        chip.model().set_faults(Faults::default());
        let begun: Vec<usize> =
            open_journal(&chip, directory.path()).1.iter().map(|record| record.region as usize).collect();
        let after = restart(&chip, directory.path());
        for region in regions.clone() {
            let range = region..region + 0x1_0000;
            let is_new = after[range.clone()] == new[range.clone()];
            assert!(is_new || after[range.clone()] == old[range], "{region:#x} is half written, cut {cuts}");
            assert!(is_new || !begun.contains(&region), "{region:#x} is not finished, cut {cuts}");
        }
        assert!(after[0x14_0000..] == old[0x14_0000..]);
        ahead += u32::from(begun.iter().any(|&region| region < 0x10_0000) && begun.contains(&0x10_0000));
    }
    figures::show(format_args!(
        "power cuts during two batches: every seventh of {cuts} tried, {ahead} with both in the journal"
    ));
    assert!(ahead > 0, "the next batch is never in the journal before the one before is done");
}

#[test]
fn a_second_power_cut_during_recovery_is_made_good_too() {
    let old = mixed_contents();
    let new = update(&old);
    let wanted = wanted(&old, &new);
    for (first, second) in [(1, 1), (1, 40), (30, 1), (77, 13), (150, 90), (200, 5)] {
        let directory = tempfile::tempdir().unwrap();
        let chip = ModelChip::new(&old);
        let faults = |operation| Faults { power_cut: Some(operation), seed: 3, ..Faults::default() };
        assert!(!write(&chip, directory.path(), &new, faults(first)));
        chip.model().set_faults(faults(second));
        assert!(chip.start(Some(directory.path())).is_err(), "cut at {first}, then at {second}");
        assert!(restart(&chip, directory.path()) == wanted, "cut at {first}, then at {second}");
    }
}

#[test]
fn a_torn_journal_leaves_the_chip_as_it_was_and_a_whole_one_finishes_the_write() {
    let old = mixed_contents();
    let new = update(&old);
    let wanted = wanted(&old, &new);
    let directory = tempfile::tempdir().unwrap();
    let chip = ModelChip::new(&old);
    assert!(!write(&chip, directory.path(), &new, Faults { power_cut: Some(1), ..Faults::default() }));
    let (path, whole) = journal_file(directory.path());
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;

    // The records come first, then the number that says that all of them are there. Only then is the chip touched.
    let records = JOURNAL_RECORDS_AT..used;
    let (mut torn_at, mut as_before, mut finished) = (0, 0, 0);
    for kept in records.step_by(1021).chain([used - 1, used]) {
        for is_begun in [false, true] {
            let mut torn = whole.clone();
            torn[kept..].fill(0);
            if !is_begun {
                torn[JOURNAL_BEGUN].fill(0);
            } else if kept < used {
                continue;
            }
            fs::write(&path, &torn).unwrap();
            chip.refill(&old);
            let after = restart(&chip, directory.path());
            torn_at += 1;
            as_before += u32::from(after == old);
            finished += u32::from(after == wanted);
        }
    }
    figures::show(format_args!(
        "torn journals: {torn_at} tried, {as_before} left the chip as it was, {finished} finished the write"
    ));
    assert_eq!((as_before, finished), (torn_at - 1, 1));
}

#[test]
fn a_chip_without_unique_id_is_recognised_by_its_contents_and_another_is_refused() {
    let old = mixed_contents();
    let new = update(&old);
    let wanted = wanted(&old, &new);
    let directory = tempfile::tempdir().unwrap();
    let chip = ModelChip::anonymous(&old);
    assert!(!write(&chip, directory.path(), &new, Faults { power_cut: Some(20), ..Faults::default() }));
    let interrupted = chip.contents();

    let mut other = old.clone();
    other.rotate_left(12345);
    chip.refill(&other);
    chip.model().set_faults(Faults::default());
    let refusal = chip.start(Some(directory.path())).map(drop).unwrap_err().to_string();
    assert!(refusal.contains("--replay-journal") && refusal.contains("--discard-journal"), "{refusal}");
    assert!(chip.contents() == other, "nothing of it is touched");

    chip.refill(&interrupted);
    assert!(restart(&chip, directory.path()) == wanted);
}

#[test]
fn a_write_that_cannot_be_finished_stays_in_the_journal() {
    let old = mixed_contents();
    let new = update(&old);
    let wanted = wanted(&old, &new);
    let directory = tempfile::tempdir().unwrap();
    let chip = ModelChip::new(&old);
    let image: Image = chip.start(Some(directory.path())).unwrap();
    image.write(ADDRESS, ADDRESS, &new, Box::new(|result| result.unwrap()));
    let faults = Faults { weak_erase: vec![Cell { address: 0x1_3000, bit: 7 }], ..Faults::default() };
    chip.model().set_faults(faults);
    chip.poke(0x1_3000, &[old[0x1_3000] & 0x7F]);
    let failed = model_chip::commit(&image).is_err();
    drop(image);
    if failed {
        assert_eq!(open_journal(&chip, directory.path()).1.len(), 1);
    }
    assert!(restart(&chip, directory.path()) == wanted);
}

fn journal_file(directory: &Path) -> (PathBuf, Vec<u8>) {
    let path = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}
