//! What writing, truncating and closing mean for a chip of fixed size, and for everybody who sees the same bytes under another name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fuser::{Errno, FileHandle, ReplyWrite};

use super::FlashFs;
use super::errno::errno;
use super::handle::Handle;
use super::invalidate::{KernelCopy, Then};
use super::node::Node;
use crate::image;

impl FlashFs {
    pub(super) fn writable_handle(&self, handle: FileHandle) -> Result<Arc<Handle>, Errno> {
        self.handles.find(handle).filter(|handle| handle.node.is_chip()).ok_or(Errno::EBADF)
    }

    /// Zero-fills from `zeros_from` to `offset`, writes `data` there, and then calls `done`: when every name of the bytes shows
    /// them (of several writes at a time through the page cache: very soon after), and, for a synchronous handle, when they are on the chip.
    pub(super) fn write_chip(
        &self,
        handle: &Handle,
        zeros_from: u32,
        offset: u32,
        data: &[u8],
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let base = self.tree.chip_range(handle.node).start;
        let end = offset + u32::try_from(data.len()).unwrap_or(0);
        let range = base + zeros_from..base + end;
        let is_direct = self.maps_direct_files.load(Ordering::Relaxed);
        let unanswered = Arc::clone(&self.unanswered_writes);
        unanswered.fetch_add(1, Ordering::SeqCst);
        let done = {
            let unanswered = Arc::clone(&unanswered);
            move |result| {
                unanswered.fetch_sub(1, Ordering::SeqCst);
                done(result);
            }
        };
        let commit = handle.is_synchronous.then(|| Arc::clone(&self.image));
        let attributes = Arc::clone(&self.attributes);
        let invalidator = self.invalidator.clone();
        let (tree, handles, node) = (Arc::clone(&self.tree), Arc::clone(&self.handles), handle.node);
        self.image.write(
            base + zeros_from,
            base + offset,
            data,
            Box::new(move |result| {
                if let Err(error) = result {
                    return done(Err(errno(&error)));
                }
                // Now, not before: whoever opens the file from here on reads what has been written.
                let mut copies = handles.kernel_copies(&tree, node, zeros_from, end - zeros_from);
                copies.extend(outdated(attributes.touch_chip(range.clone())));
                if !is_direct {
                    // The kernel has written its own copy, which it holds locked until it is answered.
                    copies.retain(|copy| copy.inode() != node.inode() || !copy.has_pages());
                }
                let answer: Then = Box::new(move || match commit {
                    Some(image) => {
                        let done = move |result: Result<(), _>| done(result.map_err(|error| errno(&error)));
                        image.commit(range, Box::new(done));
                    }
                    None => done(Ok(())),
                });
                // Of two writes through the page cache that both waited for the other's pages to be dropped, neither would be.
                if is_direct || unanswered.load(Ordering::SeqCst) == 1 {
                    invalidator.drop_copies(copies, answer);
                } else {
                    answer();
                    invalidator.drop_copies(copies, Box::new(|| {}));
                }
            }),
        );
    }

    /// Takes in a page that was written through a mapping. The kernel may be holding other pages locked until it is answered,
    /// so it is answered first, and other names' copies are dropped after.
    pub(super) fn write_mapped(&self, handle: &Handle, offset: u32, data: &[u8], reply: ReplyWrite) {
        let len = u32::try_from(data.len()).unwrap_or(0);
        let base = self.tree.chip_range(handle.node).start;
        let range = base + offset..base + offset + len;
        let attributes = Arc::clone(&self.attributes);
        let invalidator = self.invalidator.clone();
        let (tree, handles, node) = (Arc::clone(&self.tree), Arc::clone(&self.handles), handle.node);
        handle.mark_written();
        self.image.write(
            range.start,
            range.start,
            data,
            Box::new(move |result| match result {
                Ok(()) => {
                    let mut copies = handles.kernel_copies(&tree, node, offset, len);
                    copies.extend(outdated(attributes.touch_chip(range)));
                    copies.retain(|copy| copy.inode() != node.inode() || !copy.has_pages());
                    reply.written(len);
                    invalidator.drop_copies(copies, Box::new(|| {}));
                }
                Err(error) => reply.error(errno(&error)),
            }),
        );
    }

    /// Puts what a handle's file has pending on the chip, if the handle has written. A handle that has ever written is also told,
    /// once, of what has failed without anybody to be told.
    pub(super) fn commit_handle(
        &self,
        handle: Arc<Handle>,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        if !handle.is_writer() {
            return done(Ok(()));
        }
        let range = self.tree.chip_range(handle.node);
        let image = Arc::clone(&self.image);
        let has_written = handle.take_written();
        let tell = {
            let range = range.clone();
            move |result: Result<(), image::Error>| {
                let told_until = handle.take_told_until(image.moment());
                let result = match result {
                    Ok(()) => image.failure_since(&range, told_until).map_or(Ok(()), Err),
                    Err(error) => {
                        // It is still not on the chip: the next flush tries again.
                        handle.mark_written();
                        Err(error)
                    }
                };
                done(result.map_err(|error| errno(&error)));
            }
        };
        if has_written { self.image.commit(range, Box::new(tell)) } else { tell(Ok(())) }
    }

    /// The truncation part of a setattr. `done` is called when the file reads as it should.
    pub(super) fn truncate(
        &self,
        node: Node,
        size: u64,
        handle: Option<Arc<Handle>>,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let len = match u32::try_from(size) {
            Ok(len) if size <= self.len(node) => len,
            _ => return done(Err(Errno::EFBIG)),
        };
        let zeros_from = handle.as_ref().and_then(|handle| handle.truncate(len));
        match (handle, zeros_from) {
            (Some(handle), Some(zeros_from)) => self.write_chip(&handle, zeros_from, len, &[], done),
            _ => done(Ok(())),
        }
    }
}

fn outdated(nodes: Vec<Node>) -> impl Iterator<Item = KernelCopy> {
    nodes.into_iter().map(|node| KernelCopy::Attributes { inode: node.inode() })
}
