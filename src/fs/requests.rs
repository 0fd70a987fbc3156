//! FUSE requests, one by one. What takes more than a few lines is done elsewhere.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileHandle, Filesystem, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::callers::Shared;
use super::entries::{Entry, LONGEST_NAME};
use super::errno::errno;
use super::node::Node;
use super::scratch;
use super::{FlashFs, clamp};
use crate::image::SECTOR_LEN;

/// For what never changes, or of which the kernel is told when it has.
const TTL: Duration = Duration::from_secs(3600);

const GENERATION: Generation = Generation(0);

/// A request that sits in here cannot be interrupted, so none may ask for more than this: 33 ms of bus at 32 MHz.
pub(super) const LONGEST_REQUEST: u32 = 128 << 10;

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
        self.chip().maps_direct_files.store(maps_direct_files, Ordering::Relaxed);
        log::debug!("chip files pass the page cache by: {maps_direct_files}");
        self.callers.start()
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let place = match self.entries.place(parent, name) {
            Ok(place) => place,
            Err(error) => return reply.error(error),
        };
        self.entries.once_known(place.directory, move |entries| {
            let found = entries.find(&place).and_then(|node| Some((node, entries.attributes(node)?)));
            match found {
                Some((node, attributes)) => {
                    reply.entry_with_ttls(&attributes_ttl(node), &name_ttl(node), &attributes, GENERATION);
                }
                None => reply.error(Errno::ENOENT),
            }
        });
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let node = self.chip().tree.node(inode);
        match node.and_then(|node| Some((node, self.entries.attributes(node)?))) {
            Some((node, attributes)) => reply.attr(&attributes_ttl(node), &attributes),
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
        let Some(node) = self.chip().tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        let handle = handle.and_then(|handle| self.handles().find(handle));
        // An open scratch file may have become a chip file.
        let changed = handle.as_ref().map_or(node, |handle| handle.node());
        let (accessed, modified) = (accessed.map(moment), modified.map(moment));
        if let Node::Scratch(number) = changed {
            let changes = scratch::Changes { mode, uid, gid, accessed, modified };
            let result = size.map_or(Ok(()), |size| self.scratch().resize(number, size));
            let result = result.and_then(|()| self.scratch().change(number, changes));
            return match (result, self.scratch().attributes(number)) {
                (Ok(()), Some(attributes)) => reply.attr(&attributes_ttl(node), &attributes),
                (Ok(()), None) => reply.error(Errno::ENOENT),
                (Err(error), _) => reply.error(error.into()),
            };
        }
        if !self.chip().attributes.matches(changed, mode, uid, gid) {
            return reply.error(Errno::EPERM);
        }
        if accessed.is_some() || modified.is_some() {
            self.chip().attributes.set_times(changed, accessed, modified);
        }
        let attributes = self.entries.attributes(node);
        let done = move |result: Result<(), Errno>| match (result, attributes) {
            (Ok(()), Some(attributes)) => reply.attr(&attributes_ttl(node), &attributes),
            (Ok(()), None) => reply.error(Errno::ENOENT),
            (Err(error), _) => reply.error(error),
        };
        match size {
            None => done(Ok(())),
            Some(_) if !changed.is_chip() => done(Err(Errno::EPERM)),
            Some(_) if self.chip().tree.is_protected(changed) => done(Err(Errno::EACCES)),
            Some(size) => {
                let handle = handle.or_else(|| self.handles().just_opened(changed, request.pid()));
                self.truncate(changed, size, handle, done);
            }
        }
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let Some(node) = self.chip().tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        let opener = request.pid();
        self.callers.answer(request, reply, |reply| {
            self.entries.once_readable(node, move |entries| {
                // What is opened for a caller that is gone would stay open.
                let Some(reply) = reply.take() else { return };
                match entries.and_then(|entries| entries.open(node, flags.0, opener)) {
                    Ok((handle, flags)) => reply.opened(handle, flags),
                    Err(error) => reply.error(error),
                }
            });
        });
    }

    fn read(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(handle) = self.handles().find(handle) else {
            return reply.error(Errno::EBADF);
        };
        handle.mark_used();
        let mut reply = reply;
        if let Node::Scratch(number) = handle.node() {
            let answered = self.scratch().read(number, offset, size, |bytes| match bytes {
                Ok(bytes) => {
                    reply.data(bytes);
                    None
                }
                Err(scratch::Error::BecameChip) => Some(reply),
                Err(error) => {
                    reply.error(error.into());
                    None
                }
            });
            match answered {
                None => return,
                Some(unanswered) => reply = unanswered,
            }
        }
        let node = handle.node();
        if !node.is_chip() {
            let range = clamp(offset, size, handle.content.len());
            return reply.data(&handle.content[range]);
        }
        let chip = self.chip().tree.chip_range(node);
        let range = clamp(offset, size, chip.len());
        if range.is_empty() {
            return reply.data(&[]);
        }
        // Within the file, so within the chip, whose size fits.
        let (start, end) = (u32::try_from(range.start).unwrap_or(0), u32::try_from(range.end).unwrap_or(0));
        let mut waiting = None;
        self.chip().image.read_now_or_later(
            chip.start + start..chip.start + end,
            reply,
            ReplyData::data,
            |reply| {
                let reply = waiting.insert(Shared::new(reply)).clone();
                Box::new(move |result| match (reply.take(), result) {
                    (None, _) => {}
                    (Some(reply), Ok(bytes)) => reply.data(bytes),
                    (Some(reply), Err(error)) => reply.error(errno(&error)),
                })
            },
        );
        if let Some(reply) = waiting {
            self.callers.look_after(request, reply);
        }
    }

    fn write(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(handle) = self.handles().find(handle) else {
            return reply.error(Errno::EBADF);
        };
        if let Node::Scratch(number) = handle.node() {
            match self.scratch().write(number, offset, data) {
                Ok(()) => return reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
                Err(scratch::Error::BecameChip) => {}
                Err(error) => return reply.error(error.into()),
            }
        }
        let node = handle.node();
        if !node.is_chip() {
            return reply.error(Errno::EBADF);
        }
        self.callers.answer(request, reply, |reply| {
            self.write_chip(&handle, node, offset, data, write_flags, reply);
        });
    }

    fn flush(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        match self.handles().find(handle) {
            Some(handle) => self.callers.answer(request, reply, |reply| {
                self.commit_handle(handle, move |result| answer(&reply, result));
            }),
            None => reply.error(Errno::EBADF),
        }
    }

    fn fsync(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        match self.handles().find(handle) {
            Some(handle) => {
                // Somebody who has not written may still want to be sure of what others have.
                if handle.node().is_chip() {
                    handle.mark_written();
                }
                let invalidator = self.chip().invalidator.clone();
                self.callers.answer(request, reply, |reply| {
                    self.commit_handle(handle, move |result| {
                        // Of pages that came from a mapping the kernel has been told already, but other names' copies are only
                        // just being dropped: who writes to one of those next must not bring back what it held before.
                        invalidator.settle(Box::new(move || answer(&reply, result)));
                    });
                });
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
        if let Some(handle) = self.handles().close(handle) {
            if let Node::Scratch(number) = handle.opened {
                self.scratch().close(number);
            }
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
        let Some(directory) = self.chip().tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        self.entries.once_known(directory, move |entries| {
            let mut cookie = offset;
            while let Some(entry) = entries.behind(directory, cookie) {
                if reply.add(entry.node.inode(), entry.cookie, entry.node.kind(), entry.name) {
                    break;
                }
                cookie = entry.cookie;
            }
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(directory) = self.chip().tree.node(inode) else {
            return reply.error(Errno::ENOENT);
        };
        self.entries.once_known(directory, move |entries| {
            let mut cookie = offset;
            while let Some(Entry { node, name, cookie: next }) = entries.behind(directory, cookie) {
                // A scratch file that has just gone is passed over.
                if let Some(attributes) = entries.attributes(node) {
                    if reply.add(node.inode(), next, name, &name_ttl(node), &attributes, GENERATION) {
                        break;
                    }
                }
                cookie = next;
            }
            reply.ok();
        });
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

    /// The chip, which is always full; scratch files take no space on it.
    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        let sectors = u64::from(self.chip().image.size() / SECTOR_LEN);
        let files = self.chip().tree.node_count() + self.scratch().count();
        reply.statfs(sectors, 0, 0, files, 0, SECTOR_LEN, LONGEST_NAME, SECTOR_LEN);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let entries = &self.entries;
        let created = entries.place(parent, name).and_then(|place| {
            let attributes = scratch::Attributes::new(mode & !umask, request.uid(), request.gid());
            let node = entries.create(place, attributes)?;
            let (handle, flags) = entries.open(node, flags, request.pid())?;
            Ok((node, entries.attributes(node).ok_or(Errno::ENOENT)?, handle, flags))
        });
        match created {
            Ok((node, attributes, handle, flags)) => {
                reply.created(&name_ttl(node), &attributes, GENERATION, handle, flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.entries.place(parent, name).and_then(|place| self.entries.unlink(&place)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        match (self.entries.place(parent, name), self.entries.place(new_parent, new_name)) {
            (Ok(from), Ok(to)) => self.callers.answer(request, reply, |reply| {
                self.rename_entry(&from, to, flags, move |result| answer(&reply, result));
            }),
            (Err(error), _) | (_, Err(error)) => reply.error(error),
        }
    }

    fn ioctl(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        let Some(handle) = self.handles().find(handle) else {
            return reply.error(Errno::EBADF);
        };
        self.callers.answer(request, reply, |reply| {
            self.answer_ioctl(&handle, command, input, move |result| match (reply.take(), result) {
                (None, _) => {}
                (Some(reply), Ok((value, output))) => reply.ioctl(value, &output),
                (Some(reply), Err(error)) => reply.error(error),
            });
        });
    }

    // A chip has the files that it has, and scratch files are plain ones.

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

/// How long the kernel may keep a name. A root that is always asked for shows at once when this process has died. Of a file that is
/// renamed the kernel takes its own view of what is where, which differs: the chip file is still there, and what was renamed over
/// it is gone.
fn name_ttl(node: Node) -> Duration {
    if node.is_directory() && node != Node::Root { TTL } else { Duration::ZERO }
}

/// How long the kernel may keep attributes: until it is told that they have changed. `info.json` and `map.svg` are
/// others each time.
fn attributes_ttl(node: Node) -> Duration {
    match node {
        Node::Info | Node::Map | Node::Root | Node::Scratch(_) => Duration::ZERO,
        _ => TTL,
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn answer(reply: &Shared<ReplyEmpty>, result: Result<(), Errno>) {
    match (reply.take(), result) {
        (None, _) => {}
        (Some(reply), Ok(())) => reply.ok(),
        (Some(reply), Err(error)) => reply.error(error),
    }
}
