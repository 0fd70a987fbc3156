//! An `mtdparts=` in the bytes of a chip: in a boot loader's environment or in a kernel's command line.
//!
//! Only a suggestion: it may describe another chip or what was once on this one, so nothing comes of it unless the user says so.

use memchr::memmem;

use super::mtdparts::Mtdparts;

const KEY: &[u8] = b"mtdparts=";

/// The greatest length of a description in bytes: most kernels' command lines end here.
pub const LONGEST: usize = 2048;

/// The first description in `bytes` that is one of a chip of `size` bytes.
pub fn search(bytes: &[u8], size: u32) -> Option<Mtdparts> {
    memmem::find_iter(bytes, KEY).find_map(|start| description(&bytes[start + KEY.len()..], size))
}

/// The description that `bytes` begin with. One that does not end in there is none: it may go on.
fn description(bytes: &[u8], size: u32) -> Option<Mtdparts> {
    let len = bytes.iter().take(LONGEST + 1).position(|&byte| is_end(byte))?;
    let text = &bytes[..len];
    if !text.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let mtdparts = Mtdparts::parse(std::str::from_utf8(text).ok()?).ok()?;
    let is_one = mtdparts.place(size).is_ok_and(|partitions| !partitions.is_empty());
    is_one.then_some(mtdparts)
}

fn is_end(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\'')
}

/// `mtdparts` as an option of norfuse, ready for a shell. A description that [`search`] has found has no quotes.
pub fn as_option(mtdparts: &Mtdparts) -> String {
    format!("-o 'mtdparts={}'", mtdparts.text())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHIP_LEN: u32 = 16 << 20;

    fn found(bytes: &[u8]) -> Option<String> {
        search(bytes, CHIP_LEN).as_ref().map(as_option)
    }

    #[test]
    fn it_ends_where_a_command_line_or_an_environment_ends_it() {
        let expected = Some("-o 'mtdparts=256k(boot),-(rootfs)'".to_owned());
        for end in ["\0", " mem=40M", "\"", "'", "\n", "\r\n", "\t"] {
            let bytes = format!("\u{3}bootargs=console=ttyS0 mtdparts=spi0.0:256k(boot),-(rootfs){end}");
            assert_eq!(found(bytes.as_bytes()), expected, "{end:?}");
        }
        assert_eq!(found(b"mtdparts=mtdparts=nor:256k(boot),-(rootfs)\0"), expected);
        assert_eq!(found(b"mtdparts=256k(boot),-(rootfs)"), None);
    }

    #[test]
    fn what_is_no_description_of_this_chip_is_passed_over() {
        let bytes = b"mtdparts=\0mtdparts=%s\0mtdparts=x:32m(a)\0mtdparts=x:1m(\x1b)\0mtdparts=x:1m(\xff)\0mtdparts=x:2m(good)\0";
        assert_eq!(found(bytes), Some("-o 'mtdparts=2m(good)'".to_owned()));
    }

    #[test]
    fn what_is_longer_than_a_command_line_is_none() {
        let of_len = |len: usize| [b"mtdparts=", "1k,".repeat(len / 3).as_bytes(), b"1k\0"].concat();
        assert!(found(&of_len(LONGEST - 8)).is_some());
        assert!(found(&of_len(LONGEST + 8)).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_description_that_fits_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let bytes = [KEY, b"1k(", &bytes, b")", KEY, &bytes, b"\0"].concat();
            if let Some(mtdparts) = search(&bytes, CHIP_LEN) {
                prop_assert!(mtdparts.place(CHIP_LEN).is_ok());
                prop_assert!(!mtdparts.text().contains(['\'', ' ', '\n']));
            }
        }
    }
}
