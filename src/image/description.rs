//! What is fixed about a chip while it is mounted, for whoever shows it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::chip::Chip;
use crate::chip::part::Source;
use crate::chip::status::{Protection, RegisterMap};

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
    /// Where name and geometry come from: "table", "SFDP" or "--chip".
    pub source: &'static str,
    /// The SFDP space, where there is one.
    pub sfdp: Option<Vec<u8>>,
    /// The unique id, where there is one.
    pub unique_id: Option<Vec<u8>>,
    /// Status registers 1 to 3.
    pub status_registers: [u8; 3],
    /// What the status registers protect under each map that is published for the part: "map_a" is what boards with the
    /// FM25Q128A show, "map_b" the newer FM25Q128 datasheet, "map_w25q" that of the W25Q128.
    pub protects: BTreeMap<&'static str, String>,
    /// The same.
    protection: Vec<Protection>,
}

/// How data is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCommand {
    /// 0Bh or 03h; 0Ch or 13h with four address bytes.
    pub opcode: u8,
    /// Why.
    pub reason: &'static str,
}

impl Description {
    /// What `chip` has told.
    pub fn of(chip: &Chip) -> Self {
        let part = chip.part();
        let under = |&map| chip.status().protection(map, part.size);
        let maps = part.registers.maps();
        Self {
            name: part.name.clone(),
            jedec_id: chip.id().to_string(),
            size: part.size,
            page_len: part.page_len,
            erase_lens: part.erase_types.iter().map(|erase| erase.len).collect(),
            source: match part.source {
                Source::Table => "table",
                Source::Sfdp => "SFDP",
                Source::User => "--chip",
            },
            sfdp: chip.sfdp().map(<[u8]>::to_vec),
            unique_id: chip.unique_id().map(<[u8]>::to_vec),
            status_registers: chip.status().0,
            protects: maps.iter().map(|map| (key(*map), describe_protection(&under(map)))).collect(),
            protection: maps.iter().map(under).collect(),
        }
    }

    /// Whether all of `range` was protected at start, or nothing of it; none where it is a part, or depends on what the registers
    /// mean, or on locks that they do not show, or nothing is known of them.
    pub fn is_protected(&self, range: &Range<u32>) -> Option<bool> {
        let mut under_maps = self.protection.iter().map(|protection| match protection {
            Protection::None => Some(false),
            Protection::Range(protected) if protected.start <= range.start && range.end <= protected.end => {
                Some(true)
            }
            Protection::Range(protected) if protected.end <= range.start || range.end <= protected.start => {
                Some(false)
            }
            Protection::Range(_) | Protection::IndividualLocks => None,
        });
        let first = under_maps.next()?;
        first.filter(|_| under_maps.all(|other| other == first))
    }
}

impl ReadCommand {
    /// How `chip` is read now.
    pub fn of(chip: &Chip) -> Self {
        Self { opcode: chip.read_opcode(), reason: chip.read_mode().reason() }
    }
}

fn key(map: RegisterMap) -> &'static str {
    match map {
        RegisterMap::A => "map_a",
        RegisterMap::B => "map_b",
        RegisterMap::W25q => "map_w25q",
    }
}

fn describe_protection(protection: &Protection) -> String {
    match protection {
        Protection::None => "none".to_owned(),
        Protection::Range(range) => format!("{:#08x}-{:#08x}", range.start, range.end - 1),
        Protection::IndividualLocks => "individual block locks (WPS)".to_owned(),
    }
}
