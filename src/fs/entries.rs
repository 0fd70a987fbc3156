//! Names and what is behind them: which file is where, its attributes, what it holds if that is not the chip's, and how it is opened.
//!
//! Some of it is known only once the chip has been looked at, so whoever asks may be called back; see [`Entries::once_known`].

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileHandle, FopenFlags, INodeNo};

use super::chip_files::ChipFiles;
use super::handle::Opening;
use super::info::InfoFile;
use super::map::MapFile;
use super::node::Node;
use super::scratch::{self, Place, ScratchFiles};
use super::survey::Survey;
use crate::facts::hex;

/// Cookies of a directory's listing from here on are those of scratch files.
const FIRST_SCRATCH_COOKIE: u64 = 1 << 32;

/// The longest name in bytes.
pub(super) const LONGEST_NAME: u32 = 255;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Entries {
    pub(super) chip: ChipFiles,
    pub(super) scratch: Arc<ScratchFiles>,
    pub(super) info: Arc<InfoFile>,
    pub(super) map: Arc<MapFile>,
    pub(super) survey: Arc<Survey>,
}

/// What readdir has of a file.
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) name: OsString,
    /// What to go on behind.
    pub(super) cookie: u64,
}

impl Entries {
    /// Does `work` once it is known what there is in `directory`, which may take until the chip has been looked at.
    pub(super) fn once_known(&self, directory: Node, work: impl FnOnce(&Self) + Send + 'static) {
        if directory == Node::Partitions {
            let entries = self.clone();
            self.survey.once_settled(Box::new(move || work(&entries)));
        } else {
            work(self);
        }
    }

    /// Does `work` once it is known what a file holds that is not the chip's, or that this will not be known.
    pub(super) fn once_readable(&self, node: Node, work: impl FnOnce(Result<&Self, Errno>) + Send + 'static) {
        match node {
            Node::Info => {
                let entries = self.clone();
                self.survey.then(Box::new(move || work(Ok(&entries))));
            }
            Node::Map => {
                let entries = self.clone();
                self.map.draw(Box::new(move |result| work(result.map(|()| &entries))));
            }
            _ => work(Ok(self)),
        }
    }

    /// A name in a directory, whether or not there is something.
    pub(super) fn place(&self, parent: INodeNo, name: &OsStr) -> Result<Place, Errno> {
        let directory = self.chip.tree.node(parent).ok_or(Errno::ENOENT)?;
        if !directory.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if name.len() > LONGEST_NAME as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(Place::new(directory, name))
    }

    /// What is at a place, if there is something.
    pub(super) fn find(&self, place: &Place) -> Option<Node> {
        let scratch = || self.scratch.find(place).map(Node::Scratch);
        self.chip.tree.lookup(place.directory, &place.name).or_else(scratch)
    }

    /// The entry of a directory behind `cookie`: first what is always there, then scratch files.
    pub(super) fn behind(&self, directory: Node, cookie: u64) -> Option<Entry> {
        if cookie < FIRST_SCRATCH_COOKIE {
            if let Some((node, name)) = self.chip.tree.entry(directory, cookie) {
                return Some(Entry { node, name, cookie: cookie + 1 });
            }
        }
        let after = cookie.saturating_sub(FIRST_SCRATCH_COOKIE);
        let (number, name) = self.scratch.next_in(directory, after)?;
        Some(Entry { node: Node::Scratch(number), name, cookie: FIRST_SCRATCH_COOKIE + number })
    }

    /// None of a scratch file that is gone.
    pub(super) fn attributes(&self, node: Node) -> Option<FileAttr> {
        match node {
            Node::Scratch(number) => self.scratch.attributes(number),
            // Whoever looks before and after reading, as tar does, must find the file that was read.
            Node::Info | Node::Map => {
                let (len, time) = self
                    .chip
                    .handles
                    .newest_content(node)
                    .unwrap_or_else(|| (self.len(node), SystemTime::now()));
                let attributes = self.chip.attributes.of(node, len);
                Some(FileAttr { atime: time, mtime: time, ctime: time, ..attributes })
            }
            _ => Some(self.chip.attributes.of(node, self.len(node))),
        }
    }

    fn len(&self, node: Node) -> u64 {
        if node.is_directory() {
            0
        } else if node.is_chip() {
            u64::from(self.chip.len(node))
        } else if node == Node::Map {
            self.map.len() as u64
        } else {
            self.content(node).len() as u64
        }
    }

    /// What a file that is neither on the chip nor a scratch file holds now.
    fn content(&self, node: Node) -> Vec<u8> {
        let description = self.chip.image.description();
        match node {
            Node::JedecId => format!("{}\n", description.jedec_id).into_bytes(),
            Node::Info => self.info.text(),
            Node::Map => self.map.text(),
            Node::Sfdp => description.sfdp.clone().unwrap_or_default(),
            Node::UniqueId => {
                let id = description.unique_id.as_deref();
                id.map(|id| format!("{}\n", hex(id)).into_bytes()).unwrap_or_default()
            }
            Node::Root
            | Node::Raw
            | Node::Sectors
            | Node::Sector(_)
            | Node::Partitions
            | Node::Partition(_)
            | Node::Scratch(_) => Vec::new(),
        }
    }

    /// Opens a file with the flags of open(2) for a thread; returns the handle and how the kernel is to treat it.
    pub(super) fn open(
        &self,
        node: Node,
        flags: i32,
        opener: u32,
    ) -> Result<(FileHandle, FopenFlags), Errno> {
        // The kernel asks nobody's permissions for root.
        if flags & libc::O_ACCMODE != libc::O_RDONLY && self.chip.tree.is_protected(node) {
            return Err(Errno::EACCES);
        }
        if let Node::Scratch(number) = node {
            self.scratch.open(number)?;
        }
        let opening = Opening {
            len: self.chip.len(node),
            flags,
            content: self.content(node),
            opener,
            moment: self.chip.image.moment(),
        };
        let has_pages = node.is_chip() || matches!(node, Node::Scratch(_));
        let is_direct = !has_pages || self.chip.is_direct();
        let handling = if is_direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        Ok((self.chip.handles.open(node, opening), handling))
    }

    /// Makes an empty scratch file.
    pub(super) fn create(&self, place: Place, attributes: scratch::Attributes) -> Result<Node, Errno> {
        if self.find(&place).is_some() {
            return Err(Errno::EEXIST);
        }
        let directory = place.directory;
        let number = self.scratch.create(place, attributes)?;
        self.chip.attributes.touch_directories([directory]);
        Ok(Node::Scratch(number))
    }

    /// Removes a scratch file; nothing else can be removed.
    pub(super) fn unlink(&self, place: &Place) -> Result<(), Errno> {
        match self.find(place) {
            None => Err(Errno::ENOENT),
            Some(Node::Scratch(_)) => {
                self.scratch.unlink(place)?;
                self.chip.attributes.touch_directories([place.directory]);
                Ok(())
            }
            Some(_) => Err(Errno::EPERM),
        }
    }
}
