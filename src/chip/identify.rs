//! Finding out what is on the wire, without writing anything to it.

use std::time::Duration;

use super::addressing::{self, Addressing};
use super::error::Error;
use super::opcode;
use super::part::{JedecId, Part, Registers};
use super::parts::{self, LONGEST_ERASE};
use super::sfdp;
use super::status::{ABSENT, StatusRegisters, WIP};
use super::wire::Wire;

/// A clock at which long wires and bad clips still work, in Hz.
pub(super) const SLOW_CLOCK: u32 = 1_000_000;

/// How often an id is read again before two readings in a row must have agreed.
const ID_ATTEMPTS: usize = 3;

/// tRES1 and tRST of the W25Q128 class are 3 and 30 us, unconfirmed for the FM25Q128A; there is no hurry.
const WAKE_UP: Duration = Duration::from_millis(1);

const BUSY_POLL: Duration = Duration::from_millis(1);

/// A unique id is 8 or 16 bytes long, depending on the part.
const LONGEST_UNIQUE_ID: usize = 16;

/// What a chip tells of itself.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) id: JedecId,
    pub(super) part: Part,
    pub(super) sfdp: Option<Vec<u8>>,
    pub(super) unique_id: Option<Vec<u8>>,
    pub(super) status: StatusRegisters,
    pub(super) was_in_four_byte_mode: bool,
}

/// With `named` the chip is that part, whatever it tells of itself.
pub(super) fn identify(wire: &mut Wire, named: Option<Part>) -> Result<Identity, Error> {
    let id = wake(wire)?;
    let sfdp = read_sfdp(wire)?;
    let part = match named {
        Some(part) => {
            doubt(&part, id, sfdp.as_deref());
            part
        }
        None => choose_part(id, sfdp.as_deref())?,
    };
    let was_in_four_byte_mode = addressing::mode_shown(wire, part.addressing)? == Some(true);
    let unique_id = read_unique_id(wire, part.addressing)?;
    let status = read_status(wire, part.registers)?;
    Ok(Identity { id, part, sfdp, unique_id, status, was_in_four_byte_mode })
}

pub(super) fn read_status(wire: &mut Wire, registers: Registers) -> Result<StatusRegisters, Error> {
    let mut values = [wire.register(opcode::READ_STATUS_1)?, ABSENT, ABSENT];
    if registers.are_three() {
        values[1] = wire.register(opcode::READ_STATUS_2)?;
        values[2] = wire.register(opcode::READ_STATUS_3)?;
    }
    Ok(StatusRegisters(values))
}

/// The id of a chip that may be busy with what a killed process left it at, powered down, or half way through a command.
fn wake(wire: &mut Wire) -> Result<JedecId, Error> {
    let id = stable_id(wire)?;
    if !id.is_nobody() {
        return Ok(id);
    }
    wait_while_busy(wire)?;
    release_power_down(wire)?;
    let id = stable_id(wire)?;
    if !id.is_nobody() {
        return Ok(id);
    }
    wire.command(opcode::ENABLE_RESET)?;
    wire.command(opcode::RESET)?;
    wire.sleep(WAKE_UP);
    let id = stable_id(wire)?;
    if id.is_nobody() { Err(Error::NoChip { id }) } else { Ok(id) }
}

pub(super) fn release_power_down(wire: &mut Wire) -> Result<(), Error> {
    wire.command(opcode::RELEASE_POWER_DOWN)?;
    wire.sleep(WAKE_UP);
    Ok(())
}

pub(super) fn stable_id(wire: &mut Wire) -> Result<JedecId, Error> {
    let mut first = wire.jedec_id()?;
    for _ in 0..ID_ATTEMPTS {
        let second = wire.jedec_id()?;
        if first == second {
            return Ok(first);
        }
        first = second;
    }
    let second = wire.jedec_id()?;
    if first == second { Ok(first) } else { Err(Error::UnstableId { first, second }) }
}

/// A busy chip answers nothing but its status. One whose status is all ones cannot be told from no chip at all.
pub(super) fn wait_while_busy(wire: &mut Wire) -> Result<(), Error> {
    let started = wire.now();
    loop {
        let status = wire.register(opcode::READ_STATUS_1)?;
        if status == 0xFF || status & WIP == 0 || wire.now() - started > 2 * LONGEST_ERASE {
            return Ok(());
        }
        wire.sleep(BUSY_POLL);
    }
}

