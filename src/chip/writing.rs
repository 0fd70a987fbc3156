//! Erasing and programming, and waiting until the chip is done, with little on the wire and little time lost.
//!
//! A page takes one message: write enable, the program, a status read during whose delay the page is programmed, and a
//! burst of status reads at the moment when it should be done. Only when it is not, the chip is asked again. An erase is slept
//! through until shortly before it should be done, and then looked at alike. Nothing but status reads reaches a busy chip.

use std::time::Duration;

use super::Chip;
use super::error::Error;
use super::opcode;
use super::part::EraseType;
use super::status::WIP;
use super::times::BusyTime;
use crate::spi::{self, Transaction};

/// A burst of status reads covers about this much time.
const BURST: Duration = Duration::from_micros(16);

/// The length of a burst in status bytes. The longest is one that Linux' spi-bcm2835 still does without DMA.
const SHORTEST_BURST: usize = 8;
const LONGEST_BURST: usize = 64;

/// So many status bytes in a row, up to a burst's end, must say that the chip is ready: one alone may be misread.
const AGREEING: usize = 2;

/// Longer waits are slept through, and only their end is a delay within a message: a thread wakes up tens of microseconds late.
const LONGEST_MESSAGE_DELAY: Duration = Duration::from_millis(5);

/// How long before it is needed a thread should wake up.
const WAKE_UP_MARGIN: Duration = Duration::from_micros(300);

/// What the chip has been told to do.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Where, in bytes.
    pub(super) address: u32,
    /// When it began.
    pub(super) began: Duration,
    /// How long it may take.
    pub(super) maximum: Duration,
}

/// An erase that is under way.
pub struct Erase {
    /// In bytes.
    len: u32,
    pub(super) operation: Operation,
    pub(super) times: BusyTime,
    /// When it last began or went on.
    pub(super) running_since: Duration,
    pub(super) suspended_at: Duration,
    /// How long it has been suspended, all in all.
    pub(super) suspended: Duration,
}

/// What a burst of status reads has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Busy {
        /// Until when at least.
        at: Duration,
    },
    Ready {
        /// Since when at the latest.
        at: Duration,
        /// Whether the burst has shown it busy before.
        was_busy: bool,
    },
}

/// Room for the status bytes of one look.
struct StatusBytes {
    before: [u8; 1],
    burst: [u8; LONGEST_BURST],
}

