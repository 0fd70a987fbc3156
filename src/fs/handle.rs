//! Open files: what each has written, and how long it takes its file to be.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use fuser::FileHandle;
use parking_lot::Mutex;

use super::invalidate::KernelCopy;
use super::node::{Node, Tree};

/// One open file.
#[derive(Debug)]
pub(super) struct Handle {
    /// What was opened.
    pub(super) opened: Node,
    /// What it is now: a scratch file can become a chip file while it is open.
    node: Mutex<Node>,
    /// Whether it was opened for writing.
    pub(super) is_writable: bool,
    /// Whether each write must be on the chip before it returns (O_SYNC, O_DSYNC).
    pub(super) is_synchronous: bool,
    /// What a file that is not on the chip held when it was opened.
    pub(super) content: Vec<u8>,
    opened_at: SystemTime,
    /// The thread that opened it, until it is first used: the truncation that is part of open(O_TRUNC) comes from the same
    /// thread right after, and without a handle.
    opener: Mutex<Option<u32>>,
    /// Whether it has written since it was last committed.
    has_written: AtomicBool,
    /// Whether it has ever written.
    is_writer: AtomicBool,
    /// Failures up to this moment of the image are not for this handle, or it has been told.
    told_until: AtomicU64,
    logical_len: Mutex<LogicalLen>,
}

/// How long the writer of a file takes it to be, in bytes.
///
/// A chip cannot get shorter, so truncating touches nothing and only sets this length for the writes that follow through the
/// same handle. A write beyond it leaves a gap, and gaps read as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogicalLen(u32);

impl LogicalLen {
    /// Takes in a write of `offset..end`; returns from where on zeros must be filled in, which is `offset` if there is no gap.
    fn extend(&mut self, offset: u32, end: u32) -> u32 {
        let zeros_from = self.0.min(offset);
        self.0 = self.0.max(end);
        zeros_from
    }

    /// Sets the length; where that is longer, returns from where on zeros must be filled in.
    fn set(&mut self, len: u32) -> Option<u32> {
        let before = std::mem::replace(&mut self.0, len);
        (len > before).then_some(before)
    }
}

impl Handle {
    pub(super) fn node(&self) -> Node {
        *self.node.lock()
    }

    /// Takes note of a write of `offset..end` within the file; returns from where on zeros are to be filled in.
    pub(super) fn place_write(&self, offset: u32, end: u32) -> u32 {
        self.mark_used();
        self.mark_written();
        self.logical_len.lock().extend(offset, end)
    }

    /// Takes note of a truncation to `len`; where that extends the file, returns from where on zeros are to be filled in.
    pub(super) fn truncate(&self, len: u32) -> Option<u32> {
        self.mark_used();
        let zeros_from = self.logical_len.lock().set(len);
        if zeros_from.is_some() {
            self.mark_written();
        }
        zeros_from
    }

    pub(super) fn mark_used(&self) {
        *self.opener.lock() = None;
    }

    pub(super) fn mark_written(&self) {
        self.is_writer.store(true, Ordering::SeqCst);
        self.has_written.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_writer(&self) -> bool {
        self.is_writer.load(Ordering::SeqCst)
    }

    /// The moment up to which it knows of failures; from now on that is `moment`.
    pub(super) fn take_told_until(&self, moment: u64) -> u64 {
        self.told_until.swap(moment, Ordering::SeqCst)
    }

    /// Whether it has written since it was last asked this.
    pub(super) fn take_written(&self) -> bool {
        self.has_written.swap(false, Ordering::SeqCst)
    }
}

/// How a file is opened.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The file's length in bytes, where it is on the chip.
    pub(super) len: u32,
    /// The flags of open(2).
    pub(super) flags: i32,
    /// What a file that is not on the chip holds.
    pub(super) content: Vec<u8>,
    /// The thread that opens it.
    pub(super) opener: u32,
    /// The moment of the image.
    pub(super) moment: u64,
}

/// All open files.
#[derive(Debug, Default)]
pub(super) struct Handles {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Arc<Handle>>,
    /// How many handles each chip file has.
    counts: HashMap<Node, usize>,
}

impl Handles {
    pub(super) fn open(&self, node: Node, opening: Opening) -> FileHandle {
        let Opening { len, flags, content, opener, moment } = opening;
        let mut table = self.table.lock();
        table.last += 1;
        let number = table.last;
        let handle = Handle {
            opened: node,
            node: Mutex::new(node),
            is_writable: flags & libc::O_ACCMODE != libc::O_RDONLY,
            is_synchronous: flags & (libc::O_SYNC | libc::O_DSYNC) != 0,
            content,
            opened_at: SystemTime::now(),
            opener: Mutex::new(Some(opener)),
            has_written: AtomicBool::new(false),
            is_writer: AtomicBool::new(false),
            told_until: AtomicU64::new(moment),
            logical_len: Mutex::new(LogicalLen(len)),
        };
        table.open.insert(number, Arc::new(handle));
        if node.is_chip() {
            *table.counts.entry(node).or_default() += 1;
        }
        FileHandle(number)
    }

    /// Lets all who have `from` open go on with the chip file `to` of `len` bytes.
    pub(super) fn pass_on(&self, from: Node, to: Node, len: u32) {
        let mut table = self.table.lock();
        let handles: Vec<_> = table.open.values().filter(|handle| handle.node() == from).cloned().collect();
        for handle in handles {
            *handle.logical_len.lock() = LogicalLen(len);
            *handle.node.lock() = to;
            *table.counts.entry(to).or_default() += 1;
        }
    }

    pub(super) fn find(&self, handle: FileHandle) -> Option<Arc<Handle>> {
        self.table.lock().open.get(&handle.0).cloned()
    }

