//! What writing, truncating and closing mean for a chip of fixed size.

use std::sync::Arc;

use fuser::{Errno, ReplyWrite, WriteFlags};

use super::callers::Shared;
use super::chip_files::Write;
use super::errno::errno;
use super::handle::Handle;
use super::node::Node;
use super::{FlashFs, clamp};
use crate::image;

impl FlashFs {
    /// Writes `data` to a chip file, as far as it fits, and tells how much that is.
    pub(super) fn write_chip(
        &self,
        handle: &Handle,
        node: Node,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        reply: Shared<ReplyWrite>,
    ) {
        let done = move |result: Result<u32, Errno>| match (reply.take(), result) {
            (None, _) => {}
            (Some(reply), Ok(len)) => reply.written(len),
            (Some(reply), Err(error)) => reply.error(error),
        };
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let range = clamp(offset, size, self.chip().len(node) as usize);
        if range.is_empty() {
            return done(if data.is_empty() { Ok(0) } else { Err(Errno::ENOSPC) });
        }
        let data = &data[..range.len()];
        let (start, end) = (u32::try_from(range.start).unwrap_or(0), u32::try_from(range.end).unwrap_or(0));
        let done = move |result: Result<(), Errno>| done(result.map(|()| end - start));
        if flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            handle.mark_written();
            return self.chip().write_mapped(node, start, data, done);
        }
        let zeros_from = handle.place_write(start, end);
        self.write_gap(handle, node, zeros_from, start, data, done);
    }

    fn write_gap(
        &self,
        handle: &Handle,
        node: Node,
        zeros_from: u32,
        offset: u32,
        data: &[u8],
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let commit = handle.is_synchronous;
        self.chip().write(Write { node, zeros_from, offset, data, is_by_handle: true, commit }, done);
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
        let range = self.chip().tree.chip_range(handle.node());
        let image = Arc::clone(&self.chip().image);
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
        if has_written { self.chip().image.commit(range, Box::new(tell)) } else { tell(Ok(())) }
    }

    /// The truncation part of a setattr on a chip file. `done` is called when the file reads as it should.
    pub(super) fn truncate(
        &self,
        node: Node,
        size: u64,
        handle: Option<Arc<Handle>>,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let len = match u32::try_from(size) {
            Ok(len) if len <= self.chip().len(node) => len,
            _ => return done(Err(Errno::EFBIG)),
        };
        let zeros_from = handle.as_ref().and_then(|handle| handle.truncate(len));
        match (handle, zeros_from) {
            (Some(handle), Some(zeros_from)) => self.write_gap(&handle, node, zeros_from, len, &[], done),
            _ => done(Ok(())),
        }
    }
}
