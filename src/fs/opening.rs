//! Names and open files: what is where, what may be made or removed, and how a file is opened.

use std::ffi::OsStr;

use fuser::{Errno, FileHandle, FopenFlags, INodeNo, Request};

use super::FlashFs;
use super::handle::{Handles, Opening};
use super::node::Node;
use super::requests::LONGEST_NAME;
use super::scratch::{self, Place};

impl FlashFs {
    pub(super) fn handles(&self) -> &Handles {
        &self.chip.handles
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

    pub(super) fn create_scratch(
        &self,
        place: Place,
        attributes: scratch::Attributes,
    ) -> Result<Node, Errno> {
        if self.find(&place).is_some() {
            return Err(Errno::EEXIST);
        }
        let directory = place.directory;
        let number = self.scratch.create(place, attributes)?;
        self.chip.attributes.touch_directories([directory]);
        Ok(Node::Scratch(number))
    }

    pub(super) fn unlink_entry(&self, place: &Place) -> Result<(), Errno> {
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

    /// Opens a file with the flags of open(2); returns the handle and how the kernel is to treat it.
    pub(super) fn open_handle(
        &self,
        request: &Request,
        node: Node,
        flags: i32,
    ) -> Result<(FileHandle, FopenFlags), Errno> {
        if let Node::Scratch(number) = node {
            self.scratch.open(number)?;
        }
        let opening = Opening {
            len: self.chip.len(node),
            flags,
            content: self.content(node),
            opener: request.pid(),
            moment: self.chip.image.moment(),
        };
        let has_pages = node.is_chip() || matches!(node, Node::Scratch(_));
        let is_direct = !has_pages || self.chip.is_direct();
        let handling = if is_direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        Ok((self.handles().open(node, opening), handling))
    }
}
