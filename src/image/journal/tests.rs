//! The journal against power cuts, rot and strangers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;
use crate::chip::part::JedecId;

const SIZE: u32 = 1 << 20;
const REGION_LEN: u32 = 64 << 10;

fn chip() -> ChipIdentity {
    ChipIdentity { jedec_id: JedecId([0xA1, 0x40, 0x18]), unique_id: Some(b"12345678".to_vec()), size: SIZE }
}

fn open(directory: &Path) -> Opened {
    Journal::open(directory, &chip(), REGION_LEN).unwrap()
}

fn file(directory: &Path) -> PathBuf {
    directory.join(chip().file_name())
}

fn record(address: u32, bytes: &[u8]) -> NewRecord<'_> {
    let fingerprints = Vec::from_iter(Fingerprint::of((address + 4 * REGION_LEN) % SIZE, b"elsewhere"));
    NewRecord { ranges: vec![(address, bytes)], fingerprints }
}

/// Addresses and bytes of the live records, in order.
fn contents(records: &[Record]) -> Vec<(u32, Vec<u8>)> {
    records
        .iter()
        .flat_map(|record| &record.ranges)
        .map(|range| (range.address, range.bytes.clone()))
        .collect()
}

#[test]
fn records_survive_until_they_are_retired() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut journal, .. } = open(directory.path());
    let slots = journal.begin(&[record(10, b"abc"), record(REGION_LEN, b"defg")]).unwrap();
    drop(journal);
    let Opened { mut journal, records, torn } = open(directory.path());
    assert_eq!(torn, 0);
    assert_eq!(contents(&records), [(10, b"abc".to_vec()), (REGION_LEN, b"defg".to_vec())]);
    assert!(records[0].fingerprints[0].matches(b"elsewhere"));
    journal.retire(&slots[..1]).unwrap();
    drop(journal);
    let Opened { mut journal, records, .. } = open(directory.path());
    assert_eq!(contents(&records), [(REGION_LEN, b"defg".to_vec())]);
    journal.discard().unwrap();
    drop(journal);
    assert!(open(directory.path()).records.is_empty());
}

#[test]
fn a_newer_record_takes_the_place_of_that_of_its_region() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut journal, .. } = open(directory.path());
    for round in 0..200u8 {
        journal.begin(&[record(0, &[round; 100]), record(REGION_LEN, &[round; 100])]).unwrap();
    }
    drop(journal);
    let records = open(directory.path()).records;
    assert_eq!(contents(&records), [(0, vec![199; 100]), (REGION_LEN, vec![199; 100])]);
    let len = fs::metadata(file(directory.path())).unwrap().len();
    assert!(len < 8 * u64::from(REGION_LEN), "the journal has grown to {len} bytes");
}

#[test]
fn nobody_else_gets_in_and_nobody_else_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a/b");
    let opened = open(&state);
    let error = Journal::open(&state, &chip(), REGION_LEN).map(drop).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&file(&state))), (0o700, 0o600));
    drop(opened);
    assert_eq!(waiting(&state, &chip(), REGION_LEN).unwrap(), 0);
}

#[test]
fn another_chips_records_are_never_touched() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).journal.begin(&[record(0, b"precious")]).unwrap();
    let before = fs::read(file(directory.path())).unwrap();
    let grown = ChipIdentity { size: 2 * SIZE, ..chip() };
    let error = Journal::open(directory.path(), &grown, REGION_LEN).map(drop).unwrap_err();
    assert!(matches!(error, Error::OtherChip { records: 1, .. }), "{error}");
    assert_eq!(fs::read(file(directory.path())).unwrap(), before);
}

/// What a power cut can leave of a batch, whose records reach the disk in any order before its number does.
#[test]
fn a_batch_that_is_torn_anywhere_has_not_begun_and_leaves_others_alone() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut journal, .. } = open(directory.path());
    journal.begin(&[record(0, b"one"), record(REGION_LEN, b"two")]).unwrap();
    let before = fs::read(file(directory.path())).unwrap();
    journal.begin(&[record(2 * REGION_LEN, b"three"), record(3 * REGION_LEN, b"four")]).unwrap();
    drop(journal);
    let after = fs::read(file(directory.path())).unwrap();
    let changed: Vec<usize> =
        (0..after.len()).filter(|&index| before.get(index).copied().unwrap_or(0) != after[index]).collect();
    let (number, records): (Vec<usize>, Vec<usize>) = changed.into_iter().partition(|&index| index < 8192);
    let check = |missing: &[usize], live: usize| {
        let mut torn = after.clone();
        for &index in missing {
            torn[index] = before.get(index).copied().unwrap_or(0);
        }
        fs::write(file(directory.path()), torn).unwrap();
        assert_eq!(open(directory.path()).records.len(), live, "without {missing:?}");
    };
    for cut in 0..records.len() {
        check(&[&number[..], &records[cut..]].concat(), 2);
        check(&[&number[..], &records[..=cut]].concat(), 2);
    }
    for cut in 0..number.len() {
        check(&number[cut..], 2);
    }
    check(&[], 4);
}

#[test]
fn a_flipped_bit_makes_a_record_vanish_and_never_changes_it() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut journal, .. } = open(directory.path());
    journal.begin(&[record(0, b"one")]).unwrap();
    journal.begin(&[record(REGION_LEN, b"two")]).unwrap();
    drop(journal);
    let whole = fs::read(file(directory.path())).unwrap();
    for index in (8192..whole.len()).filter(|&index| whole[index] != 0) {
        for bit in 0..8 {
            let mut rotten = whole.clone();
            rotten[index] ^= 1 << bit;
            fs::write(file(directory.path()), rotten).unwrap();
            for (address, bytes) in contents(&open(directory.path()).records) {
                assert_eq!(bytes, if address == 0 { b"one" } else { b"two" });
            }
        }
    }
}

proptest! {
    // A bounded fuzz run: what lies in a state directory is anybody's.
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_file_holds_is_records_within_the_chip_or_an_error(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<[u8; 4]>()), 0..12),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
        random in proptest::option::weighted(0.1, proptest::collection::vec(any::<u8>(), 0..20_000)),
    ) {
        let mut bytes = random.unwrap_or_else(|| VALID.clone());
        for (index, change) in changes {
            let at = MEANINGFUL[index.index(MEANINGFUL.len())];
            for (target, byte) in bytes.get_mut(at..).unwrap_or_default().iter_mut().zip(change) {
                *target = byte;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(file(directory.path()), bytes).unwrap();
        let _ = waiting(directory.path(), &chip(), REGION_LEN);
        if let Ok(opened) = Journal::open(directory.path(), &chip(), REGION_LEN) {
            for (address, bytes) in contents(&opened.records) {
                assert!(bytes.len() <= REGION_LEN as usize);
                assert!(address < SIZE && bytes.len() <= (SIZE - address) as usize);
            }
        }
    }
}

/// A journal with a few records in it.
static VALID: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut journal, .. } = open(directory.path());
    journal.begin(&[record(5, b"alone")]).unwrap();
    journal.begin(&[record(REGION_LEN + 9, b"the first"), record(2 * REGION_LEN, b"the second")]).unwrap();
    drop(journal);
    fs::read(file(directory.path())).unwrap()
});

/// Where something stands in it.
static MEANINGFUL: std::sync::LazyLock<Vec<usize>> =
    std::sync::LazyLock::new(|| (0..VALID.len()).filter(|&index| VALID[index] != 0).collect());
