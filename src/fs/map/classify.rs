//! What a sector looks like by its bytes alone. Not for what it is: nothing is parsed in here.
//!
//! Of three questions the first that can be answered yes decides: is it all the same filler; is it so evenly mixed that it must
//! be compressed or encrypted; is it text? The rest is code or data.
//!
//! The bounds were measured on Debian 12, on sectors that were neither erased nor zero: how many are taken for text, and the entropy of
//! the others in bits a byte. Streams and file systems were made of the programs in `/usr/bin`.
//!
//! | sectors of | text | 1 % below | 99 % below | at or above `DENSE` |
//! |---|---:|---:|---:|---:|
//! | machine code: `.text` of `/usr/bin`, amd64, 47498 sectors | 0 % | 4.92 | 6.45 | 0.09 % |
//! | machine code: `.text` of libraries, arm64, 2191 | 0 % | 5.13 | 6.60 | 0 % (highest: 6.98) |
//! | a kernel, arm64, 10260 | 12 % | 0.05 | 6.64 | 0.5 % |
//! | xz and lzma streams, 9427 | 0 % | 7.94 | 7.96 | 100 % |
//! | gzip stream, 5735 | 0 % | 7.54 | 7.96 | 99.97 % |
//! | zstd stream, 5400 | 0 % | 7.62 | 7.96 | 99.91 % |
//! | squashfs, gzip, 6690 | 0 % | 7.56 | 7.96 | 99.97 % |
//! | squashfs, xz, 5582 | 0 % | 7.94 | 7.96 | 99.98 % |
//! | squashfs, lzo, 7278 | 0 % | 5.35 | 7.75 | 87 % |
//! | lzop stream, 7933 | 0.05 % | 5.14 | 7.56 | 74 % |
//! | lz4 -9 stream, 6668 | 0 % | 5.03 | 7.53 | 68 % |
//! | random bytes, 16384 | 0 % | 7.95 | 7.96 | 100 % |
//! | documentation, headers, configuration files, 17022 | 100 % | | | |
//! | tutorials in many languages, UTF-8 and older, 591 | 99.7 % | | | |
//!
//! So 7.0 lies above code and below whatever is compressed with an entropy coder; lzo and lz4 have none, and a part of what they make
//! looks like code.

use super::cells::Class;

/// A sector whose bytes have at least this entropy, in bits a byte, is compressed or encrypted.
const DENSE: f64 = 7.0;

/// Of the bytes that are no filler, the share of a text that is printable, in percent.
const PRINTABLE: usize = 95;

/// Fewer bytes than this that are no filler are no text, whatever they are.
const SHORTEST_TEXT: usize = 16;

/// What `sector` looks like.
pub(super) fn classify(sector: &[u8]) -> Class {
    if sector.iter().all(|&byte| byte == 0xFF) {
        Class::Erased
    } else if sector.iter().all(|&byte| byte == 0) {
        Class::Zero
    } else if entropy(sector) >= DENSE {
        Class::Dense
    } else if is_text(sector) {
        Class::Text
    } else {
        Class::Data
    }
}

/// Whether nearly all is printable UTF-8. What fills a sector up does not count: 00, which also ends strings, and FF.
fn is_text(sector: &[u8]) -> bool {
    let content = sector.iter().filter(|&&byte| !matches!(byte, 0 | 0xFF)).count();
    let printable: usize = sector.utf8_chunks().map(|chunk| printable_len(chunk.valid())).sum();
    content >= SHORTEST_TEXT && printable * 100 >= content * PRINTABLE
}

/// The bytes of what is printed, or sets it out.
fn printable_len(text: &str) -> usize {
    let is_printable = |character: &char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    text.chars().filter(is_printable).map(char::len_utf8).sum()
}

/// The entropy of the bytes, each taken by itself, in bits a byte: 0 where all are alike, 8 where all values are equally frequent.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    // Of an empty slice there are no counts.
    let share = |count: u32| f64::from(count) / bytes.len() as f64;
    counts.into_iter().filter(|&count| count > 0).map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sector of bytes without any structure (splitmix64).
    fn noise(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        (0..512).flat_map(|_| next().to_le_bytes()).collect()
    }

    /// `text` again and again, and `filler` behind it.
    fn padded(text: &[u8], len: usize, filler: u8) -> Vec<u8> {
        let mut sector: Vec<u8> = text.iter().copied().cycle().take(len).collect();
        sector.resize(4096, filler);
        sector
    }

    #[test]
    fn fillers_are_what_they_are() {
        assert_eq!(classify(&[0xFF; 4096]), Class::Erased);
        assert_eq!(classify(&[0; 4096]), Class::Zero);
        assert_eq!(classify(&[0xAA; 4096]), Class::Data);
        assert_eq!(classify(&[&[0xFF; 4095][..], &[0]].concat()), Class::Data);
    }

    #[test]
    fn text_is_text_with_and_without_filler_and_in_any_language() {
        for text in
            ["#!/bin/sh\n\techo hello\r\n", "bootdelay=1\0baudrate=115200\0", "Grüße, 你好，מה שלומך\n"]
        {
            for (len, filler) in [(4096, 0), (100, 0), (100, 0xFF)] {
                assert_eq!(classify(&padded(text.as_bytes(), len, filler)), Class::Text, "{text:?} {len}");
            }
        }
    }

    #[test]
    fn a_few_letters_or_too_many_others_are_no_text() {
        assert_eq!(classify(&padded(b"u-boot", 6, 0xFF)), Class::Data);
        assert_eq!(classify(&padded(b"some words\x01\x02", 4096, 0)), Class::Data);
    }

    #[test]
    fn noise_is_dense_and_half_of_it_is_not() {
        assert_eq!(classify(&noise(1)), Class::Dense);
        assert_eq!(classify(&padded(&noise(1), 2048, 0xFF)), Class::Data);
    }

    #[test]
    fn entropy_is_0_to_8_bits_a_byte() {
        assert!(entropy(&[7; 4096]).abs() < 1e-9);
        assert!((entropy(&padded(&[0, 1], 4096, 0)) - 1.0).abs() < 1e-9);
        let all: Vec<u8> = (0..=255).collect();
        assert!((entropy(&padded(&all, 4096, 0)) - 8.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_random_sector_is_dense(seed: u64) {
            let sector = noise(seed);
            prop_assert!((7.92..7.98).contains(&entropy(&sector)), "{}", entropy(&sector));
            prop_assert_eq!(classify(&sector), Class::Dense);
        }

        #[test]
        fn what_is_of_few_values_is_not_dense(values in prop::collection::vec(any::<u8>(), 1..128), picks in prop::collection::vec(any::<usize>(), 4096)) {
            let sector: Vec<u8> = picks.into_iter().map(|pick| values[pick % values.len()]).collect();
            prop_assert_ne!(classify(&sector), Class::Dense);
        }

        #[test]
        fn a_class_does_not_depend_on_the_order_of_sixteenths(seed: u64, by in 0_usize..16) {
            // ASCII only: elsewhere a character could be cut.
            let mut sector: Vec<u8> = noise(seed).into_iter().map(|byte| byte & 0x7F).collect();
            let class = classify(&sector);
            sector.rotate_left(by * 256);
            prop_assert_eq!(classify(&sector), class);
        }
    }
}
