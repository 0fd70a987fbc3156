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
//! Knows nothing of erases, and of the chip only what the image tells.

mod attributes;
mod errno;
mod handle;
mod info;
mod invalidate;
pub mod mount;
mod node;
mod partition_requests;
mod partition_table;
pub mod partitions;
mod requests;
mod survey;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use attributes::Attributes;
pub use attributes::Ownership;
use handle::Handles;
use info::InfoFile;
pub use invalidate::Invalidations;
use invalidate::Invalidator;
use node::{Node, Tree};
use partition_table::PartitionTable;
use partitions::Placed;
use survey::Survey;

use crate::image::Image;

/// A chip's directory, for one mount.
pub struct FlashFs {
    image: Arc<Image>,
    info: Arc<InfoFile>,
    survey: Arc<Survey>,
    tree: Arc<Tree>,
    attributes: Arc<Attributes>,
    handles: Arc<Handles>,
    invalidator: Invalidator,
    /// Whether chip files go through the page cache even if they could pass it by.
    page_cache: bool,
    /// Whether chip files pass the page cache by, and can still be mapped.
    maps_direct_files: AtomicBool,
    /// Writes to chip files that the kernel waits for, but for those of mapped pages.
    unanswered_writes: Arc<AtomicUsize>,
}

impl FlashFs {
    /// The directory of `image`, which is on `device`; with `page_cache` chip files go through the kernel's. Where no `partitions` are
    /// given, the chip's own are shown. Start the second value's thread once there is a mount.
    pub fn new(
        image: Arc<Image>,
        device: String,
        ownership: Ownership,
        page_cache: bool,
        partitions: Option<Placed>,
    ) -> (Self, Invalidations) {
        let description = image.description();
        let tree = Tree::new(image.size(), description.sfdp.is_some(), description.unique_id.is_some());
        let table = Arc::new(PartitionTable::new(partitions));
        let survey = Arc::new(Survey::new(Arc::clone(&image), Arc::clone(&table)));
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
        let fs = Self {
            image,
            info: Arc::new(info),
            survey,
            tree,
            attributes: Arc::new(Attributes::new(ownership, table)),
            handles,
            invalidator,
            page_cache,
            maps_direct_files: AtomicBool::new(false),
            unanswered_writes: Arc::default(),
        };
        (fs, invalidations)
    }

    /// What a file that is not on the chip holds now.
    fn content(&self, node: Node) -> Vec<u8> {
        let description = self.image.description();
        match node {
            Node::JedecId => format!("{}\n", description.jedec_id).into_bytes(),
            Node::Info => self.info.text(),
            Node::Sfdp => description.sfdp.clone().unwrap_or_default(),
            Node::UniqueId => description
                .unique_id
                .as_deref()
                .map(|id| format!("{}\n", info::hex(id)).into_bytes())
                .unwrap_or_default(),
            Node::Root
            | Node::Raw
            | Node::Sectors
            | Node::Sector(_)
            | Node::Partitions
            | Node::Partition(_) => Vec::new(),
        }
    }

    fn len(&self, node: Node) -> u64 {
        match node {
            Node::Root | Node::Sectors | Node::Partitions => 0,
            Node::Raw | Node::Sector(_) | Node::Partition(_) => self.tree.chip_range(node).len() as u64,
            _ => self.content(node).len() as u64,
        }
    }
}
