//! Reading the chip with doubt: is it still there, and does it say the same again?
//!
//! A clip that slips makes the line float, and a floating line reads as all ones or all zeros: when a transfer ends like that, the
//! chip is asked who it is before anybody sees the bytes. A noisy wire flips single bits: where readings differ, more are taken and
//! the majority counts.

use std::ops::Range;
use std::sync::Arc;

use super::BusThread;
use crate::chip;
use crate::image::cache::Trust;
use crate::image::error::Error;
use crate::image::{Presence, SECTOR_LEN, Traffic};
use crate::trouble::Trouble;

/// A transfer that ends in this many equal bytes of FF or 00 may have lost the chip on the way.
const IDLE_TAIL_LEN: usize = 32;

/// Readings are compared in pieces of this many bytes: at a noise that spoils every sector, some pieces still come through.
const PIECE_LEN: usize = 256;

/// A sector is read this often before it is given up.
const MOST_READINGS: usize = 24;

/// Once readings have differed, agreement by chance is likelier, so this many more must agree than were asked for.
const MORE_WHEN_NOISY: u32 = 2;

/// After this many mismatches at one clock the next lower is taken.
const MISMATCHES_PER_STEP: u32 = 3;

impl BusThread {
    /// Reads once.
    pub(super) fn read_once(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let len = bytes.len();
        let result = self.check_returned().and_then(|()| {
            self.read_patiently(address, bytes)?;
            if ends_idle(bytes) { self.chip.check_present() } else { Ok(()) }
        });
        self.note_presence(&result);
        result.map_err(|source| Error::Read { address, len, source: Arc::new(source) })
    }

    /// Reads, and does so again where the driver has given a message up: what has come of that counts for nothing.
    fn read_patiently(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), chip::Error> {
        match self.chip.read(address, bytes) {
            Err(chip::Error::Spi(error)) if error.is_time_out() => {
                log::warn!("reading at {address:#08x} again: {}", crate::error_text(&error));
                self.chip.read(address, bytes)
            }
            result => result,
        }
    }

    /// Reads once for a purpose of norfuse's own, and tells what that has had on the wire.
    pub(super) fn read_apart(&mut self, address: u32, bytes: &mut [u8]) -> (Result<(), Error>, Traffic) {
        let before = self.chip.counters().totals();
        let result = self.read_once(address, bytes);
        let after = self.chip.counters().totals();
        let traffic = Traffic {
            messages: after.messages - before.messages,
            bytes_read: after.bytes_read - before.bytes_read,
            bytes_written: after.bytes_written - before.bytes_written,
        };
        (result, traffic)
    }

    /// Reads whole sectors until as many readings agree as the user wants; returns how much they can be trusted.
    pub(super) fn read_sectors(&mut self, address: u32, bytes: &mut [u8]) -> Result<Trust, Error> {
        self.read_once(address, bytes)?;
        if self.care.read_repeat <= 1 {
            return Ok(Trust::ReadOnce);
        }
        let mut again = vec![0; bytes.len()];
        let mut doubtful = Vec::new();
        for _ in 1..self.care.read_repeat {
            self.read_once(address, &mut again)?;
            doubtful.extend(differing_sectors(address, bytes, &again));
        }
        doubtful.sort_unstable();
        doubtful.dedup();
        for sector in doubtful {
            let offset = (sector * SECTOR_LEN - address) as usize;
            self.note_mismatch(sector * SECTOR_LEN);
            let agreed = self.read_by_majority(sector, Vec::new())?;
            bytes[offset..offset + SECTOR_LEN as usize].copy_from_slice(&agreed);
        }
        Ok(Trust::Verified)
    }

    /// Reads a sector until enough more readings agree than not in each piece of it, earlier ones counted in.
    pub(super) fn read_by_majority(&mut self, sector: u32, readings: Vec<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let address = sector * SECTOR_LEN;
        let wanted_votes = self.care.read_repeat.max(2) + MORE_WHEN_NOISY;
        let mut readings = readings;
        while readings.len() < MOST_READINGS {
            let mut reading = vec![0; SECTOR_LEN as usize];
            self.read_once(address, &mut reading)?;
            readings.push(reading);
            if let Some(agreed) = majority(&readings, wanted_votes) {
                return Ok(agreed);
            }
        }
        Err(Error::Unstable { address })
    }

    /// While the chip is gone, whoever wants something of it first asks whether it is back.
    pub(super) fn check_returned(&mut self) -> Result<(), chip::Error> {
        if self.presence == Presence::Gone { self.chip.check_returned() } else { Ok(()) }
    }

