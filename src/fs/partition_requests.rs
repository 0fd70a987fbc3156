//! Requests that need to know what the chip says of its partitions, and so may have to wait until it has been looked at.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{Errno, FopenFlags, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen};

use super::FlashFs;
use super::attributes::Attributes;
use super::node::{Node, Tree};
use super::requests::{GENERATION, ttl};

impl FlashFs {
    pub(super) fn lookup_partition(&self, name: &OsStr, reply: ReplyEntry) {
        let (tree, attributes) = (Arc::clone(&self.tree), Arc::clone(&self.attributes));
        let name = name.to_owned();
        self.survey.once_settled(Box::new(move || match tree.lookup(Node::Partitions, &name) {
            Some(node) => reply.entry(&ttl(node), &attributes_of(&tree, &attributes, node), GENERATION),
            None => reply.error(Errno::ENOENT),
        }));
    }

    pub(super) fn read_partitions(&self, offset: u64, mut reply: ReplyDirectory) {
        let tree = Arc::clone(&self.tree);
        self.survey.once_settled(Box::new(move || {
            for index in offset.. {
                let Some((node, name)) = tree.entry(Node::Partitions, index) else { break };
                if reply.add(node.inode(), index + 1, node.kind(), name) {
                    break;
                }
            }
            reply.ok();
        }));
    }

    pub(super) fn read_partitions_plus(&self, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (tree, attributes) = (Arc::clone(&self.tree), Arc::clone(&self.attributes));
        self.survey.once_settled(Box::new(move || {
            for index in offset.. {
                let Some((node, name)) = tree.entry(Node::Partitions, index) else { break };
                let attributes = attributes_of(&tree, &attributes, node);
                if reply.add(node.inode(), index + 1, name, &ttl(node), &attributes, GENERATION) {
                    break;
                }
            }
            reply.ok();
        }));
    }

    pub(super) fn open_info(&self, opener: u32, reply: ReplyOpen) {
        let (info, handles) = (Arc::clone(&self.info), Arc::clone(&self.handles));
        self.survey.then(Box::new(move || {
            let handle = handles.open(Node::Info, 0, false, info.text(), opener, 0);
            reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO);
        }));
    }
}

/// The attributes of a directory or of a file whose bytes are the chip's.
fn attributes_of(tree: &Tree, attributes: &Attributes, node: Node) -> fuser::FileAttr {
    attributes.of(node, tree.chip_range(node).len() as u64)
}
