//! The partitions of a mount: known from the start, or from when the chip is found to describe them, and then for good.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::sync::OnceLock;

use super::node::Node;
use super::partitions::{FILE_SUFFIX, Partition, Placed};

#[derive(Debug, Default)]
pub(super) struct PartitionTable {
    placed: OnceLock<Placed>,
}

impl PartitionTable {
    pub(super) fn new(placed: Option<Placed>) -> Self {
        let table = Self::default();
        if let Some(placed) = placed {
            table.settle(placed);
        }
        table
    }

    /// Takes over the partitions if there are none yet; returns whether there were none. Whoever has seen a file must find it again.
    pub(super) fn settle(&self, placed: Placed) -> bool {
        self.placed.set(placed).is_ok()
    }

    pub(super) fn placed(&self) -> Option<&Placed> {
        self.placed.get()
    }

    pub(super) fn list(&self) -> &[Partition] {
        self.placed().map_or(&[], |placed| &placed.list)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.list().len()).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Partition> {
        self.list().get(number as usize)
    }

    /// The name of a partition's file.
    pub(super) fn file_name(&self, number: u32) -> Option<OsString> {
        self.get(number).map(|partition| OsString::from(format!("{}{FILE_SUFFIX}", partition.name)))
    }

    /// Whether `node` is a partition that must not be written.
    pub(super) fn is_protected(&self, node: Node) -> bool {
        match node {
            Node::Partition(number) => self.get(number).is_some_and(|partition| partition.read_only),
            _ => false,
        }
    }

    /// The number of the partition whose file is called `name`.
    pub(super) fn find(&self, name: &OsStr) -> Option<u32> {
        let name = name.to_str()?.strip_suffix(FILE_SUFFIX)?;
        (0..).zip(self.list()).find(|(_, partition)| partition.name == name).map(|(number, _)| number)
    }

    /// The numbers of those that have bytes of `range`.
    pub(super) fn overlapping(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        (0..)
            .zip(self.list())
            .filter(move |(_, other)| other.range.start < range.end && range.start < other.range.end)
            .map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::partitions::Source;
    use super::*;

    fn placed(source: Source, names: [(&str, Range<u32>); 2]) -> Placed {
        let partition =
            |(name, range): (&str, Range<u32>)| Partition { name: name.to_owned(), range, read_only: false };
        Placed { source, list: names.map(partition).to_vec() }
    }

    #[test]
    fn partitions_are_found_by_file_name_and_by_range() {
        let table =
            PartitionTable::new(Some(placed(Source::Layout, [("boot", 0..100), ("boot.bin", 50..200)])));
        assert_eq!(table.find(OsStr::new("boot.bin")), Some(0));
        assert_eq!(table.find(OsStr::new("boot.bin.bin")), Some(1));
        assert_eq!(table.find(OsStr::new("boot")), None);
        let overlapping = |range| table.overlapping(range).collect::<Vec<_>>();
        assert_eq!(overlapping(0..50), [0]);
        assert_eq!(overlapping(49..51), [0, 1]);
        assert_eq!(overlapping(100..101), [1]);
        assert!(overlapping(200..300).is_empty());
    }

    #[test]
    fn partitions_that_are_there_stay() {
        let table = PartitionTable::new(None);
        assert_eq!(table.count(), 0);
        assert!(table.settle(placed(Source::Fmap, [("a", 0..1), ("b", 1..2)])));
        assert!(!table.settle(placed(Source::Fmap, [("c", 0..1), ("d", 1..2)])));
        assert_eq!(table.get(0).map(|partition| partition.name.as_str()), Some("a"));
    }
}
