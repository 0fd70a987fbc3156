//! The kernel's `mtdparts=`: `[MTD-ID:]SIZE[@OFFSET][(NAME)][ro][lk]`, separated by commas, with `-` as the size of all that is left.
//!
//! Read as drivers/mtd/parsers/cmdlinepart.c reads it, with two differences: what reaches behind the end of the chip is an error and
//! not cut off, and only one device can be described.

use std::ops::Range;

use super::{Error as ChipError, NameError, Partition, check, check_name};

/// Partitions as the kernel's command line describes them, before it is known how large the chip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mtdparts {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    size: Size,
    /// Behind the entry before, where not given.
    offset: Option<u64>,
    name: String,
    read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Bytes(u64),
    Rest,
}

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A size or an offset is missing, or what stands in its place is not one.
    #[error("expected a number such as 64k, 2M or 0x10000 at '{0}'")]
    Number(String),
    /// A number is larger than any chip.
    #[error("the number at '{0}' is too large")]
    TooLarge(String),
    /// A partition has no bytes.
    #[error("a partition cannot have the size 0, as at '{0}'")]
    NoBytes(String),
    /// A parenthesis is not closed.
    #[error("there is no ) behind '{0}'")]
    Unclosed(String),
    /// A name cannot be a file's.
    #[error("at '{at}'")]
    Name {
        /// From the name on.
        at: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// Something follows what takes all that is left.
    #[error("nothing can follow a partition of the size '-', as '{0}' does")]
    BehindTheRest(String),
    /// Something else than a comma follows a partition.
    #[error("expected a comma or the end at '{0}'")]
    Delimiter(String),
    /// There is more than one device.
    #[error("only one device can be described: there is a ';'")]
    Devices,
}

impl Mtdparts {
    /// Reads a description. Names, sizes and offsets are checked as far as they can be without the chip.
    ///
    /// # Errors
    /// What is not understood, and from where on.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = without_mtd_id(text);
        let mut entries = Vec::new();
        let mut rest = text;
        loop {
            let (entry, behind) = entry(rest, entries.len())?;
            let is_rest = entry.size == Size::Rest;
            entries.push(entry);
            rest = match behind.strip_prefix(',') {
                None if behind.is_empty() => return Ok(Self { text: text.to_owned(), entries }),
                None if behind.starts_with(';') => return Err(Error::Devices),
                None => return Err(Error::Delimiter(behind.to_owned())),
                Some(next) if is_rest => return Err(Error::BehindTheRest(next.to_owned())),
                Some(next) => next,
            };
        }
    }

    /// The description, without the MTD id.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many partitions it describes.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The partitions on a chip of `size` bytes. As in the kernel, there is none for `-` where nothing is left.
    ///
    /// # Errors
    /// Which one does not lie within the chip, or that two have one name.
    pub fn place(&self, size: u32) -> Result<Vec<Partition>, ChipError> {
        let mut next = 0;
        let mut partitions = Vec::new();
        for entry in &self.entries {
            let start = entry.offset.unwrap_or(next);
            let end = match entry.size {
                Size::Bytes(len) => start.saturating_add(len),
                Size::Rest => start.max(u64::from(size)),
            };
            let range = within(start..end, size).ok_or_else(|| ChipError::BehindTheEnd {
                name: entry.name.clone(),
                end,
                size,
            })?;
            next = end;
            if !range.is_empty() {
                partitions.push(Partition { name: entry.name.clone(), range, read_only: entry.read_only });
            }
        }
        check(&partitions, size).map(|()| partitions)
    }
}

fn within(range: Range<u64>, size: u32) -> Option<Range<u32>> {
    let end = u32::try_from(range.end).ok().filter(|&end| end <= size)?;
    Some(u32::try_from(range.start).ok()?..end)
}

/// The id ends at the last colon before the first parenthesis; names may have colons, too.
fn without_mtd_id(text: &str) -> &str {
    let before_names = text.find('(').map_or(text, |first| &text[..first]);
    before_names.rfind(':').map_or(text, |colon| &text[colon + 1..])
}

