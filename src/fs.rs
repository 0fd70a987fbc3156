//! The chip as files: names, attributes, handles, and what FUSE requests mean for the bytes underneath.
//!
//! The FUSE threads that run in here never wait for the bus: a request that cannot be answered from memory is handed down and
//! answered from the bus thread.
//!
//! Caching by the kernel could come between a reader and the one cache in the image:
//!
//! - Chip files are opened with `FOPEN_DIRECT_IO`, so reads and writes pass the page cache by. `raw.bin` and `sectors/*` are the
//!   same bytes, and a page cache for each name would have to be kept alike. Measured, direct reads of what is cached cost less
//!   than a tenth of the time on the wire, so nothing is lost.
//! - A mapping always has pages in the kernel. Where the kernel allows mappings of direct files (`FUSE_DIRECT_IO_ALLOW_MMAP`,
//!   Linux 6.6), pages of one name are dropped when another name is written, by a thread of its own and before the write
//!   returns. Older kernels do not map such files, so there chip files are opened with the page cache, and the same dropping
//!   keeps them alike; of several writes at a time, right after they have returned.
//! - The kernel writes mapped pages back whole. Of a page from before somebody else's write only what was stored into it is taken.
//!
//! Everything that is not on the chip and has a name of its own choice is a scratch file, in memory.
//!
//! Knows nothing of erases, and of the chip only what the image tells.

mod attributes;
mod callers;
mod chip_files;
mod entries;
mod errno;
mod handle;
mod info;
mod invalidate;
mod ioctl;
mod map;
pub mod mount;
mod node;
mod partition_table;
pub mod partitions;
mod renaming;
mod requests;
mod scratch;
mod survey;
mod worker;
mod writing;

use std::ops::Range;
use std::sync::Arc;

use attributes::Attributes;
pub use attributes::Ownership;
use callers::Callers;
use chip_files::ChipFiles;
use entries::Entries;
use handle::Handles;
use info::InfoFile;
pub use invalidate::Invalidations;
use map::MapFile;
use node::Tree;
use partition_table::PartitionTable;
use partitions::Placed;
use scratch::ScratchFiles;
use survey::Survey;

use crate::image::Image;

/// Scratch files may take this many times the chip's size where nothing else is said: as much as a new image and a backup.
const SCRATCH_PER_CHIP: u64 = 2;

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
    entries: Entries,
    callers: Callers,
    /// Whether chip files go through the page cache even if they could pass it by.
    page_cache: bool,
    /// Whether a write unlocks a protected chip.
    unlocks: bool,
}

impl FlashFs {
    /// The directory of `image`, which is on `device`. Where no `partitions` are given, the chip's own are shown. Start the second
    /// value's thread once there is a mount.
    pub fn new(
        image: Arc<Image>,
        device: String,
        settings: Settings,
        partitions: Option<Placed>,
    ) -> (Self, Invalidations) {
        let description = image.description();
        let tree = Tree::new(image.size(), description.sfdp.is_some(), description.unique_id.is_some());
        let table = Arc::new(PartitionTable::new(partitions));
        let survey = Arc::new(Survey::new(Arc::clone(&image), Arc::clone(&table)));
        let map = MapFile::new(Arc::clone(&image), device.clone(), Arc::clone(&table), Arc::clone(&survey));
        let info = InfoFile {
            image: Arc::clone(&image),
            device,
            table: Arc::clone(&table),
            survey: Arc::clone(&survey),
        };
        let tree = Arc::new(tree.with_partitions(Arc::clone(&table)));
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
            attributes: Arc::new(Attributes::new(settings.ownership, table)),
            handles,
            invalidator,
            maps_direct_files: Arc::default(),
            unsettled_writes: Arc::default(),
        };
        let scratch = Arc::new(ScratchFiles::new(scratch_limit));
        let fs = Self {
            entries: Entries { chip, scratch, info: Arc::new(info), map: Arc::new(map), survey },
            callers: Callers::default(),
            page_cache: settings.page_cache,
            unlocks: settings.unlocks,
        };
        (fs, invalidations)
    }

    fn chip(&self) -> &ChipFiles {
        &self.entries.chip
    }

    fn handles(&self) -> &Handles {
        &self.entries.chip.handles
    }

    fn scratch(&self) -> &ScratchFiles {
        &self.entries.scratch
    }
}

/// The part of `offset..offset + size` that lies within a file of `len` bytes.
fn clamp(offset: u64, size: u32, len: usize) -> Range<usize> {
    let start = usize::try_from(offset).unwrap_or(len).min(len);
    let end = usize::try_from(offset.saturating_add(u64::from(size))).unwrap_or(len).min(len);
    start..end
}
