//! The chip's bytes under all their names: writing them so that everybody who looks, under whichever name, sees what was written.
//!
//! Whoever needs to change a chip file has a clone of this, also threads of their own. Not for handles' affairs, such as truncation.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use fuser::Errno;

use super::attributes::Attributes;
use super::errno::errno;
use super::handle::Handles;
use super::invalidate::{Invalidator, KernelCopy, Then};
use super::node::{Node, Tree};
use crate::image::{self, Image, Writer};

#[derive(Clone)]
pub(super) struct ChipFiles {
    pub(super) image: Arc<Image>,
    pub(super) tree: Arc<Tree>,
    pub(super) attributes: Arc<Attributes>,
    pub(super) handles: Arc<Handles>,
    pub(super) invalidator: Invalidator,
    /// Whether chip files pass the page cache by, and can still be mapped.
    pub(super) maps_direct_files: Arc<AtomicBool>,
    /// Writes that the kernel waits for, or whose other copies it has not dropped yet.
    pub(super) unsettled_writes: Arc<AtomicUsize>,
}

/// Bytes to be written to a chip file.
pub(super) struct Write<'a> {
    pub(super) node: Node,
    /// Zeros are written from here to `offset`.
    pub(super) zeros_from: u32,
    pub(super) offset: u32,
    pub(super) data: &'a [u8],
    /// Whether it comes from a handle of `node`.
    pub(super) is_by_handle: bool,
    /// Whether to wait until it is on the chip.
    pub(super) commit: bool,
}

/// What is outdated of the kernel's pages of the very file that was written.
enum OwnPages {
    /// None: the kernel has written them itself, and holds them locked until it is answered.
    None,
    /// All if somebody else has it open too.
    OfOthers,
    All,
}

/// A write that counts as unsettled until this is dropped; until then the kernel may write back copies of what was there before.
struct Unsettled {
    writes: Arc<AtomicUsize>,
    writer: Writer,
}

