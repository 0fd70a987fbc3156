//! What is fixed about a chip while it is mounted, for whoever shows it.

use std::ops::Range;

use crate::chip::part::Source;
use crate::chip::status::{Protection, RegisterMap};
use crate::chip::{Chip, ReadMode};

/// What a chip told of itself at start.
#[derive(Debug, Clone)]
pub struct Description {
    /// The maker's name of the part.
    pub name: String,
    /// Six hexadecimal digits.
    pub jedec_id: String,
    /// Capacity in bytes.
    pub size: u32,
    /// What one program command writes, in bytes.
    pub page_len: u32,
    /// What the erase commands erase, in bytes, ascending.
    pub erase_lens: Vec<u32>,
    /// Whether name and geometry are from norfuse's table rather than from the chip's SFDP.
    pub is_known: bool,
    /// The SFDP space, where there is one.
    pub sfdp: Option<Vec<u8>>,
    /// The unique id, where there is one.
    pub unique_id: Option<Vec<u8>>,
    /// Status registers 1 to 3.
    pub status_registers: [u8; 3],
    /// What the status registers protect under either map.
    protection: [Protection; 2],
    /// What the status registers protect if they mean what the FM25Q128A's boards show (map A).
    pub protection_map_a: String,
    /// What they protect if they mean what the newer FM25Q128 datasheet says (map B).
    pub protection_map_b: String,
}

/// How data is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCommand {
    /// 0Bh or 03h.
    pub opcode: u8,
    /// Why.
    pub reason: &'static str,
}

impl Description {
    pub(super) fn of(chip: &Chip) -> Self {
        let part = chip.part();
        let protection = [RegisterMap::A, RegisterMap::B].map(|map| chip.status().protection(map, part.size));
        let [map_a, map_b] = &protection;
        Self {
            name: part.name.clone(),
            jedec_id: chip.id().to_string(),
            size: part.size,
            page_len: part.page_len,
            erase_lens: part.erase_types.iter().map(|erase| erase.len).collect(),
            is_known: part.source == Source::Table,
            sfdp: chip.sfdp().map(<[u8]>::to_vec),
            unique_id: chip.unique_id().map(<[u8]>::to_vec),
            status_registers: chip.status().0,
            protection_map_a: describe_protection(map_a),
            protection_map_b: describe_protection(map_b),
            protection,
        }
    }

    /// Whether all of `range` was protected at start, or nothing of it; none where it is a part, or depends on what the registers
    /// mean, or on locks that they do not show.
    pub fn is_protected(&self, range: &Range<u32>) -> Option<bool> {
        let [map_a, map_b] = self.protection.each_ref().map(|protection| match protection {
            Protection::None => Some(false),
            Protection::Range(protected) if protected.start <= range.start && range.end <= protected.end => {
                Some(true)
            }
            Protection::Range(protected) if protected.end <= range.start || range.end <= protected.start => {
                Some(false)
            }
            Protection::Range(_) | Protection::IndividualLocks => None,
        });
        map_a.filter(|_| map_a == map_b)
    }
}

impl From<ReadMode> for ReadCommand {
    fn from(mode: ReadMode) -> Self {
        Self { opcode: mode.opcode(), reason: mode.reason() }
    }
}

fn describe_protection(protection: &Protection) -> String {
    match protection {
        Protection::None => "none".to_owned(),
        Protection::Range(range) => format!("{:#08x}-{:#08x}", range.start, range.end - 1),
        Protection::IndividualLocks => "individual block locks (WPS)".to_owned(),
    }
}
