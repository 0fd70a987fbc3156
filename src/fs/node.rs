//! The files and directories of a mount: which there are, their names and inode numbers.

use std::ffi::{OsStr, OsString};
use std::ops::Range;

use fuser::{FileType, INodeNo};

use crate::image::SECTOR_LEN;

/// A file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    Root,
    /// `raw.bin`: the whole chip.
    Raw,
    /// `sectors`.
    Sectors,
    /// `sectors/XXXXXX.bin`, by sector number.
    Sector(u32),
    JedecId,
    Info,
    Sfdp,
    UniqueId,
    /// A scratch file, by its number.
    Scratch(u64),
}

const FIRST_SECTOR_INODE: u64 = 0x1000;

/// Above those of all sectors.
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
            Self::Sector(number) => FIRST_SECTOR_INODE + u64::from(number),
            Self::Scratch(number) => FIRST_SCRATCH_INODE + number,
        })
    }

    pub(super) fn kind(self) -> FileType {
        match self {
            Self::Root | Self::Sectors => FileType::Directory,
            _ => FileType::RegularFile,
        }
    }

    pub(super) fn is_chip(self) -> bool {
        matches!(self, Self::Raw | Self::Sector(_))
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
}

impl Tree {
    pub(super) fn new(size: u32, has_sfdp: bool, has_unique_id: bool) -> Self {
        let mut root = vec![
            (Node::Raw, OsString::from("raw.bin")),
            (Node::Sectors, OsString::from("sectors")),
            (Node::JedecId, OsString::from("jedec_id")),
            (Node::Info, OsString::from("info.json")),
        ];
        if has_sfdp {
            root.push((Node::Sfdp, OsString::from("sfdp.bin")));
        }
        if has_unique_id {
            root.push((Node::UniqueId, OsString::from("unique_id")));
        }
        Self { size, root }
    }

    /// How many files and directories there are.
    pub(super) fn node_count(&self) -> u64 {
        1 + self.root.len() as u64 + u64::from(self.sector_count())
    }

    /// The node with an inode number, if there is one. Whether there is such a scratch file is not known here.
    pub(super) fn node(&self, inode: INodeNo) -> Option<Node> {
        if inode == INodeNo::ROOT {
            return Some(Node::Root);
        }
        if let Some(number) = inode.0.checked_sub(FIRST_SCRATCH_INODE) {
            return Some(Node::Scratch(number));
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
            Node::Sectors if index < self.sector_count() => Some((Node::Sector(index), sector_name(index))),
            _ => None,
        }
    }

    /// The bytes of the chip that a chip file shows; empty for any other node.
    pub(super) fn chip_range(&self, node: Node) -> Range<u32> {
        match node {
            Node::Raw => 0..self.size,
            Node::Sector(number) => number * SECTOR_LEN..(number + 1) * SECTOR_LEN,
            _ => 0..0,
        }
    }

    /// Where a chip file is, for people.
    pub(super) fn path(&self, node: Node) -> String {
        match node {
            Node::Sector(number) => format!("sectors/{}", sector_name(number).to_string_lossy()),
            _ => self
                .root
                .iter()
                .find(|&&(entry, _)| entry == node)
                .map_or_else(String::new, |(_, name)| name.to_string_lossy().into_owned()),
        }
    }

    fn sector_count(&self) -> u32 {
        self.size / SECTOR_LEN
    }

    fn sector(&self, name: &OsStr) -> Option<Node> {
        let digits = name.to_str()?.strip_suffix(".bin")?;
        let address = u32::from_str_radix(digits, 16).ok()?;
        let number = address / SECTOR_LEN;
        // Other spellings of the same number, such as upper case, are not names of the file.
        (number < self.sector_count() && sector_name(number) == name).then_some(Node::Sector(number))
    }
}

fn sector_name(number: u32) -> OsString {
    OsString::from(format!("{:06x}.bin", number * SECTOR_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new(16 << 20, true, false)
    }

    #[test]
    fn every_entry_is_found_by_name_and_by_inode() {
        let tree = tree();
        for directory in [Node::Root, Node::Sectors] {
            let mut index = 2;
            while let Some((node, name)) = tree.entry(directory, index) {
                assert_eq!(tree.lookup(directory, &name), Some(node));
                assert_eq!(tree.node(node.inode()), Some(node));
                index += 1;
            }
        }
        assert_eq!(tree.entry(Node::Sectors, 2 + 4096), None);
        assert_eq!(tree.entry(Node::Sectors, 2 + 4095).unwrap().1, "fff000.bin");
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
    fn what_the_chip_does_not_have_is_not_there() {
        assert_eq!(tree().lookup(Node::Root, OsStr::new("unique_id")), None);
        assert_eq!(tree().node(Node::UniqueId.inode()), None);
    }
}
