//! For tests: contents, and a simulated chip behind a wire, or with a habit, that the model itself does not have.

use std::time::Duration;

use crate::spi::{Bus, Data, Error, Transaction};

/// 2 MiB for the start of a chip, of which hardly two neighbours are the same.
pub(super) fn varied() -> Vec<u8> {
    (0..0x20_0000u32).map(|index| index.wrapping_mul(0x9E37_79B1).to_be_bytes()[1]).collect()
}

/// Told the clock and what was read, which it may change.
type OnRead = Box<dyn FnMut(u32, &mut [u8]) + Send>;
/// Given the bytes of a transaction that sends only; tells what the chip shall get instead, if anything.
type OnWrite = Box<dyn FnMut(Vec<u8>) -> Option<Vec<u8>> + Send>;

pub(super) struct Tampered {
    bus: Box<dyn Bus>,
    on_read: OnRead,
    on_write: OnWrite,
}

impl Tampered {
    pub(super) fn new(bus: impl Bus + 'static) -> Self {
        Self { bus: Box::new(bus), on_read: Box::new(|_, _| {}), on_write: Box::new(Some) }
    }

    pub(super) fn with_reads(self, on_read: impl FnMut(u32, &mut [u8]) + Send + 'static) -> Self {
        Self { on_read: Box::new(on_read), ..self }
    }

    pub(super) fn with_writes(
        self,
        on_write: impl FnMut(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        Self { on_write: Box::new(on_write), ..self }
    }
}

impl Bus for Tampered {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        for transaction in transactions {
            let mut bytes = transaction.command.to_vec();
            match &mut transaction.data {
                Data::Read(data) => {
                    self.bus
                        .transfer(&mut [Transaction::read(&bytes, data).with_delay(transaction.delay)])?;
                    (self.on_read)(self.bus.clock(), data);
                    continue;
                }
                Data::Write(data) => bytes.extend_from_slice(data),
                Data::None => {}
            }
            if let Some(bytes) = (self.on_write)(bytes) {
                self.bus.transfer(&mut [Transaction::command(&bytes).with_delay(transaction.delay)])?;
            }
        }
        Ok(())
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    fn clock(&self) -> u32 {
        self.bus.clock()
    }

    fn max_data_len(&self) -> usize {
        self.bus.max_data_len()
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn sleep(&mut self, duration: Duration) {
        self.bus.sleep(duration);
    }
}

/// A bus of a system that is slow: delays last longer than asked for, and the end of a message is told late.
pub(super) struct Slow {
    bus: Box<dyn Bus>,
    times: u32,
    late: Duration,
}

impl Slow {
    /// Delays last `times` as long as asked for; messages are told to be over up to `late` too late.
    pub(super) fn new(bus: impl Bus + 'static, times: u32, late: Duration) -> Self {
        Self { bus: Box::new(bus), times, late }
    }
}

impl Bus for Slow {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        for transaction in &mut *transactions {
            transaction.delay *= self.times;
        }
        self.bus.transfer(transactions)?;
        // Anything will do that is not the same each time.
        let part = u32::from(self.bus.now().subsec_nanos().to_le_bytes()[0]);
        self.bus.sleep(self.late * part / 255);
        Ok(())
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    fn clock(&self) -> u32 {
        self.bus.clock()
    }

    fn max_data_len(&self) -> usize {
        self.bus.max_data_len()
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn sleep(&mut self, duration: Duration) {
        self.bus.sleep(duration);
    }
}