impl Unsettled {
    fn is_only_one(&self) -> bool {
        self.writes.load(Ordering::SeqCst) == 1
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.writes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ChipFiles {
    pub(super) fn is_direct(&self) -> bool {
        self.maps_direct_files.load(Ordering::Relaxed)
    }

    /// The length of a chip file in bytes.
    pub(super) fn len(&self, node: Node) -> u32 {
        u32::try_from(self.tree.chip_range(node).len()).unwrap_or(u32::MAX)
    }

    /// Writes, and then calls `done`: when every name of the bytes shows them (of several writes at a time through the page
    /// cache: very soon after), and when they are on the chip where that is asked for.
    pub(super) fn write(&self, write: Write<'_>, done: impl FnOnce(Result<(), Errno>) + Send + 'static) {
        let Write { node, zeros_from, offset, data, is_by_handle, commit } = write;
        let base = self.tree.chip_range(node).start;
        let end = offset + u32::try_from(data.len()).unwrap_or(0);
        let own = match (is_by_handle, self.is_direct()) {
            (false, _) => OwnPages::All,
            (true, true) => OwnPages::OfOthers,
            (true, false) => OwnPages::None,
        };
        let has_written_its_pages = matches!(own, OwnPages::None).then_some(node);
        let unsettled = self.unsettled(has_written_its_pages, false);
        let chip = self.clone();
        self.image.write_by(
            unsettled.writer.origin(),
            base + zeros_from,
            base + offset,
            data,
            Box::new(move |result| {
                if let Err(error) = result {
                    drop(unsettled);
                    return done(Err(errno(&error)));
                }
                let copies = chip.outdated_copies(node, zeros_from..end, own);
                let image = Arc::clone(&chip.image);
                let answer = move || {
                    if commit {
                        let done = move |result: Result<(), _>| done(result.map_err(|error| errno(&error)));
                        image.commit(base + zeros_from..base + end, Box::new(done));
                    } else {
                        done(Ok(()));
                    }
                };
                // Of two writes through the page cache that both waited for the other's pages to be dropped, neither would be.
                if chip.is_direct() || unsettled.is_only_one() {
                    let then: Then = Box::new(move || {
                        drop(unsettled);
                        answer();
                    });
                    chip.invalidator.drop_copies(copies, then);
                } else {
                    chip.invalidator.drop_copies_after(answer, copies, Box::new(move || drop(unsettled)));
                }
            }),
        );
    }

    /// Takes in a page that was written through a mapping. The kernel may be holding other pages locked until it is answered,
    /// so it is answered first, and other names' copies are dropped after. Of the page, only what has been changed in it is taken
    /// where the same bytes have been written under another name since the kernel read it.
    pub(super) fn write_mapped(
        &self,
        node: Node,
        offset: u32,
        data: &[u8],
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let len = u32::try_from(data.len()).unwrap_or(0);
        let address = self.tree.chip_range(node).start + offset;
        let unsettled = self.unsettled(Some(node), true);
        let chip = self.clone();
        self.image.write_by(
            unsettled.writer.origin(),
            address,
            address,
            data,
            Box::new(move |result| match result {
                Ok(()) => {
                    let copies = chip.outdated_copies(node, offset..offset + len, OwnPages::None);
                    let answer = move || done(Ok(()));
                    chip.invalidator.drop_copies_after(answer, copies, Box::new(move || drop(unsettled)));
                }
                Err(error) => done(Err(errno(&error))),
            }),
        );
    }

    /// Writes `data` to a chip file from `offset` on and waits until every name shows it. For threads that may wait for the bus.
    pub(super) fn write_and_wait(&self, node: Node, offset: u32, data: &[u8]) -> Result<(), Errno> {
        let (sender, receiver) = channel();
        let write = Write { node, zeros_from: offset, offset, data, is_by_handle: false, commit: false };
        self.write(write, move |result| {
            // A receiver that is gone does not want to know.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or(Err(Errno::EIO))
    }

    /// Waits until what is pending of `range` of a chip file is on the chip. For threads that may wait for the bus.
    pub(super) fn commit_and_wait(&self, node: Node, range: Range<u32>) -> Result<(), Errno> {
        let base = self.tree.chip_range(node).start;
        let (sender, receiver) = channel();
        let done = move |result| drop(sender.send(result));
        self.image.commit(base + range.start..base + range.end, Box::new(done));
        receiver.recv().unwrap_or(Err(image::Error::Stopped)).map_err(|error| errno(&error))
    }

    /// Reads `range` of a chip file. For threads that may wait for the bus.
    pub(super) fn read_and_wait(&self, node: Node, range: Range<u32>) -> Result<Vec<u8>, Errno> {
        let base = self.tree.chip_range(node).start;
        let (sender, receiver) = channel();
        let done = move |result: Result<&[u8], _>| drop(sender.send(result.map(<[u8]>::to_vec)));
        self.image.read(base + range.start..base + range.end, Box::new(done));
        receiver.recv().unwrap_or(Err(image::Error::Stopped)).map_err(|error| errno(&error))
    }

    /// Puts what is pending of a chip file on the chip, and forgets all that has been read, here and in the kernel. For threads that
    /// may wait for the bus.
    pub(super) fn flush_and_forget(&self, node: Node) -> Result<(), Errno> {
        self.commit_and_wait(node, 0..self.len(node))?;
        let (sender, receiver) = channel();
        self.image.forget(Box::new(move |result| {
            // A receiver that is gone does not want to know.
            let _ = sender.send(result);
        }));
        receiver.recv().unwrap_or(Err(image::Error::Stopped)).map_err(|error| errno(&error))?;
        let copies = self.handles.all_kernel_copies(&self.tree, 0..self.image.size());
        self.invalidator.drop_copies(copies, Box::new(|| {}));
        Ok(())
    }

    /// Has the kernel ask for a file's attributes anew.
    pub(super) fn drop_attributes(&self, node: Node) {
        let attributes = KernelCopy::Attributes { inode: node.inode() };
        self.invalidator.drop_copies(vec![attributes], Box::new(|| {}));
    }

    /// Takes note that `range` of `node` has been written, and returns what the kernel has that is outdated by that. Now, not
    /// before: whoever opens the file from here on reads what has been written.
    fn outdated_copies(&self, node: Node, range: Range<u32>, own: OwnPages) -> Vec<KernelCopy> {
        let base = self.tree.chip_range(node).start;
        let addresses = base + range.start..base + range.end;
        let mut copies = match own {
            OwnPages::All => self.handles.all_kernel_copies(&self.tree, addresses.clone()),
            OwnPages::None | OwnPages::OfOthers => {
                self.handles.kernel_copies(&self.tree, node, range.start, range.end - range.start)
            }
        };
        let outdated = self.attributes.touch_chip(addresses);
        copies.extend(outdated.into_iter().map(|node| KernelCopy::Attributes { inode: node.inode() }));
        if matches!(own, OwnPages::None) {
            copies.retain(|copy| copy.inode() != node.inode() || !copy.has_pages());
        }
        copies
    }

    /// A write that is about to begin. `holder` has the new bytes in its pages already; `is_copy` if they are a page of it.
    fn unsettled(&self, holder: Option<Node>, is_copy: bool) -> Unsettled {
        self.unsettled_writes.fetch_add(1, Ordering::SeqCst);
        let writer = self.image.writer(holder.map(|node| node.inode().0), is_copy);
        Unsettled { writes: Arc::clone(&self.unsettled_writes), writer }
    }
}