impl Chip {
    /// Programs `data` from `address` on, within one page, and waits until the chip is done. Bits only go from 1 to 0.
    ///
    /// # Errors
    /// [`Error::TimedOut`] after twice the longest time that the part may take, [`Error::Spi`].
    pub fn program(&mut self, address: u32, data: &[u8]) -> Result<(), Error> {
        let mut address = address;
        let mut rest = data;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(self.wire.max_data_len()));
            match self.program_piece(address, piece) {
                Err(Error::Spi(spi::Error::MessageTooLong { .. })) => continue,
                result => result?,
            }
            address = address.saturating_add(u32::try_from(piece.len()).unwrap_or(0));
            rest = behind;
        }
        Ok(())
    }

    fn program_piece(&mut self, address: u32, data: &[u8]) -> Result<(), Error> {
        self.end_suspended()?;
        let expected = self.times.page_program;
        let burst_len = self.burst_len();
        let addressing = self.part.addressing;
        let command = addressing.command(addressing.page_program(), address, 0);
        let command = command.as_ref();
        let delay = self.delay_before_burst(expected.earliest(), burst_len).min(LONGEST_MESSAGE_DELAY);
        let mut status = StatusBytes::new();
        let [wait, look] = status.transactions(delay, burst_len);
        let mut message = self.addressed_message();
        let before = message.len() + 1 + command.len() + data.len();
        message.extend([
            Transaction::command(&[opcode::WRITE_ENABLE]),
            Transaction::write(command, data),
            wait,
            look,
        ]);
        let passed = self.wire.run_timed(&mut message)?;
        self.wire.counters().count_page();
        let began = passed.started + self.wire.overhead() + self.wire.time_of(before);
        let maximum = self.part.page_program.maximum;
        let operation = Operation { name: "a page program", address, began, maximum };
        let first = self.judge(&status.burst[..burst_len], passed.ended);
        let mut times = expected;
        self.wait_from(&operation, &mut times, first)?;
        if data.len() >= self.part.page_len as usize / 2 {
            self.times.page_program = times;
        }
        Ok(())
    }

    /// Erases the unit of `erase` at `address`, which must be a multiple of its length, and waits until the chip is done.
    ///
    /// # Errors
    /// [`Error::TimedOut`] after twice the longest time that the part may take, [`Error::Spi`].
    pub fn erase(&mut self, address: u32, erase: &EraseType) -> Result<(), Error> {
        let erase = self.begin_erase(address, erase)?;
        self.end_erase(erase)
    }

    /// Begins an erase as [`erase`](Self::erase) does. Until [`end_erase`](Self::end_erase) the chip is busy with it.
    ///
    /// # Errors
    /// [`Error::Spi`]; [`Error::TimedOut`] when an earlier erase is not over.
    pub fn begin_erase(&mut self, address: u32, erase: &EraseType) -> Result<Erase, Error> {
        debug_assert!(
            address % erase.len == 0,
            "an erase of {} bytes at {address:#x} is not aligned",
            erase.len
        );
        self.end_suspended()?;
        let command = self.part.addressing.command(erase.opcode, address, 0);
        let mut message = self.addressed_message();
        message
            .extend([Transaction::command(&[opcode::WRITE_ENABLE]), Transaction::command(command.as_ref())]);
        let passed = self.wire.run_timed(&mut message)?;
        self.wire.counters().count_erase(erase.len);
        let times =
            self.times.erases.get(&erase.len).copied().unwrap_or_else(|| BusyTime::new(erase.typical));
        let began = passed.ended;
        Ok(Erase {
            len: erase.len,
            operation: Operation { name: "an erase", address, began, maximum: erase.maximum },
            times,
            running_since: began,
            suspended_at: began,
            suspended: Duration::ZERO,
        })
    }

    /// Lets up to `longest` of an erase pass; false once it is time to look whether it is over.
    pub fn rest(&mut self, erase: &Erase, longest: Duration) -> bool {
        let end = erase.operation.began + erase.times.earliest();
        let time_left = end.saturating_sub(self.wire.now());
        if time_left > LONGEST_MESSAGE_DELAY {
            self.wire.sleep(longest.min(time_left - WAKE_UP_MARGIN));
        }
        time_left > LONGEST_MESSAGE_DELAY
    }

    /// Waits for the end of an erase.
    ///
    /// # Errors
    /// [`Error::TimedOut`] after twice the longest time that the part may take, [`Error::Spi`].
    pub fn end_erase(&mut self, erase: Erase) -> Result<(), Error> {
        let mut erase = erase;
        self.wait(&erase.operation, &mut erase.times)?;
        if erase.suspended.is_zero() {
            self.times.erases.insert(erase.len, erase.times);
        }
        self.end_suspended()
    }

    /// Waits until the chip is done with what it should need `times` for, and takes note of how long it did.
    pub(super) fn wait(&mut self, operation: &Operation, times: &mut BusyTime) -> Result<(), Error> {
        let first = self.look(operation.began + times.earliest())?;
        self.wait_from(operation, times, first)
    }

    /// The same after the first look at it.
    pub(super) fn wait_from(
        &mut self,
        operation: &Operation,
        times: &mut BusyTime,
        first: Look,
    ) -> Result<(), Error> {
        let since_began = |moment: Duration| moment.saturating_sub(operation.began);
        let mut look = first;
        let mut busy_until = Duration::ZERO;
        let mut waited = Duration::ZERO;
        loop {
            match look {
                Look::Ready { at, was_busy } => {
                    let ready_at = since_began(at);
                    times.observe(if was_busy { ready_at } else { busy_until }, ready_at);
                    return Ok(());
                }
                Look::Busy { at } => busy_until = since_began(at),
            }
            if waited > 2 * operation.maximum {
                let Operation { name, address, .. } = *operation;
                return Err(Error::TimedOut { operation: name, address, waited });
            }
            waited = since_began(self.wire.now());
            look = self.look(operation.began + waited + times.pause(waited))?;
        }
    }

    /// Looks whether the chip is busy, with a burst of status reads around `moment`, or now if that is over.
    fn look(&mut self, moment: Duration) -> Result<Look, Error> {
        let time_left = moment.saturating_sub(self.wire.now());
        if time_left > LONGEST_MESSAGE_DELAY {
            self.wire.sleep(time_left - WAKE_UP_MARGIN);
        }
        let time_left = moment.saturating_sub(self.wire.now() + self.wire.overhead());
        self.look_after(None, time_left)
    }

    /// The same `time` after a command, or from now, in one message.
    pub(super) fn look_after(&mut self, command: Option<u8>, time: Duration) -> Result<Look, Error> {
        let burst_len = self.burst_len();
        let delay = self.delay_before_burst(time, burst_len);
        let mut status = StatusBytes::new();
        let [wait, look] = status.transactions(delay, burst_len);
        let passed = match command {
            Some(opcode) => self.wire.run_timed(&mut [Transaction::command(&[opcode]), wait, look])?,
            None if delay.is_zero() => self.wire.run_timed(&mut [look])?,
            None => self.wire.run_timed(&mut [wait, look])?,
        };
        Ok(self.judge(&status.burst[..burst_len], passed.ended))
    }

    fn burst_len(&self) -> usize {
        let bytes = BURST.as_nanos() / self.wire.time_of(1).as_nanos().max(1);
        usize::try_from(bytes).unwrap_or(LONGEST_BURST).clamp(SHORTEST_BURST, LONGEST_BURST)
    }

    /// The delay to ask for so that the middle of a burst is `time` from now.
    fn delay_before_burst(&self, time: Duration, burst_len: usize) -> Duration {
        let time = time.saturating_sub(self.wire.time_of(3 + burst_len / 2));
        self.wire.delay_for(time.min(spi::LONGEST_DELAY))
    }

    fn judge(&self, burst: &[u8], ended: Duration) -> Look {
        let ready = burst.iter().rev().take_while(|&&status| status & WIP == 0).count();
        if ready < AGREEING {
            return Look::Busy { at: ended };
        }
        Look::Ready { at: ended.saturating_sub(self.wire.time_of(ready)), was_busy: ready < burst.len() }
    }
}

impl StatusBytes {
    fn new() -> Self {
        Self { before: [0; 1], burst: [0; LONGEST_BURST] }
    }

    /// A status read with a delay, and the burst that comes after it.
    fn transactions(&mut self, delay: Duration, burst_len: usize) -> [Transaction<'_>; 2] {
        [
            Transaction::read(&[opcode::READ_STATUS_1], &mut self.before).with_delay(delay),
            Transaction::read(&[opcode::READ_STATUS_1], &mut self.burst[..burst_len]),
        ]
    }
}

#[cfg(test)]
mod tests;
