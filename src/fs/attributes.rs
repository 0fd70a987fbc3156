//! Owners, modes and times of the files.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{FileAttr, FileType};
use parking_lot::Mutex;

use super::node::Node;
use super::partition_table::PartitionTable;
use crate::image::SECTOR_LEN;

/// Firmware holds secrets: without `umask=` nobody but the owner may read.
const DEFAULT_UMASK: u16 = 0o077;

/// Who owns the files and what may be done with them.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// The user id shown.
    pub uid: u32,
    /// The group id shown.
    pub gid: u32,
    /// The permission bits taken away; those of group and others where not given.
    pub umask: Option<u16>,
    /// Whether write permission is taken away too.
    pub read_only: bool,
}

#[derive(Debug)]
pub(super) struct Attributes {
    ownership: Ownership,
    partitions: Arc<PartitionTable>,
    started: SystemTime,
    times: Mutex<HashMap<Node, Times>>,
    /// Chip files whose attributes the kernel has been told since they last changed.
    told: Mutex<HashSet<Node>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    accessed: SystemTime,
    modified: SystemTime,
    changed: SystemTime,
}

impl Attributes {
    pub(super) fn new(ownership: Ownership, partitions: Arc<PartitionTable>) -> Self {
        Self {
            ownership,
            partitions,
            started: SystemTime::now(),
            times: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The attributes of a file of `size` bytes, for the kernel to keep.
    pub(super) fn of(&self, node: Node, size: u64) -> FileAttr {
        // Before the times are looked up: whoever changes them meanwhile must find it.
        if node.is_chip() {
            self.told.lock().insert(node);
        }
        let times = self.times(node);
        let kind = node.kind();
        FileAttr {
            ino: node.inode(),
            size,
            blocks: size.div_ceil(512),
            atime: times.accessed,
            mtime: times.modified,
            ctime: times.changed,
            crtime: self.started,
            kind,
            perm: self.permissions(node),
            nlink: match node {
                Node::Root => 4,
                Node::Sectors | Node::Partitions => 2,
                _ => 1,
            },
            uid: self.ownership.uid,
            gid: self.ownership.gid,
            rdev: 0,
            blksize: SECTOR_LEN,
            flags: 0,
        }
    }

    /// Takes note that the bytes of `range` on the chip have changed, through whichever file; returns the files of which the
    /// kernel now keeps outdated attributes.
    pub(super) fn touch_chip(&self, range: Range<u32>) -> Vec<Node> {
        let now = SystemTime::now();
        let mut times = self.times.lock();
        let sectors = (range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN)).map(Node::Sector);
        let partitions = self.partitions.overlapping(range).map(Node::Partition);
        let changed: Vec<Node> = sectors.chain(partitions).chain([Node::Raw]).collect();
        for &node in &changed {
            let accessed = times.get(&node).map_or(self.started, |times| times.accessed);
            times.insert(node, Times { accessed, modified: now, changed: now });
        }
        drop(times);
        let mut told = self.told.lock();
        changed.into_iter().filter(|node| told.remove(node)).collect()
    }

    pub(super) fn set_times(&self, node: Node, accessed: Option<SystemTime>, modified: Option<SystemTime>) {
        let present = self.times(node);
        let times = Times {
            accessed: accessed.unwrap_or(present.accessed),
            modified: modified.unwrap_or(present.modified),
            changed: SystemTime::now(),
        };
        self.times.lock().insert(node, times);
    }

    /// Takes note that names in these directories have changed.
    pub(super) fn touch_directories(&self, directories: impl IntoIterator<Item = Node>) {
        let now = Some(SystemTime::now());
        for directory in directories {
            self.set_times(directory, None, now);
        }
    }

    /// Whether a file already has this mode and owner; nothing else can be set.
    pub(super) fn matches(&self, node: Node, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> bool {
        mode.is_none_or(|mode| mode & 0o7777 == u32::from(self.permissions(node)))
            && uid.is_none_or(|uid| uid == self.ownership.uid)
            && gid.is_none_or(|gid| gid == self.ownership.gid)
    }

    /// Whether somebody may write to a file.
    pub(super) fn is_writable(&self, node: Node) -> bool {
        node.is_chip() && !self.ownership.read_only && !self.partitions.is_protected(node)
    }

    fn permissions(&self, node: Node) -> u16 {
        let all = match node.kind() {
            FileType::Directory => 0o777,
            _ if self.is_writable(node) => 0o666,
            _ => 0o444,
        };
        all & !self.ownership.umask.unwrap_or(DEFAULT_UMASK)
    }

    fn times(&self, node: Node) -> Times {
        let unchanged = Times { accessed: self.started, modified: self.started, changed: self.started };
        self.times.lock().get(&node).copied().unwrap_or(unchanged)
    }
}
