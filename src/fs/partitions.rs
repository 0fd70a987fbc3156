//! Parts of the chip with names of their own, and where these come from: a layout file, the kernel's `mtdparts`, or the chip.
//!
//! Each source has a parser of its own below; this is what they have in common. Nothing in here reads the chip.

pub mod fmap;
pub mod layout;
pub mod mtdparts;
pub mod suggestion;

use std::collections::HashSet;
use std::ops::Range;

use mtdparts::Mtdparts;

/// What a partition's file is called behind the partition's name.
pub const FILE_SUFFIX: &str = ".bin";

/// A file name's greatest length on Linux, in bytes.
const LONGEST_FILE_NAME: usize = 255;

/// A part of the chip with a name. It may begin and end anywhere, and partitions may overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What [`check_name`] accepts.
    pub name: String,
    /// Its bytes on the chip; never empty.
    pub range: Range<u32>,
    /// Whether it must not be written through its own name.
    pub read_only: bool,
}

/// Which partitions the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the chip describes, should it do so.
    OfChip,
    /// Those of a layout file.
    Layout(Vec<Partition>),
    /// Those described in the kernel's words.
    Mtdparts(Mtdparts),
}

/// Who has said which partitions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A layout file.
    Layout,
    /// The user, in the kernel's words.
    Mtdparts,
    /// The chip.
    Fmap,
}

/// The partitions of one chip, within it and with a name for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Who has said so.
    pub source: Source,
    /// In the order in which they were described.
    pub list: Vec<Partition>,
}

/// Why partitions cannot be those of a chip.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A part of one lies behind the end of the chip.
    #[error("partition '{name}' ends at {end:#x}, behind the end of the chip at {size:#x}")]
    BehindTheEnd {
        /// The partition's name.
        name: String,
        /// The address behind its last byte.
        end: u64,
        /// The chip's size in bytes.
        size: u32,
    },
    /// Two have one name, and so would their files.
    #[error("two partitions are called '{0}'")]
    Duplicate(String),
}

/// What is wrong with a partition's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("a partition needs a name")]
    Empty,
    /// It would not be one file's name.
    #[error("a partition's name cannot be '.' or '..', and has no '/' and no control characters")]
    Forbidden,
    /// It would be too long as the name of a file.
    #[error("a partition's name has at most {} bytes", LONGEST_FILE_NAME - FILE_SUFFIX.len())]
    TooLong,
}

/// Checks that `name` can be that of a partition, whose file is `name` with [`FILE_SUFFIX`].
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if matches!(name, "." | "..") || name.contains(|c: char| c == '/' || c.is_control()) {
        Err(NameError::Forbidden)
    } else if name.len() + FILE_SUFFIX.len() > LONGEST_FILE_NAME {
        Err(NameError::TooLong)
    } else {
        Ok(())
    }
}

/// Checks that `partitions` lie within a chip of `size` bytes, and that each has a name of its own.
///
/// # Errors
/// Where that is not so.
pub fn check(partitions: &[Partition], size: u32) -> Result<(), Error> {
    let mut names = HashSet::new();
    for Partition { name, range, .. } in partitions {
        if range.end > size {
            return Err(Error::BehindTheEnd { name: name.clone(), end: u64::from(range.end), size });
        }
        if !names.insert(name) {
            return Err(Error::Duplicate(name.clone()));
        }
    }
    Ok(())
}

impl Wanted {
    /// The partitions on a chip of `size` bytes, unless it is left to the chip to say.
    ///
    /// # Errors
    /// Why this chip cannot have them.
    pub fn place(&self, size: u32) -> Result<Option<Placed>, Error> {
        let (source, list) = match self {
            Self::OfChip => return Ok(None),
            Self::Layout(partitions) => {
                check(partitions, size)?;
                (Source::Layout, partitions.clone())
            }
            Self::Mtdparts(mtdparts) => (Source::Mtdparts, mtdparts.place(size)?),
        };
        Ok(Some(Placed { source, list }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str, range: Range<u32>) -> Partition {
        Partition { name: name.to_owned(), range, read_only: false }
    }

    #[test]
    fn a_name_is_one_file_s_name() {
        for name in ["boot", "...", " ", "a b", "Grün", "a.bin", &"n".repeat(251)] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"n".repeat(252)), Err(NameError::TooLong));
        for name in [".", "..", "a/b", "/", "a\0b", "a\nb", "a\u{1b}[31m", "\u{85}"] {
            assert_eq!(check_name(name), Err(NameError::Forbidden), "{name:?}");
        }
    }

    #[test]
    fn partitions_may_overlap_and_end_with_the_chip_but_not_behind_it() {
        let list = [partition("all", 0..4096), partition("end", 4095..4096)];
        assert_eq!(check(&list, 4096), Ok(()));
        assert!(matches!(check(&list, 4095), Err(Error::BehindTheEnd { end: 4096, .. })));
    }

    #[test]
    fn a_name_is_given_once() {
        let list = [partition("a", 0..1), partition("b", 1..2), partition("a", 2..3)];
        assert_eq!(check(&list, 4096), Err(Error::Duplicate("a".to_owned())));
    }
}