/// The entry that `text` begins with, the `index`-th, and what is behind it.
fn entry(text: &str, index: usize) -> Result<(Entry, &str), Error> {
    let (size, rest) = match text.strip_prefix('-') {
        Some(rest) => (Size::Rest, rest),
        None => match number(text)? {
            (0, _) => return Err(Error::NoBytes(text.to_owned())),
            (bytes, rest) => (Size::Bytes(bytes), rest),
        },
    };
    let (offset, rest) = match rest.strip_prefix('@') {
        Some(rest) => number(rest).map(|(offset, rest)| (Some(offset), rest))?,
        None => (None, rest),
    };
    let (name, rest) = match rest.strip_prefix('(') {
        Some(named) => {
            let (name, rest) = named.split_once(')').ok_or_else(|| Error::Unclosed(rest.to_owned()))?;
            (name.to_owned(), rest)
        }
        None => (format!("Partition_{index:03}"), rest),
    };
    check_name(&name).map_err(|source| Error::Name { at: text.to_owned(), source })?;
    let (read_only, rest) = flag(rest, "ro");
    // The kernel leaves the chip's protection of such a partition alone, and so does norfuse.
    let (_, rest) = flag(rest, "lk");
    Ok((Entry { size, offset, name, read_only }, rest))
}

fn flag<'a>(text: &'a str, flag: &str) -> (bool, &'a str) {
    text.strip_prefix(flag).map_or((false, text), |rest| (true, rest))
}

