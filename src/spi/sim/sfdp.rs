//! The simulated chip's SFDP area: header, one parameter header, and a basic flash parameter
//! table of 16 dwords (JESD216B, revision 1.6).
//!
//! The table is synthetic. The FM25Q128A has an SFDP area, but its bytes are not public; this one
//! says what the model does, in the standard's terms.

use super::storage::CHIP_SIZE;

/// Where the basic flash parameter table begins, in bytes.
const TABLE: usize = 0x80;

/// The area's bytes; behind them a chip shifts out FF.
pub fn area() -> Vec<u8> {
    let mut area = vec![0xff; TABLE];
    // "SFDP", revision 1.6, one parameter header (counted from 0), unused.
    area[..8].copy_from_slice(b"SFDP\x06\x01\x00\xff");
    // Basic flash parameters (id FF00), revision 1.6, 16 dwords, table at 0x80.
    area[8..16].copy_from_slice(&[0x00, 0x06, 0x01, 16, 0x80, 0x00, 0x00, 0xff]);
    for dword in basic_flash_parameters() {
        area.extend_from_slice(&dword.to_le_bytes());
    }
    area
}

/// Dwords 1 to 16 as JESD216B numbers them.
fn basic_flash_parameters() -> [u32; 16] {
    [
        // 1: 4 KiB erase by 20h, writes of 64 bytes and more, non-volatile block protect bits,
        // 3-byte addresses, 1-1-2, 1-2-2, 1-4-4 and 1-1-4 reads, no DTR.
        0xfff1_20e5,
        // 2: density in bits, less one.
        (CHIP_SIZE / 2 - 1) * 16 + 15,
        // 3: 1-4-4 by EBh with 2 mode and 4 dummy clocks, 1-1-4 by 6Bh with 8.
        0x6b08_eb44,
        // 4: 1-1-2 by 3Bh with 8 dummy clocks, 1-2-2 by BBh with 2 mode and 2 dummy clocks.
        0xbb42_3b08,
        // 5 to 7: neither 2-2-2 nor 4-4-4 reads.
        0xffff_ffee,
        0x0000_ffff,
        0x0000_ffff,
        // 8 and 9: erase types 4 KiB 20h, 32 KiB 52h, 64 KiB D8h, none.
        0x520f_200c,
        0x0000_d810,
        erase_times(),
        program_and_chip_erase_times(),
        // 12 and 13: no suspend.
        0x8000_0100,
        0xffff_ffff,
        // 14: deep power-down by B9h, out by ABh within 3 us; poll SR1 by 05h.
        (0xb9 << 23) | (0xab << 15) | (1 << 13) | (2 << 8) | 0xf7,
        // 15: QE is bit 1 of SR2, read by 35h and written by 01h with two bytes.
        0xff50_0000,
        // 16: reset by 66h and 99h; non-volatile SR1 by 06h, volatile by 50h; no 4-byte addresses.
        0x0000_1088,
    ]
}

/// Dword 10: typical 48, 128 and 160 ms in units of 16 ms, at most 14 times that.
fn erase_times() -> u32 {
    const MAX_IS_14_TIMES: u32 = 6;
    let units_of_16_ms = |count: u32| (1 << 5) | (count - 1);
    MAX_IS_14_TIMES | (units_of_16_ms(3) << 4) | (units_of_16_ms(8) << 11) | (units_of_16_ms(10) << 18)
}

/// Dword 11: chip erase 40 s; byte program 32 us, then 3 us each; page program 640 us, at most 6
/// times that; pages of 256 bytes.
fn program_and_chip_erase_times() -> u32 {
    const MAX_IS_6_TIMES: u32 = 2;
    const PAGE_OF_2_TO_THE_8: u32 = 8;
    let page = (1 << 5) | (10 - 1);
    let first_byte = (1 << 4) | (4 - 1);
    let further_byte = (1 << 4) | (3 - 1);
    let chip = (2 << 5) | (10 - 1);
    MAX_IS_6_TIMES
        | (PAGE_OF_2_TO_THE_8 << 4)
        | (page << 8)
        | (first_byte << 14)
        | (further_byte << 19)
        | (chip << 24)
        | (1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dword(number: usize) -> u32 {
        let at = TABLE + 4 * (number - 1);
        u32::from_le_bytes(area()[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_header_points_at_a_table_of_16_dwords() {
        let area = area();
        assert_eq!(&area[..4], b"SFDP");
        let pointer = u32::from_le_bytes([area[12], area[13], area[14], 0]) as usize;
        assert_eq!(pointer, TABLE);
        assert_eq!(area.len(), pointer + 4 * usize::from(area[11]));
    }

    #[test]
    fn the_density_is_128_mbit() {
        assert_eq!(u64::from(dword(2)) + 1, 128 << 20);
    }

    #[test]
    fn the_erase_types_are_4k_32k_and_64k() {
        let types = dword(8).to_le_bytes().into_iter().chain(dword(9).to_le_bytes());
        assert_eq!(types.collect::<Vec<_>>(), [12, 0x20, 15, 0x52, 16, 0xd8, 0, 0]);
        assert_eq!(dword(1) & 3, 1);
        assert_eq!((dword(1) >> 8) & 0xff, 0x20);
    }

    #[test]
    fn the_erase_times_decode_as_jesd216b_says() {
        let typical_ms = |shift: u32| {
            let field = dword(10) >> shift;
            ((field & 0x1f) + 1) * [1, 16, 128, 1000][(field >> 5 & 3) as usize]
        };
        assert_eq!([4, 11, 18].map(typical_ms), [48, 128, 160]);
        assert_eq!(2 * ((dword(10) & 15) + 1), 14);
    }

    #[test]
    fn the_program_times_decode_as_jesd216b_says() {
        let dword = dword(11);
        assert_eq!(1 << (dword >> 4 & 15), 256);
        let page_us = ((dword >> 8 & 31) + 1) * [8, 64][(dword >> 13 & 1) as usize];
        assert_eq!(page_us, 640);
        let chip_ms = ((dword >> 24 & 31) + 1) * [16, 256, 4000, 64_000][(dword >> 29 & 3) as usize];
        assert_eq!(chip_ms, 40_000);
    }

    #[test]
    fn the_status_register_is_polled_and_power_down_left_as_the_model_does() {
        let dword = dword(14);
        assert_eq!(dword & 0b100, 0b100);
        assert_eq!([dword >> 23 & 0xff, dword >> 15 & 0xff], [0xb9, 0xab]);
    }
}
