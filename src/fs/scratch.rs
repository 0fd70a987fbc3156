//! Scratch files: what editors and copying tools put beside the file that they are about to replace.
//!
//! They have names in the mount's directories, contents, owners, modes and times like files elsewhere, but live in memory, within
//! a bound, and are gone with the mount. What it means to rename one over a chip file is not decided here.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType};
use parking_lot::Mutex;

use super::node::Node;

/// A file counts as at least this many bytes, and in steps of it: empty ones are bounded, too.
const BLOCK_LEN: u64 = 4096;

/// Contents get memory in steps of this many bytes. Doubling would take twice what is needed.
const GROWTH: usize = 1 << 20;

const SET_ID_BITS: u16 = 0o6000;

/// All scratch files of a mount.
pub(super) struct ScratchFiles {
    /// How many bytes they may take together.
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_number: u64,
    files: BTreeMap<u64, File>,
    names: HashMap<Place, u64>,
    /// What all files count together, in bytes.
    used: u64,
}

/// Where a file is: its directory, and its name there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) directory: Node,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn new(directory: Node, name: &OsStr) -> Self {
        Self { directory, name: name.to_owned() }
    }
}

struct File {
    /// None once it is unlinked, or has become a chip file.
    place: Option<Place>,
    handles: u32,
    content: Vec<u8>,
    attributes: Attributes,
    /// Counts the changes to the content.
    generation: u64,
    /// Whether the chip holds its content now: whoever has it open goes on with the chip file that it was renamed over.
    has_become_chip: bool,
}

/// What a scratch file has beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
}

/// What is to be changed of it; none stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) accessed: Option<SystemTime>,
    pub(super) modified: Option<SystemTime>,
}

/// Why a scratch file cannot be read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// There is none of this number or name.
    NotFound,
    /// The name is taken.
    Exists,
    /// The bound does not allow for so much.
    NoSpace,
    /// It is a chip file by now, and the handle says which.
    BecameChip,
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::ENOENT,
            Error::Exists => Self::EEXIST,
            Error::NoSpace => Self::ENOSPC,
            Error::BecameChip => Self::ESTALE,
        }
    }
}

impl Attributes {
    pub(super) fn new(mode: u32, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        Self { mode: permission_bits(mode), uid, gid, accessed: now, modified: now, changed: now }
    }
}

fn permission_bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

impl File {
    fn new(place: Place, content: Vec<u8>, attributes: Attributes) -> Self {
        Self { place: Some(place), handles: 0, content, attributes, generation: 0, has_become_chip: false }
    }

    fn len(&self) -> u64 {
        self.content.len() as u64
    }

    fn mark_modified(&mut self) {
        let now = SystemTime::now();
        self.attributes.modified = now;
        self.attributes.changed = now;
        self.attributes.mode &= !SET_ID_BITS;
        self.generation += 1;
    }

    fn resize(&mut self, len: usize) -> Result<(), Error> {
        let missing = len.saturating_sub(self.content.capacity());
        if missing > 0 {
            let more = len.next_multiple_of(GROWTH) - self.content.len();
            self.content.try_reserve_exact(more).map_err(|_| Error::NoSpace)?;
        }
        self.content.resize(len, 0);
        if self.content.capacity() - len > GROWTH {
            self.content.shrink_to(len);
        }
        Ok(())
    }
}

/// What a file of `len` bytes counts.
fn counted(len: u64) -> u64 {
    len.max(1).checked_next_multiple_of(BLOCK_LEN).unwrap_or(u64::MAX)
}

impl State {
    fn file(&self, number: u64) -> Result<&File, Error> {
        self.files.get(&number).ok_or(Error::NotFound)
    }

    fn file_mut(&mut self, number: u64) -> Result<&mut File, Error> {
        self.files.get_mut(&number).ok_or(Error::NotFound)
    }

    /// A file whose content is its own.
    fn content_file(&mut self, number: u64) -> Result<&mut File, Error> {
        let file = self.file_mut(number)?;
        if file.has_become_chip { Err(Error::BecameChip) } else { Ok(file) }
    }

