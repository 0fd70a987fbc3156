//! flashrom's layout files: a partition a line, as `START:END NAME`, in hexadecimal digits and with END being its last byte.
//!
//! Beyond what flashrom has, `#` begins a comment. Where flashrom guesses at what it does not understand, here that is an error.

use super::{NameError, Partition, check_name};

/// What is wrong with a layout file, and in which line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Error {
    line: usize,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("expected START:END NAME, such as 00000000:0003ffff boot")]
    Form,
    #[error("'{0}' is not a hexadecimal address")]
    Address(String),
    #[error("a partition cannot end before it begins")]
    Reversed,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("line {first} has a partition '{name}' too")]
    Duplicate { first: usize, name: String },
    #[error("there are no partitions")]
    Nothing,
}

/// Reads the text of a layout file.
///
/// # Errors
/// The first line that is not understood; also where there are no partitions at all.
pub fn parse(text: &str) -> Result<Vec<Partition>, Error> {
    let mut found: Vec<(usize, Partition)> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let fail = |fault| Error { line, fault };
        let Some(partition) = parse_line(content).map_err(fail)? else { continue };
        if let Some((first, same)) = found.iter().find(|(_, earlier)| earlier.name == partition.name) {
            return Err(fail(Fault::Duplicate { first: *first, name: same.name.clone() }));
        }
        found.push((line, partition));
    }
    if found.is_empty() {
        return Err(Error { line: text.lines().count().max(1), fault: Fault::Nothing });
    }
    Ok(found.into_iter().map(|(_, partition)| partition).collect())
}

/// What a line says, if it says anything.
fn parse_line(line: &str) -> Result<Option<Partition>, Fault> {
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(range) = words.next() else { return Ok(None) };
    let (Some(name), None) = (words.next(), words.next()) else { return Err(Fault::Form) };
    let (start, last) = range.split_once(':').ok_or(Fault::Form)?;
    let (start, last) = (address(start)?, address(last)?);
    if last < start {
        return Err(Fault::Reversed);
    }
    check_name(name)?;
    // No chip of norfuse's has that many bytes.
    let end = last.checked_add(1).ok_or_else(|| Fault::Address(format!("{last:x}")))?;
    Ok(Some(Partition { name: name.to_owned(), range: start..end, read_only: false }))
}

fn address(text: &str) -> Result<u32, Fault> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    // from_str_radix would take a sign, too.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let address = if is_number { u32::from_str_radix(digits, 16).ok() } else { None };
    address.ok_or_else(|| Fault::Address(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text:?} should say {message:?}: {error}");
    }

    #[test]
    fn a_line_is_a_partition_whose_end_is_its_last_byte() {
        let text =
            "\n# my camera\n00000000:0003ffff boot\r\n  0x40000:0x4FFFF  env # settings\n\n50000:50000 one\n";
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.range.clone())).collect();
        assert_eq!(found, [("boot", 0..0x4_0000), ("env", 0x4_0000..0x5_0000), ("one", 0x5_0000..0x5_0001)]);
    }

    #[test]
    fn partitions_may_overlap() {
        assert_eq!(parse("0:fff all\n0:ff a\n80:17f b").unwrap().len(), 3);
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        refuses("0:fff a\n\n1000 b", "line 3: expected START:END NAME");
        refuses("0:fff", "line 1: expected START:END NAME");
        refuses("0:fff a b", "expected START:END NAME");
        refuses("0:12345678901 a", "'12345678901' is not a hexadecimal address");
        refuses("0:+1 a", "'+1' is not");
        refuses(":1 a", "'' is not");
        refuses("0:0xg a", "'0xg' is not");
        refuses("0:1:2 a", "'1:2' is not");
        refuses("0:ffffffff a", "ffffffff");
        refuses("1000:fff a", "line 1: a partition cannot end before it begins");
        refuses("0:fff a/b", "no '/'");
        refuses("0:fff ..", "'..'");
        refuses("0:1 a\n2:3 b\n4:5 a", "line 3: line 1 has a partition 'a' too");
        refuses("# nothing\n", "there are no partitions");
        refuses("", "there are no partitions");
    }

    proptest! {
        #[test]
        fn any_text_is_a_layout_or_an_error(text in "(?s).*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_lines_are_partitions_with_names_of_their_own_or_an_error(text in "([0-9a-fx:]{0,9}[: ][0-9a-f]{1,9} [a-c./#]{0,3}\n){0,5}") {
            if let Ok(found) = parse(&text) {
                prop_assert!(super::super::check(&found, u32::MAX).is_ok());
                for partition in found {
                    prop_assert!(!partition.range.is_empty());
                    prop_assert_eq!(check_name(&partition.name), Ok(()));
                }
            }
        }
    }
}
