//! The chip as files: names, attributes, handles, and what FUSE requests mean for the bytes underneath.
//!
//! The FUSE threads that run in here never wait for the bus: a request that cannot be answered from memory is handed down and
//! answered from the bus thread.
//!
//! Two kinds of caching by the kernel could come between a reader and the one cache in the image:
//!
//! - Chip files are opened with `FOPEN_DIRECT_IO`, so reads and writes pass the page cache by. `raw.bin` and `sectors/*` are the
//!   same bytes, and a page cache for each name would have to be kept alike. Measured, direct reads of what is cached cost less
//!   than a tenth of the time on the wire, so nothing is lost.
//! - A mapping always has pages in the kernel. Where the kernel allows mappings of direct files (`FUSE_DIRECT_IO_ALLOW_MMAP`,
//!   Linux 6.6), pages of one name are dropped when another name is written, by a thread of its own and before the write
//!   returns. Older kernels do not map such files, so there chip files are opened with the page cache, and the same dropping
//!   keeps them alike; of several writes at a time, right after they have returned.
//!
//! Everything that is not on the chip and has a name of its own choice is a scratch file, in memory.
//!
//! Knows nothing of erases, and of the chip only what the image tells.

mod attributes;
mod callers;
mod chip_files;
mod errno;
mod handle;
mod info;
mod invalidate;
mod ioctl;
pub mod mount;
mod node;
mod opening;
mod renaming;
mod requests;
mod scratch;
mod worker;
mod writing;

use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use fuser::FileAttr;

use attributes::Attributes;
pub use attributes::Ownership;
use callers::Callers;
use chip_files::ChipFiles;
use handle::Handles;
pub use invalidate::Invalidations;
use node::{Node, Tree};
use scratch::{Place, ScratchFiles};

use crate::image::Image;

/// Scratch files may take this many times the chip's size where nothing else is said: as much as a new image and a backup.
const SCRATCH_PER_CHIP: u64 = 2;

/// Cookies of a directory's listing from here on are those of scratch files.
const FIRST_SCRATCH_COOKIE: u64 = 1 << 32;

/// How a chip's directory behaves.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Who owns the files and what may be done with them.
    pub ownership: Ownership,
    /// Whether chip files go through the kernel's page cache even if they could pass it by.
    pub page_cache: bool,
    /// How many bytes scratch files may take together; twice the chip's size where not given.
    pub scratch_limit: Option<u64>,
    /// Whether a write unlocks a protected chip.
    pub unlocks: bool,
}

/// A chip's directory, for one mount.
pub struct FlashFs {
    /// The device's name, for `info.json`.
    device: String,
    chip: ChipFiles,
    scratch: Arc<ScratchFiles>,
    callers: Callers,
    /// Whether chip files go through the page cache even if they could pass it by.
    page_cache: bool,
    /// Whether a write unlocks a protected chip.
    unlocks: bool,
}

impl FlashFs {
    /// The directory of `image`, which is on `device`. Start the second value's thread once there is a mount.
    pub fn new(image: Arc<Image>, device: String, settings: Settings) -> (Self, Invalidations) {
        let description = image.description();
        let tree = Tree::new(image.size(), description.sfdp.is_some(), description.unique_id.is_some());
        let tree = Arc::new(tree);
        let handles: Arc<Handles> = Arc::default();
        let (invalidator, invalidations) = invalidate::invalidator();
        image.on_correction({
            let (tree, handles, invalidator) = (Arc::clone(&tree), Arc::clone(&handles), invalidator.clone());
            Box::new(move |range| {
                invalidator.drop_copies(handles.all_kernel_copies(&tree, range), Box::new(|| {}));
            })
        });
        let scratch_limit = settings.scratch_limit.unwrap_or(SCRATCH_PER_CHIP * u64::from(image.size()));
        let chip = ChipFiles {
            image,
            tree,
            attributes: Arc::new(Attributes::new(settings.ownership)),
            handles,
            invalidator,
            maps_direct_files: Arc::default(),
            unsettled_writes: Arc::default(),
        };
        let fs = Self {
            device,
            chip,
            scratch: Arc::new(ScratchFiles::new(scratch_limit)),
            callers: Callers::default(),
            page_cache: settings.page_cache,
            unlocks: settings.unlocks,
        };
        (fs, invalidations)
    }

    /// What is at a place, if there is something.
    fn find(&self, place: &Place) -> Option<Node> {
        let scratch = || self.scratch.find(place).map(Node::Scratch);
        self.chip.tree.lookup(place.directory, &place.name).or_else(scratch)
    }

    /// The entry of a directory behind `cookie`, its name, and its own cookie: first what is always there, then scratch files.
    fn entry_behind(&self, directory: Node, cookie: u64) -> Option<(Node, OsString, u64)> {
        if cookie < FIRST_SCRATCH_COOKIE {
            if let Some((node, name)) = self.chip.tree.entry(directory, cookie) {
                return Some((node, name, cookie + 1));
            }
        }
        let after = cookie.saturating_sub(FIRST_SCRATCH_COOKIE);
        let (number, name) = self.scratch.next_in(directory, after)?;
        Some((Node::Scratch(number), name, FIRST_SCRATCH_COOKIE + number))
    }

    fn attributes(&self, node: Node) -> Option<FileAttr> {
        match node {
            Node::Scratch(number) => self.scratch.attributes(number),
            _ => Some(self.chip.attributes.of(node, self.len(node))),
        }
    }

    /// What a file that is neither on the chip nor a scratch file holds now.
    fn content(&self, node: Node) -> Vec<u8> {
        let image = &self.chip.image;
        let description = image.description();
        match node {
            Node::JedecId => format!("{}\n", description.jedec_id).into_bytes(),
            Node::Info => info::render(&self.device, description, &image.report()),
            Node::Sfdp => description.sfdp.clone().unwrap_or_default(),
            Node::UniqueId => description
                .unique_id
                .as_deref()
                .map(|id| format!("{}\n", info::hex(id)).into_bytes())
                .unwrap_or_default(),
            Node::Root | Node::Sectors | Node::Raw | Node::Sector(_) | Node::Scratch(_) => Vec::new(),
        }
    }

    fn len(&self, node: Node) -> u64 {
        match node {
            Node::Root | Node::Sectors => 0,
            Node::Raw | Node::Sector(_) => u64::from(self.chip.len(node)),
            _ => self.content(node).len() as u64,
        }
    }
}

/// The part of `offset..offset + size` that lies within a file of `len` bytes.
fn clamp(offset: u64, size: u32, len: usize) -> Range<usize> {
    let start = usize::try_from(offset).unwrap_or(len).min(len);
    let end = usize::try_from(offset.saturating_add(u64::from(size))).unwrap_or(len).min(len);
    start..end
}
