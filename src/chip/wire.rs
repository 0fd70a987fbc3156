//! Single commands over a bus, counted; what they mean is up to the callers.

use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::opcode;
use super::part::JedecId;
use crate::spi::{Bus, Data, Error, Transaction};

/// What one message reads at the most, in bytes, whatever the bus would take: a reader who has just come must not wait for
/// more than a few milliseconds.
const LONGEST_PIECE: u32 = 64 << 10;

pub(super) struct Wire {
    bus: Box<dyn Bus>,
    counters: Arc<Counters>,
}

impl Wire {
    pub(super) fn new(bus: Box<dyn Bus>) -> Self {
        let counters = Arc::new(Counters::new(bus.pacer()));
        Self { bus, counters }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn run(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        let mut bytes_read = 0;
        let mut bytes_written = 0;
        for transaction in &*transactions {
            bytes_written += transaction.command.len();
            match &transaction.data {
                Data::None => {}
                Data::Write(data) => bytes_written += data.len(),
                Data::Read(data) => bytes_read += data.len(),
            }
        }
        self.counters.count_message(bytes_read, bytes_written);
        self.bus.transfer(transactions)
    }

    pub(super) fn command(&mut self, opcode: u8) -> Result<(), Error> {
        self.run(&mut [Transaction::command(&[opcode])])
    }

    /// One read in one message; `data` must fit it.
    pub(super) fn read(&mut self, command: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.run(&mut [Transaction::read(command, data)])
    }

    /// Reads any length in as many messages as it takes; `command` makes the command bytes for an address.
    pub(super) fn read_pieces<const N: usize>(
        &mut self,
        address: u32,
        data: &mut [u8],
        command: impl Fn(u32) -> [u8; N],
    ) -> Result<(), Error> {
        let mut offset = 0;
        let mut next = address;
        while offset < data.len() {
            let len = (data.len() - offset).min(self.max_data_len());
            match self.read(&command(next), &mut data[offset..offset + len]) {
                Ok(()) => {
                    offset += len;
                    next = next.saturating_add(u32::try_from(len).unwrap_or(LONGEST_PIECE));
                }
                Err(Error::MessageTooLong { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn register(&mut self, opcode: u8) -> Result<u8, Error> {
        let mut value = [0];
        self.read(&[opcode], &mut value)?;
        Ok(value[0])
    }

    pub(super) fn jedec_id(&mut self) -> Result<JedecId, Error> {
        let mut id = [0; 3];
        self.read(&[opcode::READ_JEDEC_ID], &mut id)?;
        Ok(JedecId(id))
    }

    pub(super) fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    pub(super) fn clock(&self) -> u32 {
        self.bus.clock()
    }

    pub(super) fn max_data_len(&self) -> usize {
        self.bus.max_data_len().min(LONGEST_PIECE as usize)
    }

    pub(super) fn now(&self) -> Duration {
        self.bus.now()
    }

    pub(super) fn sleep(&mut self, duration: Duration) {
        self.bus.sleep(duration);
    }
}
