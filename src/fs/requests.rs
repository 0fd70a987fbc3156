//! FUSE requests, one by one.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::FlashFs;
use super::errno::errno;
use super::node::Node;
use crate::image::SECTOR_LEN;

/// Names never change, and the kernel is told when attributes have.
const TTL: Duration = Duration::from_secs(3600);

pub(super) const GENERATION: Generation = Generation(0);

/// A request that sits in here cannot be interrupted, so none may ask for more than this: 33 ms of bus at 32 MHz.
pub(super) const LONGEST_REQUEST: u32 = 128 << 10;

const LONGEST_NAME: u32 = 255;

impl Filesystem for FlashFs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities();
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            // Without it the kernel asks for security.capability before every write.
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
        if let Err(refused) = config.add_capabilities(wanted & offered) {
            log::debug!("the kernel does not have {refused:?}");
        }
        if let Err(nearest) = config.set_max_write(LONGEST_REQUEST) {
            log::debug!("the kernel limits writes to {nearest} bytes");
        }
        let maps_direct_files = !self.page_cache && offered.contains(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        *self.maps_direct_files.get_mut() = maps_direct_files;
        log::debug!("chip files pass the page cache by: {maps_direct_files}");
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == Node::Partitions.inode() {
            return self.lookup_partition(name, reply);
        }
        match self.tree.node(parent).and_then(|parent| self.tree.lookup(parent, name)) {
            Some(node) => {
                let attributes = self.attributes.of(node, self.len(node));
                reply.entry(&ttl(node), &attributes, GENERATION);
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree.node(inode) {
            Some(node) => reply.attr(&ttl(node), &self.attributes.of(node, self.len(node))),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed_time: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let Some(node) = self.tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        if !self.attributes.matches(node, mode, uid, gid) {
            return reply.error(Errno::EPERM);
        }
        if accessed.is_some() || modified.is_some() {
            self.attributes.set_times(node, accessed.map(moment), modified.map(moment));
        }
        let attributes = Arc::clone(&self.attributes);
        let len = self.len(node);
        let done = move |result| match result {
            Ok(()) => reply.attr(&ttl(node), &attributes.of(node, len)),
            Err(error) => reply.error(error),
        };
        match size {
            None => done(Ok(())),
            Some(_) if !node.is_chip() => done(Err(Errno::EPERM)),
            Some(_) if self.tree.is_protected(node) => done(Err(Errno::EACCES)),
            Some(size) => {
                let handle = match handle {
                    Some(handle) => self.handles.find(handle),
                    None => self.handles.just_opened(node, request.pid()),
                };
                self.truncate(node, size, handle, done);
            }
        }
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let Some(node) = self.tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        if node == Node::Info {
            return self.open_info(request.pid(), reply);
        }
        // The kernel asks nobody's permissions for root.
        if flags.0 & libc::O_ACCMODE != libc::O_RDONLY && self.tree.is_protected(node) {
            return reply.error(Errno::EACCES);
        }
        let is_synchronous = flags.0 & (libc::O_SYNC | libc::O_DSYNC) != 0;
        let len = u32::try_from(self.tree.chip_range(node).len()).unwrap_or(u32::MAX);
        let content = self.content(node);
        let handle =
            self.handles.open(node, len, is_synchronous, content, request.pid(), self.image.moment());
        let direct = !node.is_chip() || self.maps_direct_files.load(Ordering::Relaxed);
        reply.opened(handle, if direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() });
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(handle) = self.handles.find(handle) else {
            return reply.error(Errno::EBADF);
        };
        handle.mark_used();
        if !handle.node.is_chip() {
            let range = clamp(offset, size, handle.content.len());
            return reply.data(&handle.content[range]);
        }
        let chip = self.tree.chip_range(handle.node);
        let range = clamp(offset, size, chip.len());
        if range.is_empty() {
            return reply.data(&[]);
        }
        // Within the file, so within the chip, whose size fits.
        let (start, end) = (u32::try_from(range.start).unwrap_or(0), u32::try_from(range.end).unwrap_or(0));
        self.image.read(
            chip.start + start..chip.start + end,
            Box::new(move |result| match result {
                Ok(bytes) => reply.data(bytes),
                Err(error) => reply.error(errno(&error)),
            }),
        );
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let handle = match self.writable_handle(handle) {
            Ok(handle) => handle,
            Err(error) => return reply.error(error),
        };
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let range = clamp(offset, size, self.tree.chip_range(handle.node).len());
        if range.is_empty() {
            return if data.is_empty() { reply.written(0) } else { reply.error(Errno::ENOSPC) };
        }
        let data = &data[..range.len()];
        let (start, end) = (u32::try_from(range.start).unwrap_or(0), u32::try_from(range.end).unwrap_or(0));
        if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            return self.write_mapped(&handle, start, data, reply);
        }
        let zeros_from = handle.place_write(start, end);
        self.write_chip(&handle, zeros_from, start, data, move |result| match result {
            Ok(()) => reply.written(end - start),
            Err(error) => reply.error(error),
        });
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        match self.handles.find(handle) {
            Some(handle) => self.commit_handle(handle, move |result| answer(reply, result)),
            None => reply.error(Errno::EBADF),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        match self.handles.find(handle) {
            Some(handle) => {
                // Somebody who has not written may still want to be sure of what others have.
                if handle.node.is_chip() {
                    handle.mark_written();
                }
                self.commit_handle(handle, move |result| answer(reply, result));
            }
            None => reply.error(Errno::EBADF),
        }
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        if let Some(handle) = self.handles.close(handle) {
            // Nobody can be told any more; the image logs what fails and keeps it pending.
            self.commit_handle(handle, |_| {});
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(directory) = self.tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        if directory == Node::Partitions {
            return self.read_partitions(offset, reply);
        }
        let mut index = offset;
        while let Some((node, name)) = self.tree.entry(directory, index) {
            index += 1;
            if reply.add(node.inode(), index, node.kind(), name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(directory) = self.tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        if directory == Node::Partitions {
            return self.read_partitions_plus(offset, reply);
        }
        let mut index = offset;
        while let Some((node, name)) = self.tree.entry(directory, index) {
            index += 1;
            let attributes = self.attributes.of(node, self.len(node));
            if reply.add(node.inode(), index, name, &ttl(node), &attributes, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        let sectors = u64::from(self.image.size() / SECTOR_LEN);
        reply.statfs(sectors, 0, 0, self.tree.node_count(), 0, SECTOR_LEN, LONGEST_NAME, SECTOR_LEN);
    }

    // A chip has the files that it has.

    fn create(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EPERM);
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn mkdir(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn rmdir(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn symlink(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn link(&self, _request: &Request, _inode: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _new_parent: INodeNo,
        _new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EPERM);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    // The kernel does the following by itself once it is told that nobody else does.

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _inode_in: INodeNo,
        _handle_in: FileHandle,
        _offset_in: u64,
        _inode_out: INodeNo,
        _handle_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: fuser::CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _inode: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

/// The part of `offset..offset + size` that lies within a file of `len` bytes.
fn clamp(offset: u64, size: u32, len: usize) -> Range<usize> {
    let start = usize::try_from(offset).unwrap_or(len).min(len);
    let end = usize::try_from(offset.saturating_add(u64::from(size))).unwrap_or(len).min(len);
    start..end
}

/// How long the kernel may keep name and attributes. `info.json` is another one each time, and a root that is always asked for
/// shows at once when this process has died.
pub(super) fn ttl(node: Node) -> Duration {
    if matches!(node, Node::Info | Node::Root) { Duration::ZERO } else { TTL }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