/// Fills `space` from the beginning of the SFDP space.
pub(super) fn read_sfdp_space(wire: &mut Wire, space: &mut [u8]) -> Result<(), Error> {
    Ok(wire.read_pieces(0, space, &[], |address| {
        let [_, high, middle, low] = address.to_be_bytes();
        [opcode::READ_SFDP, high, middle, low, 0]
    })?)
}

fn read_sfdp(wire: &mut Wire) -> Result<Option<Vec<u8>>, Error> {
    let mut space = vec![0; 2 * sfdp::HEADER_LEN];
    loop {
        read_sfdp_space(wire, &mut space)?;
        match sfdp::extent(&space) {
            Err(_) => return Ok(None),
            Ok(extent) if extent <= space.len() => return Ok(Some(space)),
            Ok(extent) => space.resize(extent, 0),
        }
    }
}

/// Tells when a chip says something else of itself than the user.
fn doubt(named: &Part, id: JedecId, sfdp: Option<&[u8]>) {
    let known = parts::by_id(id);
    let described = sfdp.and_then(|space| sfdp::parse(space).ok());
    if let Some(known) = known.filter(|known| known.name != named.name) {
        log::warn!("used as {}, although by its JEDEC id {id} the chip is {}", named.name, known.name);
    } else if let Some(described) = described.filter(|described| described.size != named.size) {
        log::warn!(
            "used as {} with {} bytes, although the chip says that it has {}",
            named.name,
            named.size,
            described.size
        );
    }
}

fn choose_part(id: JedecId, sfdp: Option<&[u8]>) -> Result<Part, Error> {
    let described = sfdp.map_or(Err(sfdp::Error::NoSignature), sfdp::parse);
    match (parts::by_id(id), described) {
        (Some(known), Ok(described)) if known.size != described.size => Err(Error::Contradiction {
            id,
            name: known.name,
            expected: known.size,
            described: described.size,
        }),
        (Some(known), Ok(described)) if described.addressing == Addressing::FourByteOpcodes => {
            Ok(Part { addressing: described.addressing, erase_types: described.erase_types, ..known })
        }
        (Some(known), _) => Ok(known),
        (None, Ok(described)) => Ok(described),
        (None, Err(reason)) => Err(Error::UnknownChip { id, reason }),
    }
}

/// The unique id, where the chip answers the same twice and not just with a floating line. In 4-byte mode some parts want
/// another dummy byte, so that is left.
pub(super) fn read_unique_id(wire: &mut Wire, addressing: Addressing) -> Result<Option<Vec<u8>>, Error> {
    addressing::leave_mode(wire, addressing)?;
    let command = [opcode::READ_UNIQUE_ID, 0, 0, 0, 0];
    let mut first = [0; LONGEST_UNIQUE_ID];
    let mut second = [0; LONGEST_UNIQUE_ID];
    wire.read(&command, &mut first)?;
    wire.read(&command, &mut second)?;
    Ok(if first == second { unique_id(&first) } else { None })
}

fn unique_id(answer: &[u8; LONGEST_UNIQUE_ID]) -> Option<Vec<u8>> {
    let (half, rest) = answer.split_at(LONGEST_UNIQUE_ID / 2);
    let is_idle =
        |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0xFF) || bytes.iter().all(|&byte| byte == 0);
    if is_idle(half) {
        None
    } else if is_idle(rest) || rest == half {
        Some(half.to_vec())
    } else {
        Some(answer.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_id_of_eight_bytes_is_told_from_one_of_sixteen() {
        let mut answer = [0xFF; 16];
        answer[..8].copy_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(unique_id(&answer).unwrap().len(), 8);
        answer[12] = 3;
        assert_eq!(unique_id(&answer).unwrap().len(), 16);
        assert_eq!(unique_id(&[0xFF; 16]), None);
        assert_eq!(unique_id(&[0x00; 16]), None);
    }

    #[test]
    fn a_known_chip_whose_sfdp_tells_another_size_is_refused() {
        let error = choose_part(JedecId([0xA1, 0x40, 0x18]), None);
        assert!(error.is_ok());
        let error = choose_part(JedecId([0x11, 0x22, 0x33]), None).unwrap_err();
        assert!(matches!(error, Error::UnknownChip { .. }));
    }
}