    fn add(&mut self, file: File, place: Place) -> u64 {
        self.last_number += 1;
        self.used += counted(file.len());
        self.files.insert(self.last_number, file);
        self.names.insert(place, self.last_number);
        self.last_number
    }

    /// Takes the name from a file, which ends unless somebody has it open.
    fn unname(&mut self, number: u64) {
        if let Ok(file) = self.file_mut(number) {
            if let Some(place) = file.place.take() {
                file.attributes.changed = SystemTime::now();
                self.names.remove(&place);
            }
        }
        self.drop_if_unused(number);
    }

    fn drop_if_unused(&mut self, number: u64) {
        if self.file(number).is_ok_and(|file| file.place.is_none() && file.handles == 0) {
            if let Some(file) = self.files.remove(&number) {
                self.used -= counted(file.len());
            }
        }
    }

    fn set_place(&mut self, number: u64, place: Place) {
        if let Ok(file) = self.file_mut(number) {
            file.attributes.changed = SystemTime::now();
            file.place = Some(place.clone());
            self.names.insert(place, number);
        }
    }
}

impl ScratchFiles {
    /// None yet, and at most `limit` bytes of them ever.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn count(&self) -> u64 {
        self.state.lock().files.len() as u64
    }

    /// Makes an empty file and returns its number.
    pub(super) fn create(&self, place: Place, attributes: Attributes) -> Result<u64, Error> {
        let mut state = self.state.lock();
        if state.names.contains_key(&place) {
            return Err(Error::Exists);
        }
        if state.used + counted(0) > self.limit {
            return Err(Error::NoSpace);
        }
        let file = File::new(place.clone(), Vec::new(), attributes);
        Ok(state.add(file, place))
    }

    /// Whether there is room for another file of `len` bytes.
    pub(super) fn has_room_for(&self, len: u64) -> bool {
        self.state.lock().used + counted(len) <= self.limit
    }

    /// Makes a file with a content, in place of one of that name if there is one.
    pub(super) fn create_with(
        &self,
        place: Place,
        content: Vec<u8>,
        attributes: Attributes,
    ) -> Result<u64, Error> {
        let mut state = self.state.lock();
        if state.used + counted(content.len() as u64) > self.limit {
            return Err(Error::NoSpace);
        }
        if let Some(&replaced) = state.names.get(&place) {
            state.unname(replaced);
        }
        let file = File::new(place.clone(), content, attributes);
        Ok(state.add(file, place))
    }

    pub(super) fn find(&self, place: &Place) -> Option<u64> {
        self.state.lock().names.get(place).copied()
    }

    /// The file of `directory` with the lowest number above `after`, and its name.
    pub(super) fn next_in(&self, directory: Node, after: u64) -> Option<(u64, OsString)> {
        let state = self.state.lock();
        state.files.range((Excluded(after), Unbounded)).find_map(|(&number, file)| {
            let place = file.place.as_ref().filter(|place| place.directory == directory)?;
            Some((number, place.name.clone()))
        })
    }

    /// As the kernel wants them.
    pub(super) fn attributes(&self, number: u64) -> Option<FileAttr> {
        let state = self.state.lock();
        let file = state.file(number).ok()?;
        let Attributes { mode, uid, gid, accessed, modified, changed } = file.attributes;
        Some(FileAttr {
            ino: Node::Scratch(number).inode(),
            size: file.len(),
            blocks: file.len().div_ceil(512),
            atime: accessed,
            mtime: modified,
            ctime: changed,
            crtime: changed,
            kind: FileType::RegularFile,
            perm: mode,
            nlink: u32::from(file.place.is_some()),
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    pub(super) fn change(&self, number: u64, changes: Changes) -> Result<(), Error> {
        let mut state = self.state.lock();
        let attributes = &mut state.file_mut(number)?.attributes;
        if changes.uid.is_some() || changes.gid.is_some() {
            attributes.mode &= !SET_ID_BITS;
        }
        if let Some(mode) = changes.mode {
            attributes.mode = permission_bits(mode);
        }
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.accessed = changes.accessed.unwrap_or(attributes.accessed);
        attributes.modified = changes.modified.unwrap_or(attributes.modified);
        attributes.changed = SystemTime::now();
        Ok(())
    }

    /// Makes a file `len` bytes long, with zeros behind what there was.
    pub(super) fn resize(&self, number: u64, len: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let before = state.content_file(number)?.len();
        self.grow(&mut state, number, before, len)?;
        state.file_mut(number)?.mark_modified();
        Ok(())
    }

    fn grow(&self, state: &mut State, number: u64, before: u64, len: u64) -> Result<(), Error> {
        let others = state.used - counted(before);
        if len > before && others.checked_add(counted(len)).is_none_or(|used| used > self.limit) {
            return Err(Error::NoSpace);
        }
        state.file_mut(number)?.resize(usize::try_from(len).map_err(|_| Error::NoSpace)?)?;
        state.used = others + counted(len);
        Ok(())
    }

    /// Hands the bytes of `offset..offset + len`, as far as there are any, to `answer`, with the files locked.
    pub(super) fn read<T>(
        &self,
        number: u64,
        offset: u64,
        len: u32,
        answer: impl FnOnce(Result<&[u8], Error>) -> T,
    ) -> T {
        let mut state = self.state.lock();
        match state.content_file(number) {
            Ok(file) => answer(Ok(&file.content[super::clamp(offset, len, file.content.len())])),
            Err(error) => answer(Err(error)),
        }
    }

    /// Writes `data` at `offset`, with zeros before it where the file was shorter.
    pub(super) fn write(&self, number: u64, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.state.lock();
        let before = state.content_file(number)?.len();
        let end = offset.checked_add(data.len() as u64).ok_or(Error::NoSpace)?;
        if end > before {
            self.grow(&mut state, number, before, end)?;
        }
        let file = state.file_mut(number)?;
        let start = usize::try_from(offset).map_err(|_| Error::NoSpace)?;
        file.content[start..start + data.len()].copy_from_slice(data);
        file.mark_modified();
        Ok(())
    }

    /// Takes note that somebody has opened a file.
    pub(super) fn open(&self, number: u64) -> Result<(), Error> {
        self.state.lock().file_mut(number)?.handles += 1;
        Ok(())
    }

    /// Takes note that somebody has closed a file.
    pub(super) fn close(&self, number: u64) {
        let mut state = self.state.lock();
        if let Ok(file) = state.file_mut(number) {
            file.handles -= 1;
        }
        state.drop_if_unused(number);
    }

    pub(super) fn unlink(&self, place: &Place) -> Result<(), Error> {
        let mut state = self.state.lock();
        let number = *state.names.get(place).ok_or(Error::NotFound)?;
        state.unname(number);
        Ok(())
    }

    /// Renames a file, in place of another scratch file if there is one of the new name.
    pub(super) fn rename(&self, number: u64, to: Place) -> Result<(), Error> {
        let mut state = self.state.lock();
        let from = state.file(number)?.place.clone().ok_or(Error::NotFound)?;
        if from == to {
            return Ok(());
        }
        if let Some(&replaced) = state.names.get(&to) {
            state.unname(replaced);
        }
        state.names.remove(&from);
        state.set_place(number, to);
        Ok(())
    }

    /// Gives each of two files the other's name.
    pub(super) fn exchange(&self, one: u64, other: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let here = state.file(one)?.place.clone().ok_or(Error::NotFound)?;
        let there = state.file(other)?.place.clone().ok_or(Error::NotFound)?;
        state.set_place(one, there);
        state.set_place(other, here);
        Ok(())
    }

    /// How long a file is, and which generation its content has.
    pub(super) fn content_state(&self, number: u64) -> Result<(u64, u64), Error> {
        let mut state = self.state.lock();
        let file = state.content_file(number)?;
        Ok((file.len(), file.generation))
    }

    /// Lets a file become the chip file that holds its content of `generation`: it has no name any more, and `pass_on` is called
    /// to send those who have it open there. Returns whether that is so; a content that has changed since is to be written once more.
    pub(super) fn become_chip(
        &self,
        number: u64,
        generation: u64,
        pass_on: impl FnOnce(),
    ) -> Result<bool, Error> {
        let mut state = self.state.lock();
        let file = state.content_file(number)?;
        if file.generation != generation {
            return Ok(false);
        }
        file.has_become_chip = true;
        pass_on();
        state.unname(number);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
