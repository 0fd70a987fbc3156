//! The files and directories of a mount: which there are, their names and inode numbers.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::sync::Arc;

use fuser::{FileType, INodeNo};

use super::partition_table::PartitionTable;
use crate::image::SECTOR_LEN;

/// A file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    Root,
    /// `raw.bin`: the whole chip.
    Raw,
    /// `sectors`.
    Sectors,
    /// `sectors/XXXXXX.bin`, by sector number; of larger chips `sectors/XXXXXXXX.bin`.
    Sector(u32),
    /// `partitions`.
    Partitions,
    /// `partitions/NAME.bin`, by the number of the partition.
    Partition(u32),
    JedecId,
    Info,
    /// `map.svg`.
    Map,
    Sfdp,
    UniqueId,
    /// A scratch file, by its number.
    Scratch(u64),
}

const FIRST_SECTOR_INODE: u64 = 0x1000;
/// Behind those of the sectors of any chip with four address bytes.
const FIRST_PARTITION_INODE: u64 = 0x200_0000;

/// Behind those of all partitions.
const FIRST_SCRATCH_INODE: u64 = 1 << 32;

impl Node {
    pub(super) fn inode(self) -> INodeNo {
        INodeNo(match self {
            Self::Root => INodeNo::ROOT.0,
            Self::Raw => 2,
            Self::Sectors => 3,
            Self::JedecId => 4,
            Self::Info => 5,
            Self::Sfdp => 6,
            Self::UniqueId => 7,
            Self::Partitions => 8,
            Self::Map => 9,
            Self::Sector(number) => FIRST_SECTOR_INODE + u64::from(number),
            Self::Partition(number) => FIRST_PARTITION_INODE + u64::from(number),
            Self::Scratch(number) => FIRST_SCRATCH_INODE + number,
        })
    }

    pub(super) fn kind(self) -> FileType {
        match self {
            Self::Root | Self::Sectors | Self::Partitions => FileType::Directory,
            _ => FileType::RegularFile,
        }
    }

    pub(super) fn is_chip(self) -> bool {
        matches!(self, Self::Raw | Self::Sector(_) | Self::Partition(_))
    }

    pub(super) fn is_directory(self) -> bool {
        self.kind() == FileType::Directory
    }
}

/// The tree of one chip.
#[derive(Debug)]
pub(super) struct Tree {
    size: u32,
    root: Vec<(Node, OsString)>,
    partitions: Arc<PartitionTable>,
}

impl Tree {
    pub(super) fn new(size: u32, has_sfdp: bool, has_unique_id: bool) -> Self {
        let mut root = vec![
            (Node::Raw, OsString::from("raw.bin")),
            (Node::Sectors, OsString::from("sectors")),
            (Node::Partitions, OsString::from("partitions")),
            (Node::JedecId, OsString::from("jedec_id")),
            (Node::Info, OsString::from("info.json")),
            (Node::Map, OsString::from("map.svg")),
        ];
        if has_sfdp {
            root.push((Node::Sfdp, OsString::from("sfdp.bin")));
        }
        if has_unique_id {
            root.push((Node::UniqueId, OsString::from("unique_id")));
        }
        Self { size, root, partitions: Arc::default() }
    }

    /// The same with the partitions of `table`.
    pub(super) fn with_partitions(self, table: Arc<PartitionTable>) -> Self {
        Self { partitions: table, ..self }
    }

    /// How many files and directories there are.
    pub(super) fn node_count(&self) -> u64 {
        1 + self.root.len() as u64 + u64::from(self.sector_count() + self.partitions.count())
    }

    /// The node with an inode number, if there is one. Whether there is such a scratch file is not known here.
    pub(super) fn node(&self, inode: INodeNo) -> Option<Node> {
        if inode == INodeNo::ROOT {
            return Some(Node::Root);
        }
        if let Some(number) = inode.0.checked_sub(FIRST_SCRATCH_INODE) {
            return Some(Node::Scratch(number));
        }
        if let Some(offset) = inode.0.checked_sub(FIRST_PARTITION_INODE) {
            return u32::try_from(offset)
                .ok()
                .filter(|&number| number < self.partitions.count())
                .map(Node::Partition);
        }
        if let Some(offset) = inode.0.checked_sub(FIRST_SECTOR_INODE) {
            return u32::try_from(offset)
                .ok()
                .filter(|&number| number < self.sector_count())
                .map(Node::Sector);
        }
        self.root.iter().map(|&(node, _)| node).find(|node| node.inode() == inode)
    }

    pub(super) fn lookup(&self, parent: Node, name: &OsStr) -> Option<Node> {
        match parent {
            Node::Root => self.root.iter().find(|(_, entry)| entry == name).map(|&(node, _)| node),
            Node::Sectors => self.sector(name),
            Node::Partitions => self.partitions.find(name).map(Node::Partition),
            _ => None,
        }
    }

    /// The `index`-th entry of a directory, counting from 0, `.` and `..` included.
    pub(super) fn entry(&self, directory: Node, index: u64) -> Option<(Node, OsString)> {
        let index = match index {
            0 => return Some((directory, OsString::from("."))),
            1 => return Some((Node::Root, OsString::from(".."))),
            _ => u32::try_from(index - 2).ok()?,
        };
        match directory {
            Node::Root => self.root.get(index as usize).cloned(),
            Node::Sectors if index < self.sector_count() => {
                Some((Node::Sector(index), self.sector_name(index)))
            }
            Node::Partitions => Some((Node::Partition(index), self.partitions.file_name(index)?)),
            _ => None,
        }
    }

