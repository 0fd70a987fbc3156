//! A spidev node without a kernel driver: a FUSE file whose ioctls are spidev's, with a simulated chip on its wires.
//!
//! What the ioctls do is in `wires`; this serves the file.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, IoctlFlags,
    LockOwner, MountOption, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyIoctl, Request, Session,
};
use nix::unistd::{Pid, getegid, geteuid};
use norfuse::spi::sim::model::{Configuration, Model};
use norfuse::spi::sim::storage::Storage;
use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;

use super::bytes::assert_same;
use super::mounts::detach_all_under;
use super::spidev_abi::{Ioctl, TRANSFER_LEN, Transfer};
use super::wire_clock::WireClock;
use super::wires::Wires;

/// The node's name in its directory, and its inode.
const NAME: &str = "spidev0.0";
const NODE: INodeNo = INodeNo(2);

/// A mounted node with its chip. Drop it after whoever has it open has ended.
pub(crate) struct SpidevNode {
    wires: Arc<Mutex<Wires>>,
    session: Option<BackgroundSession>,
    directory: TempDir,
}

impl SpidevNode {
    /// A node with an FM25Q128A that holds `contents`.
    pub(crate) fn new(contents: &[u8]) -> Self {
        Self::with_configuration(contents, Configuration::default())
    }

    /// A node with a chip of another kind, as large as `contents`.
    pub(crate) fn with_configuration(contents: &[u8], configuration: Configuration) -> Self {
        let size = u32::try_from(contents.len()).unwrap();
        let model = Model::new(Storage::memory_of(size, contents.to_vec()), configuration);
        Self::serve(Wires::new(model, WireClock::saving()))
    }

    /// A node whose messages take as long as the wire and the chip would.
    pub(crate) fn in_real_time(contents: &[u8]) -> Self {
        let model = Model::new(Storage::memory(contents.to_vec()), Configuration::default());
        Self::serve(Wires::new(model, WireClock::real()))
    }

    fn serve(wires: Wires) -> Self {
        let wires = Arc::new(Mutex::new(wires));
        let directory = tempfile::Builder::new().prefix("norfuse-spidev-").tempdir().unwrap();
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("norfuse-test-spidev".to_owned())];
        let node = Node { wires: Arc::clone(&wires), born: SystemTime::now() };
        let session = Session::new(node, directory.path(), &config).and_then(Session::spawn);
        let session = session.unwrap_or_else(|error| panic!("cannot mount the spidev node: {error}"));
        Self { wires, session: Some(session), directory }
    }

    /// The node's path, to be given to norfuse.
    pub(crate) fn device(&self) -> String {
        let path: PathBuf = self.directory.path().join(NAME);
        path.into_os_string().into_string().unwrap()
    }

    /// The node and the chip, locked; messages wait meanwhile.
    pub(crate) fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock()
    }

    /// All bytes of the chip.
    pub(crate) fn contents(&self) -> Vec<u8> {
        self.wires().model.contents().unwrap()
    }

    /// Fails the test unless the chip holds exactly `expected` and was never used wrongly.
    #[track_caller]
    pub(crate) fn assert_chip(&self, expected: &[u8]) {
        assert_same(&self.contents(), expected, "the chip");
        self.assert_clean();
    }

    /// Fails the test if the chip was used wrongly.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let wires = self.wires();
        let violations = wires.model.violations();
        assert_eq!(violations.total(), 0, "the chip was used wrongly: {violations:?}");
        assert!(!wires.is_selected(), "chip select is still asserted");
    }
}

impl Drop for SpidevNode {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            if let Err(error) = session.umount_and_join() {
                eprintln!("{NAME}: {error}");
            }
        }
        detach_all_under(self.directory.path());
    }
}

/// The file system with the one file.
struct Node {
    wires: Arc<Mutex<Wires>>,
    born: SystemTime,
}

impl Node {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_node = inode == NODE;
        FileAttr {
            ino: inode,
            size: 0,
            blocks: 0,
            atime: self.born,
            mtime: self.born,
            ctime: self.born,
            crtime: self.born,
            kind: if is_node { FileType::RegularFile } else { FileType::Directory },
            perm: if is_node { 0o660 } else { 0o755 },
            nlink: 1,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn answer(&self, ioctl: Ioctl, input: &[u8], caller: Pid) -> Result<(i32, Vec<u8>), Errno> {
        let mut wires = self.wires.lock();
        match ioctl {
            Ioctl::Get(setting) => {
                let value = wires.value(setting).to_ne_bytes();
                let bytes = if setting.len() == 1 {
                    vec![u32::from_ne_bytes(value).to_le_bytes()[0]]
                } else {
                    value.to_vec()
                };
                Ok((0, bytes))
            }
            Ioctl::Set(setting) => {
                let value = match *input {
                    [value] => u32::from(value),
                    [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
                    _ => return Err(Errno::EINVAL),
                };
                wires.set(setting, value)?;
                Ok((0, Vec::new()))
            }
            Ioctl::Message { count } => {
                let transfers: Vec<Transfer> = input
                    .chunks_exact(TRANSFER_LEN)
                    .filter_map(|bytes| bytes.try_into().ok())
                    .map(Transfer::decode)
                    .collect();
                if transfers.len() != count {
                    return Err(Errno::EINVAL);
                }
                if transfers.is_empty() {
                    return Ok((0, Vec::new()));
                }
                Ok((wires.run(&transfers, caller)?, Vec::new()))
            }
        }
    }
}

impl Filesystem for Node {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&Duration::MAX, &self.attributes(NODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::MAX, &self.attributes(inode));
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn ioctl(
        &self,
        request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        number: u32,
        input: &[u8],
        _output_len: u32,
        reply: ReplyIoctl,
    ) {
        let caller = i32::try_from(request.pid()).map(Pid::from_raw);
        let answer = match (Ioctl::decode(number), caller) {
            (Some(ioctl), Ok(caller)) => self.answer(ioctl, input, caller),
            _ => Err(Errno::ENOTTY),
        };
        match answer {
            Ok((result, output)) => reply.ioctl(result, &output),
            Err(error) => reply.error(error),
        }
    }
}