/// The number that `text` begins with, and what is behind it. As the kernel's memparse reads it: decimal, hexadecimal behind 0x,
/// octal behind 0, times 1024 for each step along k, M, G in either case.
fn number(text: &str) -> Result<(u64, &str), Error> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', next, ..] if next.is_ascii_hexdigit() => (&text[2..], 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    let len = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(len);
    if digits.is_empty() {
        return Err(Error::Number(text.to_owned()));
    }
    let (shift, rest) = match rest.as_bytes().first() {
        Some(b'k' | b'K') => (10, &rest[1..]),
        Some(b'm' | b'M') => (20, &rest[1..]),
        Some(b'g' | b'G') => (30, &rest[1..]),
        _ => (0, rest),
    };
    let value = u64::from_str_radix(digits, radix).ok().and_then(|value| value.checked_mul(1 << shift));
    value.map(|value| (value, rest)).ok_or_else(|| Error::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error_text;

    const CHIP_LEN: u32 = 16 << 20;

    fn place(text: &str) -> Vec<(String, Range<u32>)> {
        let placed = Mtdparts::parse(text).unwrap().place(CHIP_LEN).unwrap();
        placed.into_iter().map(|partition| (partition.name, partition.range)).collect()
    }

    fn ranges(text: &str) -> Vec<Range<u32>> {
        place(text).into_iter().map(|(_, range)| range).collect()
    }

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        let parsed = Mtdparts::parse(text).map_err(|error| error_text(&error));
        let error = parsed.and_then(|parsed| parsed.place(CHIP_LEN).map_err(|error| error_text(&error)));
        let error = error.unwrap_err();
        assert!(error.contains(message), "{text:?} should say {message:?}: {error}");
    }

    #[test]
    fn partitions_follow_each_other_and_the_last_takes_the_rest() {
        let expected = [
            ("boot", 0..0x4_0000),
            ("env", 0x4_0000..0x5_0000),
            ("kernel", 0x5_0000..0x25_0000),
            ("rootfs", 0x25_0000..CHIP_LEN),
        ];
        for text in [
            "256k(boot),64k(env),2m(kernel),-(rootfs)",
            "norfuse:0x40000(boot),0200000(env),2M(kernel),-(rootfs)",
            "spi0.0:262144(boot),64K(env),0x800k(kernel),-(rootfs)",
            "mtdparts=a:b:256k(boot),64k(env),2048k(kernel),-(rootfs)",
        ] {
            let expected = expected.clone().map(|(name, range)| (name.to_owned(), range));
            assert_eq!(place(text), expected, "{text}");
        }
    }

    #[test]
    fn an_offset_moves_what_follows_too() {
        let found = ranges("64k@1m(a),64k(b),4k@0(c),1(d),-@15m(e)");
        let expected =
            [0x10_0000..0x11_0000, 0x11_0000..0x12_0000, 0..0x1000, 0x1000..0x1001, 0xf0_0000..CHIP_LEN];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_no_name_is_called_as_the_kernel_calls_it() {
        let names: Vec<_> = place("4k,4k(a),-").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Partition_000", "a", "Partition_002"]);
    }

    #[test]
    fn flags_follow_the_name_in_the_kernel_s_order() {
        let flags = |text| {
            let placed = Mtdparts::parse(text).unwrap().place(CHIP_LEN).unwrap();
            placed.iter().map(|partition| partition.read_only).collect::<Vec<_>>()
        };
        assert_eq!(flags("4k(a)ro,4k(b)rolk,4k(c)lk,4kro,4k(ro)"), [true, true, false, true, false]);
        refuses("4k(a)lkro", "at 'ro'");
    }

    #[test]
    fn a_name_may_have_a_comma_a_colon_and_blanks() {
        let names: Vec<_> = place("x:4k(a,b),4k(c:d),4k( e )").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a,b", "c:d", " e "]);
    }

    #[test]
    fn there_is_no_partition_of_nothing() {
        assert_eq!(place("16m(all),-(rest)"), [("all".to_owned(), 0..CHIP_LEN)]);
        refuses("0(a)", "size 0");
        refuses("0x0k(a)", "size 0");
    }

    #[test]
    fn what_does_not_lie_within_the_chip_is_an_error() {
        refuses("16m(a),1(b)", "partition 'b' ends at 0x1000001, behind the end of the chip at 0x1000000");
        refuses("17m(a)", "partition 'a'");
        refuses("1@16m(a)", "partition 'a'");
        refuses("-@17m(a)", "partition 'a'");
        refuses("8g(a)", "partition 'a'");
        refuses("1@0xffffffffffffffff(a)", "partition 'a'");
    }

    #[test]
    fn what_is_not_understood_is_shown() {
        refuses("", "number");
        refuses("boot", "at 'boot'");
        refuses("4k(a),", "at ''");
        refuses("(a)", "at '(a)'");
        refuses("4k@(a)", "at '(a)'");
        refuses("08k(a)", "size 0");
        refuses("018k(a)", "at '8k(a)'");
        refuses("4q(a)", "at 'q(a)'");
        refuses("4k(a", "no ) behind '(a'");
        refuses("4k(a)rw", "at 'rw'");
        refuses("-(a),4k(b)", "'4k(b)'");
        refuses("a:4k(a);b:4k(b)", "one device");
        refuses("99999999999999999999(a)", "too large");
        refuses("0xffffffffffffffffk(a)", "too large");
        refuses("4k()", "needs a name");
        refuses("4k(a/b)", "no '/'");
        refuses("4k(..)", "'..'");
        refuses("4k(a),4k(a)", "two partitions are called 'a'");
    }

    proptest! {
        #[test]
        fn any_text_is_partitions_or_an_error(text in ".*") {
            let _ = Mtdparts::parse(&text).map(|mtdparts| mtdparts.place(CHIP_LEN));
        }

        #[test]
        fn any_entries_are_partitions_within_the_chip_or_an_error(
            text in "([a-c]:)?([0-9x]{1,4}[kKmMgG]?|-)(@[0-9]{1,2}[kmg]?)?(\\([a-c./]{0,2}\\))?(ro)?(lk)?(,[1-9]{1,3}[km](\\([a-z]{1,3}\\))?){0,3}",
        ) {
            let placed = Mtdparts::parse(&text).map(|mtdparts| mtdparts.place(CHIP_LEN));
            for partition in placed.into_iter().flatten().flatten() {
                prop_assert!(!partition.range.is_empty() && partition.range.end <= CHIP_LEN);
                prop_assert_eq!(check_name(&partition.name), Ok(()));
            }
        }
    }
}
