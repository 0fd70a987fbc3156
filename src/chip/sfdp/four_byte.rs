//! What SFDP tells of addresses with four bytes: the 4-byte address instruction table, and dwords 1 and 16 of the basic one.

use super::{EraseType, table};
use crate::chip::addressing::Addressing;
use crate::chip::opcode;

const INSTRUCTION_TABLE_ID: u16 = 0xFF84;

/// Dword 1 of the instruction table: 13h, 12h, and the first of the four erase types.
const HAS_READ: u32 = 1;
const HAS_PAGE_PROGRAM: u32 = 1 << 6;
const HAS_FIRST_ERASE_TYPE: u32 = 1 << 9;

/// Dword 16 of the basic table: B7h enters, without and with 06h before; a dedicated instruction set; E9h exits, the same.
const ENTERED_BY_B7: u32 = 1 << 24;
const ENTERED_BY_06_B7: u32 = 1 << 25;
const HAS_INSTRUCTION_SET: u32 = 1 << 29;
const EXITED_BY_E9: u32 = 1 << 14;
const EXITED_BY_06_E9: u32 = 1 << 15;

/// How a part of more than 16 MiB takes addresses, and its erase types by the opcodes for that, given those by the usual ones in
/// the order of the basic table. None where it does not tell any way that norfuse knows.
///
/// Opcodes of their own come first, because nothing can happen to them; a mode only if it can be left again.
pub(super) fn addressing(
    space: &[u8],
    basic: &[u32],
    erases: &[Option<EraseType>; 4],
) -> Option<(Addressing, Vec<EraseType>)> {
    if let Some(found) = by_instruction_table(space, erases) {
        return Some(found);
    }
    let ways = basic.get(15).copied().unwrap_or(0);
    if ways & HAS_INSTRUCTION_SET != 0 {
        // Which ones these are, the standard leaves to the data sheet. All makers have those of the instruction table, except
        // that some lack that for 32 KiB.
        let erases: Vec<_> = erases
            .iter()
            .flatten()
            .filter(|erase| erase.opcode != opcode::BLOCK_ERASE_32K)
            .filter_map(|erase| {
                Some(EraseType { opcode: Addressing::FourByteOpcodes.erase(erase.opcode)?, ..erase.clone() })
            })
            .collect();
        return Some((Addressing::FourByteOpcodes, erases));
    }
    let mode = |needs_write_enable| Addressing::FourByteMode { needs_write_enable, shown_by: None };
    let addressing = if ways & (ENTERED_BY_B7 | EXITED_BY_E9) == ENTERED_BY_B7 | EXITED_BY_E9 {
        mode(false)
    } else if ways & ENTERED_BY_06_B7 != 0 && ways & (EXITED_BY_06_E9 | EXITED_BY_E9) != 0 {
        mode(true)
    } else {
        return None;
    };
    Some((addressing, erases.iter().flatten().cloned().collect()))
}

fn by_instruction_table(
    space: &[u8],
    erases: &[Option<EraseType>; 4],
) -> Option<(Addressing, Vec<EraseType>)> {
    let dwords = table(space, INSTRUCTION_TABLE_ID, 2).ok()?;
    let has = dwords[0];
    if has & HAS_READ == 0 || has & HAS_PAGE_PROGRAM == 0 {
        return None;
    }
    let opcodes = dwords[1].to_le_bytes();
    let erases: Vec<_> = (0..)
        .zip(erases)
        .zip(opcodes)
        .filter(|((index, _), _)| has & HAS_FIRST_ERASE_TYPE << index != 0)
        .filter_map(|((_, erase), opcode)| Some(EraseType { opcode, ..erase.clone()? }))
        .collect();
    Some((Addressing::FourByteOpcodes, erases))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dwords, space};
    use super::super::{Error, parse};
    use super::*;

    const MIB: u32 = 1 << 20;

    fn large() -> Vec<u32> {
        let mut dwords = dwords();
        dwords[1] = 256 * MIB - 1;
        dwords.resize(16, 0);
        dwords
    }

    /// A space that has an instruction table, too.
    fn with_instruction_table(has: u32, opcodes: u32) -> Vec<u8> {
        let mut space = space(&large());
        // A second parameter header moves the first table on.
        space[6] = 1;
        space[12] += 8;
        let end = u8::try_from(space.len() + 8).unwrap();
        space.splice(16..16, [0x84, 0, 1, 2, end, 0, 0, 0xFF]);
        space.extend([has, opcodes].iter().flat_map(|dword| dword.to_le_bytes()));
        space
    }

    fn opcodes(erases: &[EraseType]) -> Vec<(u32, u8)> {
        erases.iter().map(|erase| (erase.len, erase.opcode)).collect()
    }

    #[test]
    fn an_instruction_table_tells_the_opcodes_of_their_own() {
        // As on a W25Q512JV: the first and the third erase type of the basic table.
        let part = parse(&with_instruction_table(0xFFF0_0AFF, 0xFFDC_FF21)).unwrap();
        assert_eq!(part.size, 32 * MIB);
        assert_eq!(part.addressing, Addressing::FourByteOpcodes);
        assert_eq!(opcodes(&part.erase_types), [(4096, 0x21), (65536, 0xDC)]);
    }

    #[test]
    fn an_instruction_table_without_a_program_command_is_no_use() {
        assert_eq!(parse(&with_instruction_table(0xFFF0_0A3F, 0xFFDC_FF21)), Err(Error::Addressing));
    }

    #[test]
    fn a_mode_is_used_where_it_can_be_entered_and_left() {
        for (ways, needs_write_enable) in [(1 << 24 | 1 << 14, false), (1 << 25 | 1 << 15, true)] {
            let mut dwords = large();
            dwords[15] = ways;
            let part = parse(&space(&dwords)).unwrap();
            assert_eq!(part.addressing, Addressing::FourByteMode { needs_write_enable, shown_by: None });
            assert_eq!(opcodes(&part.erase_types), [(4096, 0x20), (32768, 0x52), (65536, 0xD8)]);
        }
    }

    #[test]
    fn an_instruction_set_without_a_table_is_that_which_all_have() {
        // As QEMU has it of an IS25WP256: B7h enters, but E9h does not leave.
        let mut dwords = large();
        dwords[15] = 0xA9FA_30F0;
        let part = parse(&space(&dwords)).unwrap();
        assert_eq!(part.addressing, Addressing::FourByteOpcodes);
        assert_eq!(opcodes(&part.erase_types), [(4096, 0x21), (65536, 0xDC)]);
    }

    #[test]
    fn a_large_part_that_tells_no_way_is_refused() {
        let mut dwords = large();
        assert_eq!(parse(&space(&dwords)), Err(Error::Addressing));
        dwords.truncate(9);
        assert_eq!(parse(&space(&dwords)), Err(Error::Addressing));
    }
}
