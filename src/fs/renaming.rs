//! Renaming, which is how careful tools save: they write a file of another name beside the old one and rename it over that.
//!
//! A scratch file renamed over a chip file of the same size becomes its content. A chip file cannot leave its place, so renaming
//! one away makes a scratch file of the new name with the same content. All else is among scratch files.

use std::sync::Arc;
use std::time::SystemTime;

use fuser::{Errno, RenameFlags};

use super::FlashFs;
use super::chip_files::ChipFiles;
use super::node::Node;
use super::requests::LONGEST_REQUEST;
use super::scratch::{self, Place, ScratchFiles};
use super::worker;

/// What a rename comes to.
enum Rename {
    /// Give a scratch file another name.
    Scratch { number: u64, to: Place },
    /// Give two scratch files each other's name.
    Exchange { one: u64, other: u64 },
    /// Put a scratch file's content on the chip.
    OntoChip { number: u64, name: String, target: Node },
    /// Copy a chip file into a scratch file.
    FromChip { source: Node, to: Place },
}

impl FlashFs {
    pub(super) fn rename_entry(
        &self,
        from: &Place,
        to: Place,
        flags: RenameFlags,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let directories = [from.directory, to.directory];
        let attributes = Arc::clone(&self.chip().attributes);
        let done = move |result: Result<(), Errno>| {
            if result.is_ok() {
                attributes.touch_directories(directories);
            }
            done(result);
        };
        match self.what_to_rename(from, to, flags) {
            Err(error) => done(Err(error)),
            Ok(Rename::Scratch { number, to }) => {
                done(self.scratch().rename(number, to).map_err(Errno::from))
            }
            Ok(Rename::Exchange { one, other }) => {
                done(self.scratch().exchange(one, other).map_err(Errno::from));
            }
            Ok(Rename::OntoChip { number, name, target }) => {
                let (chip, scratch) = (self.chip().clone(), Arc::clone(&self.entries.scratch));
                worker::start("rename", move || put_on_chip(&chip, &scratch, number, &name, target), done);
            }
            Ok(Rename::FromChip { source, to }) => {
                let (chip, scratch) = (self.chip().clone(), Arc::clone(&self.entries.scratch));
                worker::start("rename", move || copy_from_chip(&chip, &scratch, source, to), done);
            }
        }
    }

    fn what_to_rename(&self, from: &Place, to: Place, flags: RenameFlags) -> Result<Rename, Errno> {
        let source = self.entries.find(from).ok_or(Errno::ENOENT)?;
        let target = self.entries.find(&to);
        if target.is_some() && flags.contains(RenameFlags::RENAME_NOREPLACE) {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return match (source, target) {
                (Node::Scratch(one), Some(Node::Scratch(other))) => Ok(Rename::Exchange { one, other }),
                (_, None) => Err(Errno::ENOENT),
                _ => Err(Errno::EINVAL),
            };
        }
        if flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return Err(Errno::EINVAL);
        }
        match (source, target) {
            (Node::Scratch(number), None | Some(Node::Scratch(_))) => Ok(Rename::Scratch { number, to }),
            (Node::Scratch(_), Some(target)) if self.chip().tree.is_protected(target) => Err(Errno::EACCES),
            (Node::Scratch(number), Some(target)) if target.is_chip() => {
                let name = from.name.to_string_lossy().into_owned();
                Ok(Rename::OntoChip { number, name, target })
            }
            (source, None | Some(Node::Scratch(_))) if source.is_chip() => {
                Ok(Rename::FromChip { source, to })
            }
            _ => Err(Errno::EPERM),
        }
    }
}

fn put_on_chip(
    chip: &ChipFiles,
    scratch: &ScratchFiles,
    number: u64,
    name: &str,
    target: Node,
) -> Result<(), Errno> {
    let len = chip.len(target);
    loop {
        let (found, generation) = scratch.content_state(number)?;
        if found != u64::from(len) {
            let target = chip.tree.path(target);
            log::warn!(
                "{name} has {found} bytes and cannot be renamed to {target}, which has {len}: a chip file keeps its size"
            );
            return Err(Errno::EINVAL);
        }
        for offset in (0..len).step_by(LONGEST_REQUEST as usize) {
            let piece = scratch
                .read(number, u64::from(offset), LONGEST_REQUEST, |bytes| bytes.map(<[u8]>::to_vec))?;
            chip.write_and_wait(target, offset, &piece)?;
        }
        chip.commit_and_wait(target, 0..len)?;
        let source = Node::Scratch(number);
        let times = scratch.attributes(number).map(|attributes| (attributes.atime, attributes.mtime));
        if scratch.become_chip(number, generation, || chip.handles.pass_on(source, target, len))? {
            // A renamed file keeps its times; by them rsync and make tell what is new.
            if let Some((accessed, modified)) = times {
                chip.attributes.set_times(target, Some(accessed), Some(modified));
                chip.drop_attributes(target);
            }
            return Ok(());
        }
    }
}

fn copy_from_chip(chip: &ChipFiles, scratch: &ScratchFiles, source: Node, to: Place) -> Result<(), Errno> {
    let len = chip.len(source);
    if !scratch.has_room_for(u64::from(len)) {
        return Err(Errno::ENOSPC);
    }
    let mut content = Vec::with_capacity(len as usize);
    for offset in (0..len).step_by(LONGEST_REQUEST as usize) {
        let end = len.min(offset + LONGEST_REQUEST);
        content.extend_from_slice(&chip.read_and_wait(source, offset..end)?);
    }
    let original = chip.attributes.of(source, u64::from(len));
    let attributes = scratch::Attributes {
        mode: original.perm,
        uid: original.uid,
        gid: original.gid,
        accessed: original.atime,
        modified: original.mtime,
        changed: SystemTime::now(),
    };
    scratch.create_with(to, content, attributes)?;
    Ok(())
}
