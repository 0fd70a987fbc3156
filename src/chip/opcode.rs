//! Opcodes of serial NOR flash, named as JESD216 and the makers' datasheets name them.
//!
//! Confirmed for the FM25Q128A in at least one public source, unless a line says otherwise.

/// Write status register 1.
pub const WRITE_STATUS_1: u8 = 0x01;
/// Page program.
pub const PAGE_PROGRAM: u8 = 0x02;
/// Read, no dummy byte, up to 50 MHz.
pub const READ: u8 = 0x03;
/// Write disable: clears the write enable latch; in the family, unconfirmed for the FM25Q128A.
pub const WRITE_DISABLE: u8 = 0x04;
/// Read status register 1.
pub const READ_STATUS_1: u8 = 0x05;
/// Write enable.
pub const WRITE_ENABLE: u8 = 0x06;
/// Fast read, one dummy byte by default.
pub const FAST_READ: u8 = 0x0B;
/// Fast read with four address bytes, on parts of more than 16 MiB.
pub const FAST_READ_4_BYTE: u8 = 0x0C;
/// Page program with four address bytes, on parts of more than 16 MiB.
pub const PAGE_PROGRAM_4_BYTE: u8 = 0x12;
/// Read with four address bytes, on parts of more than 16 MiB.
pub const READ_4_BYTE: u8 = 0x13;
/// Read status register 3 of a part that has a second one; absent on some parts, which then answer FF.
pub const READ_STATUS_3: u8 = 0x15;
/// Erase a sector of 4 KiB.
pub const SECTOR_ERASE_4K: u8 = 0x20;
/// The same with four address bytes, on parts of more than 16 MiB.
pub const SECTOR_ERASE_4K_4_BYTE: u8 = 0x21;
/// Write status register 2.
pub const WRITE_STATUS_2: u8 = 0x31;
/// Read status register 2. On some other parts this switches four data lanes on; see [`super::part::Registers`].
pub const READ_STATUS_2: u8 = 0x35;
/// Read the unique id; in the family, unconfirmed for the FM25Q128A.
pub const READ_UNIQUE_ID: u8 = 0x4B;
/// Make the status register write that follows a volatile one, which is lost at power-up.
pub const VOLATILE_STATUS_WRITE_ENABLE: u8 = 0x50;
/// Erase a block of 32 KiB.
pub const BLOCK_ERASE_32K: u8 = 0x52;
/// Read SFDP (JESD216), three address bytes in any mode and one dummy byte.
pub const READ_SFDP: u8 = 0x5A;
/// Erase a block of 32 KiB with four address bytes, on some parts of more than 16 MiB.
pub const BLOCK_ERASE_32K_4_BYTE: u8 = 0x5C;
/// Allow the reset that follows; W25Q128 class, unconfirmed for the FM25Q128A.
pub const ENABLE_RESET: u8 = 0x66;
/// Read the flag status register of Micron's parts.
pub const READ_FLAG_STATUS: u8 = 0x70;
/// Suspend an erase; W25Q128 class, unconfirmed for the FM25Q128A.
pub const SUSPEND: u8 = 0x75;
/// Resume a suspended erase; W25Q128 class, unconfirmed for the FM25Q128A.
pub const RESUME: u8 = 0x7A;
/// Close the individual locks of all blocks; W25Q128 class, unconfirmed for the FM25Q128A.
pub const GLOBAL_BLOCK_LOCK: u8 = 0x7E;
/// Open the individual locks of all blocks.
pub const GLOBAL_BLOCK_UNLOCK: u8 = 0x98;
/// Reset; W25Q128 class, unconfirmed for the FM25Q128A.
pub const RESET: u8 = 0x99;
/// Read the JEDEC id.
pub const READ_JEDEC_ID: u8 = 0x9F;
/// Leave deep power-down; W25Q128 class, unconfirmed for the FM25Q128A.
pub const RELEASE_POWER_DOWN: u8 = 0xAB;
/// Have the usual opcodes take four address bytes, on parts of more than 16 MiB.
pub const ENTER_4_BYTE_MODE: u8 = 0xB7;
/// Erase a block of 64 KiB.
pub const BLOCK_ERASE_64K: u8 = 0xD8;
/// The same with four address bytes, on parts of more than 16 MiB.
pub const BLOCK_ERASE_64K_4_BYTE: u8 = 0xDC;
/// Have the usual opcodes take three address bytes again.
pub const EXIT_4_BYTE_MODE: u8 = 0xE9;