    /// Takes note, from how an operation on the chip ended, of whether it is there.
    pub(super) fn note_presence(&mut self, result: &Result<(), chip::Error>) {
        let presence = match result {
            Ok(()) => Presence::Here,
            Err(chip::Error::Gone { .. } | chip::Error::OtherChip { .. }) => Presence::Gone,
            Err(_) => return,
        };
        if presence != self.presence {
            match result {
                Ok(()) => log::warn!("the chip answers again"),
                Err(error) => log::error!("{error}"),
            }
            self.presence = presence;
            let mut state = self.shared.state.lock();
            state.counts.presence = presence;
            if presence == Presence::Here {
                state.try_failed_again();
            }
        }
    }

    /// Takes note that a sector has read differently when read again; too many of that, and the clock is lowered.
    pub(super) fn note_mismatch(&mut self, address: u32) {
        log::warn!(
            "the sector at {address:#08x} reads differently when read again; {}",
            Trouble::DumpsDiffer
        );
        self.shared.state.lock().counts.mismatches += 1;
        self.mismatches_at_clock += 1;
        if self.mismatches_at_clock >= MISMATCHES_PER_STEP {
            self.mismatches_at_clock = 0;
            if let Some(clock_hz) = self.chip.step_down() {
                log::warn!("the wire is noisy: clock lowered to {clock_hz} Hz");
            }
            self.show_bus(&mut self.shared.state.lock());
        }
    }
}

fn ends_idle(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(IDLE_TAIL_LEN)..];
    tail.iter().all(|&byte| byte == 0xFF) || tail.iter().all(|&byte| byte == 0x00)
}

/// The numbers of the sectors from `address` on in which two readings differ.
pub(super) fn differing_sectors(address: u32, one: &[u8], other: &[u8]) -> Vec<u32> {
    let len = SECTOR_LEN as usize;
    let first = address / SECTOR_LEN;
    (first..)
        .zip(one.chunks(len).zip(other.chunks(len)))
        .filter(|(_, (one, other))| one != other)
        .map(|(sector, _)| sector)
        .collect()
}

/// The bytes on which the readings agree, if in each piece one version has at least `votes` votes, and twice as many as any other.
fn majority(readings: &[Vec<u8>], votes: u32) -> Option<Vec<u8>> {
    let len = readings.first()?.len();
    let mut agreed = Vec::with_capacity(len);
    for start in (0..len).step_by(PIECE_LEN) {
        let piece = start..(start + PIECE_LEN).min(len);
        agreed.extend_from_slice(elect(readings, &piece, votes)?);
    }
    Some(agreed)
}

fn elect<'a>(readings: &'a [Vec<u8>], piece: &Range<usize>, votes: u32) -> Option<&'a [u8]> {
    let mut candidates: Vec<(&[u8], u32)> = Vec::new();
    for reading in readings {
        let version = &reading[piece.clone()];
        match candidates.iter_mut().find(|(known, _)| *known == version) {
            Some((_, count)) => *count += 1,
            None => candidates.push((version, 1)),
        }
    }
    candidates.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let (winner, count) = *candidates.first()?;
    let second = candidates.get(1).map_or(0, |&(_, count)| count);
    (count >= votes && count >= 2 * second).then_some(winner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_needs_its_votes_and_twice_those_of_any_other() {
        let good = vec![1; 512];
        let mut bad = good.clone();
        bad[300] = 9;
        let readings = |list: &[&Vec<u8>]| list.iter().map(|&reading| reading.clone()).collect::<Vec<_>>();
        assert_eq!(majority(&readings(&[&good, &good, &bad]), 3), None);
        assert_eq!(majority(&readings(&[&good, &good, &bad, &good]), 3), Some(good.clone()));
        assert_eq!(majority(&readings(&[&good, &bad, &bad, &good, &good]), 3), None);
        assert_eq!(majority(&[], 1), None);
    }

    #[test]
    fn errors_in_different_pieces_do_not_keep_readings_from_agreeing() {
        let good = vec![1; 512];
        let readings: Vec<_> = [Some(3), Some(400), None, Some(17), Some(500), Some(301)]
            .map(|error| {
                let mut reading = good.clone();
                if let Some(offset) = error {
                    reading[offset] ^= 1;
                }
                reading
            })
            .to_vec();
        assert_eq!(majority(&readings, 3), Some(good));
    }

    #[test]
    fn only_a_tail_of_ones_or_zeros_is_idle() {
        assert!(ends_idle(&[0xFF; 64]));
        assert!(ends_idle(&[0; 64]));
        let mut bytes = [0xFF; 64];
        bytes[63] = 0;
        assert!(!ends_idle(&bytes));
        bytes[63] = 0xFF;
        bytes[0] = 1;
        assert!(ends_idle(&bytes));
    }
}
