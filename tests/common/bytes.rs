//! Chip contents for tests, and their comparison.

/// The FM25Q128A's size in bytes.
pub(crate) const CHIP_LEN: usize = 16 << 20;

/// A sector's size in bytes.
pub(crate) const SECTOR_LEN: usize = 4096;

/// A chip full of bytes that repeat nowhere and are the same for the same `seed` (xorshift64*).
pub(crate) fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(CHIP_LEN);
    while bytes.len() < CHIP_LEN {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes
}

/// `chip` with `bytes` at `offset`.
pub(crate) fn patched(chip: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut patched = chip.to_vec();
    patched[offset..offset + bytes.len()].copy_from_slice(bytes);
    patched
}

/// Fails with the first difference instead of megabytes of numbers.
#[track_caller]
pub(crate) fn assert_same(actual: &[u8], expected: &[u8], what: &str) {
    assert_eq!(actual.len(), expected.len(), "length of {what}");
    let mut differing = actual.iter().zip(expected).enumerate().filter(|(_, (a, e))| a != e);
    if let Some((offset, (actual, expected))) = differing.next() {
        let more = differing.count();
        panic!(
            "{what} has {actual:#04x} instead of {expected:#04x} at {offset:#08x}, and {more} more differ"
        );
    }
}