    /// The bytes of the chip that a chip file shows; empty for any other node.
    pub(super) fn chip_range(&self, node: Node) -> Range<u32> {
        match node {
            Node::Raw => 0..self.size,
            Node::Sector(number) => number * SECTOR_LEN..(number + 1) * SECTOR_LEN,
            Node::Partition(number) => {
                self.partitions.get(number).map_or(0..0, |partition| partition.range.clone())
            }
            _ => 0..0,
        }
    }

    /// Where a chip file is, for people.
    pub(super) fn path(&self, node: Node) -> String {
        let entry = |entry: &(Node, OsString)| entry.1.clone();
        let (directory, name) = match node {
            Node::Sector(number) => ("sectors/", Some(self.sector_name(number))),
            Node::Partition(number) => ("partitions/", self.partitions.file_name(number)),
            _ => ("", self.root.iter().find(|&&(known, _)| known == node).map(entry)),
        };
        format!("{directory}{}", name.unwrap_or_default().to_string_lossy())
    }

    /// Whether the user or the chip has said that a chip file must not be written.
    pub(super) fn is_protected(&self, node: Node) -> bool {
        self.partitions.is_protected(node)
    }

    fn sector_count(&self) -> u32 {
        self.size / SECTOR_LEN
    }

    fn sector(&self, name: &OsStr) -> Option<Node> {
        let digits = name.to_str()?.strip_suffix(".bin")?;
        let address = u32::from_str_radix(digits, 16).ok()?;
        let number = address / SECTOR_LEN;
        // Other spellings of the same number, such as upper case, are not names of the file.
        (number < self.sector_count() && self.sector_name(number) == name).then_some(Node::Sector(number))
    }

    /// By its address: six digits, or eight on chips where some would not fit.
    fn sector_name(&self, number: u32) -> OsString {
        let digits = if self.size > 1 << 24 { 8 } else { 6 };
        OsString::from(format!("{:0digits$x}.bin", number * SECTOR_LEN))
    }
}

#[cfg(test)]
mod tests {
    use super::super::partitions::{Partition, Placed, Source};
    use super::*;

    fn tree() -> Tree {
        let partition = |name: &str, range, read_only| Partition { name: name.to_owned(), range, read_only };
        let list = vec![partition("boot", 0..0x4_0000, true), partition("odd", 0x101..0x202, false)];
        let table = PartitionTable::new(Some(Placed { source: Source::Layout, list }));
        Tree::new(16 << 20, true, false).with_partitions(Arc::new(table))
    }

    #[test]
    fn every_entry_is_found_by_name_and_by_inode() {
        let tree = tree();
        for directory in [Node::Root, Node::Sectors, Node::Partitions] {
            let mut index = 2;
            while let Some((node, name)) = tree.entry(directory, index) {
                assert_eq!(tree.lookup(directory, &name), Some(node));
                assert_eq!(tree.node(node.inode()), Some(node));
                index += 1;
            }
        }
        assert_eq!(tree.entry(Node::Sectors, 2 + 4096), None);
        assert_eq!(tree.entry(Node::Sectors, 2 + 4095).unwrap().1, "fff000.bin");
        assert_eq!(tree.entry(Node::Partitions, 2 + 1).unwrap().1, "odd.bin");
        assert_eq!(tree.entry(Node::Partitions, 2 + 2), None);
    }

    #[test]
    fn a_partition_shows_its_bytes_and_may_be_protected() {
        let tree = tree();
        let lookup = |name: &str| tree.lookup(Node::Partitions, OsStr::new(name)).unwrap();
        assert_eq!(tree.chip_range(lookup("odd.bin")), 0x101..0x202);
        assert!(tree.is_protected(lookup("boot.bin")) && !tree.is_protected(lookup("odd.bin")));
        assert!(!tree.is_protected(Node::Raw));
    }

    #[test]
    fn only_the_listed_spelling_of_a_sector_is_its_name() {
        let tree = tree();
        let lookup = |name: &str| tree.lookup(Node::Sectors, OsStr::new(name));
        assert_eq!(lookup("00a000.bin"), Some(Node::Sector(10)));
        for name in ["00A000.bin", "a000.bin", "00a001.bin", "+0a000.bin", "1000000.bin", "00a000", ".bin"] {
            assert_eq!(lookup(name), None, "{name}");
        }
    }

    #[test]
    fn sectors_of_a_chip_beyond_three_address_bytes_have_eight_digits() {
        let tree = Tree::new(32 << 20, false, false);
        let last = Node::Sector(0x1FFF);
        assert_eq!(tree.entry(Node::Sectors, 2 + 0x1FFF), Some((last, "01fff000.bin".into())));
        assert_eq!(tree.lookup(Node::Sectors, OsStr::new("01fff000.bin")), Some(last));
        assert_eq!(tree.lookup(Node::Sectors, OsStr::new("fff000.bin")), None);
        assert_eq!(tree.node(last.inode()), Some(last));
    }

    #[test]
    fn what_the_chip_does_not_have_is_not_there() {
        assert_eq!(tree().lookup(Node::Root, OsStr::new("unique_id")), None);
        assert_eq!(tree().node(Node::UniqueId.inode()), None);
    }
}