    pub(super) fn close(&self, handle: FileHandle) -> Option<Arc<Handle>> {
        let mut table = self.table.lock();
        let handle = table.open.remove(&handle.0)?;
        let node = handle.node();
        if let Some(count) = table.counts.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                table.counts.remove(&node);
            }
        }
        Some(handle)
    }

    /// Of a file that is another one each time it is opened: the length and the age of the newest that somebody has open.
    pub(super) fn newest_content(&self, node: Node) -> Option<(u64, SystemTime)> {
        let table = self.table.lock();
        let handles = table.open.iter().filter(|(_, handle)| handle.opened == node);
        let (_, newest) = handles.max_by_key(|&(number, _)| number)?;
        Some((newest.content.len() as u64, newest.opened_at))
    }

    /// The handle on `node` that `thread` has just opened and not used yet.
    pub(super) fn just_opened(&self, node: Node, thread: u32) -> Option<Arc<Handle>> {
        let table = self.table.lock();
        table
            .open
            .iter()
            .filter(|(_, handle)| handle.node() == node && *handle.opener.lock() == Some(thread))
            .max_by_key(|&(number, _)| number)
            .map(|(_, handle)| Arc::clone(handle))
    }

    /// Where the kernel may hold copies of the bytes `offset..offset + len` of `node` other than those of the handle that
    /// has just written them: the same bytes under other names, and other mappings of the same file.
    pub(super) fn kernel_copies(&self, tree: &Tree, node: Node, offset: u32, len: u32) -> Vec<KernelCopy> {
        let start = tree.chip_range(node).start + offset;
        let table = self.table.lock();
        let others = table.counts.iter().filter(|&(&other, &count)| other != node || count > 1);
        copies_of(tree, start..start + len, others.map(|(&other, _)| other))
    }

    /// Where the kernel may hold copies of these bytes of the chip.
    pub(super) fn all_kernel_copies(&self, tree: &Tree, range: Range<u32>) -> Vec<KernelCopy> {
        copies_of(tree, range, self.table.lock().counts.keys().copied())
    }
}

/// The parts of the chip files `nodes` that show bytes of `range`.
fn copies_of(tree: &Tree, range: Range<u32>, nodes: impl Iterator<Item = Node>) -> Vec<KernelCopy> {
    nodes
        .filter_map(|node| {
            let shown = tree.chip_range(node);
            let (from, to) = (range.start.max(shown.start), range.end.min(shown.end));
            (from < to).then(|| KernelCopy::Pages {
                inode: node.inode(),
                offset: from - shown.start,
                len: to - from,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(handles: &Handles, node: Node) -> FileHandle {
        handles.open(node, Opening { len: 4096, opener: 7, ..Opening::default() })
    }

    #[test]
    fn an_untruncated_file_has_no_gaps() {
        let handles = Handles::default();
        let handle = handles.find(open(&handles, Node::Sector(1))).unwrap();
        assert_eq!(handle.place_write(100, 200), 100);
        assert_eq!(handle.truncate(4096), None);
    }

    #[test]
    fn writing_beyond_a_truncated_end_fills_the_gap_with_zeros() {
        let handles = Handles::default();
        let handle = handles.find(open(&handles, Node::Sector(1))).unwrap();
        assert_eq!(handle.truncate(0), None);
        assert_eq!(handle.place_write(0, 10), 0);
        assert_eq!(handle.place_write(100, 200), 10);
        assert_eq!(handle.place_write(50, 60), 50);
        assert_eq!(handle.truncate(300), Some(200));
        assert_eq!(handle.truncate(300), None);
    }

    #[test]
    fn only_a_handle_that_has_not_been_used_is_just_opened() {
        let handles = Handles::default();
        let first = open(&handles, Node::Raw);
        assert!(handles.just_opened(Node::Raw, 8).is_none());
        assert!(handles.just_opened(Node::Sector(1), 7).is_none());
        handles.find(first).unwrap().mark_used();
        assert!(handles.just_opened(Node::Raw, 7).is_none());
    }

    #[test]
    fn who_has_a_scratch_file_open_goes_on_with_the_chip_file_that_it_has_become() {
        let handles = Handles::default();
        let tree = Tree::new(16 << 20, false, false);
        let number = open(&handles, Node::Scratch(1));
        let handle = handles.find(number).unwrap();
        handles.pass_on(Node::Scratch(1), Node::Sector(1), 4096);
        assert_eq!((handle.opened, handle.node()), (Node::Scratch(1), Node::Sector(1)));
        assert_eq!(handle.place_write(4000, 4096), 4000);
        assert_eq!(handles.kernel_copies(&tree, Node::Raw, 4096, 1).len(), 1);
        handles.close(number);
        assert!(handles.kernel_copies(&tree, Node::Raw, 4096, 1).is_empty());
    }

    #[test]
    fn the_other_names_of_written_bytes_are_known_while_open() {
        let handles = Handles::default();
        let tree = Tree::new(16 << 20, false, false);
        let raw = open(&handles, Node::Raw);
        open(&handles, Node::Sector(1));
        open(&handles, Node::Sector(5));
        let copies = handles.kernel_copies(&tree, Node::Raw, 4090, 10);
        assert_eq!(copies, [KernelCopy::Pages { inode: Node::Sector(1).inode(), offset: 0, len: 4 }]);
        let copies = handles.kernel_copies(&tree, Node::Sector(1), 8, 4);
        assert_eq!(copies, [KernelCopy::Pages { inode: Node::Raw.inode(), offset: 4104, len: 4 }]);
        handles.close(raw);
        assert!(handles.kernel_copies(&tree, Node::Sector(1), 8, 4).is_empty());
    }
}
