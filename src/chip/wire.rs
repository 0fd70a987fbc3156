//! Single commands over a bus, counted; what they mean is up to the callers.

use std::sync::Arc;
use std::time::Duration;

use super::addressing::single;
use super::counters::Counters;
use super::opcode;
use super::part::JedecId;
use crate::spi::{Bus, Data, Error, Transaction};

/// What one message reads at the most, in bytes, whatever the bus would take: a reader who has just come must not wait for
/// more than a few milliseconds.
const LONGEST_PIECE: u32 = 64 << 10;

/// No message reads beyond a multiple of this, in bytes: some large parts are several chips in one package, and do not go on
/// from one to the next.
const LEAST_DIE_LEN: u32 = 16 << 20;

/// Delays are taken to last up to so many times as long as asked for: Linux 6.2 to 6.11 allow twice.
const LONGEST_STRETCH: f64 = 4.0;

/// Shorter delays tell nothing of that.
const SHORTEST_TELLING_DELAY: Duration = Duration::from_micros(100);

/// Of so many delays the one that lasted the least beyond what was asked for counts: the others may only have been told late.
const REMEMBERED_DELAYS: usize = 32;

pub(super) struct Wire {
    bus: Box<dyn Bus>,
    counters: Arc<Counters>,
    /// The least time that a message took beyond its bits.
    overhead: Option<Duration>,
    /// How many times as long as asked for the last delays lasted.
    stretches: [f64; REMEMBERED_DELAYS],
    next_stretch: usize,
}

/// When a message was on its way.
pub(super) struct Passed {
    pub(super) started: Duration,
    /// When its last bit had passed and its last delay was over, by what messages and delays take here. It may have been told
    /// later, when the processor had nothing else to do.
    pub(super) ended: Duration,
}

impl Wire {
    pub(super) fn new(bus: Box<dyn Bus>) -> Self {
        let pacer = bus.pacer();
        Self {
            bus,
            counters: Arc::new(Counters::new(pacer)),
            overhead: None,
            stretches: [1.0; REMEMBERED_DELAYS],
            next_stretch: 0,
        }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn run(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        self.run_timed(transactions).map(drop)
    }

    pub(super) fn run_timed(&mut self, transactions: &mut [Transaction<'_>]) -> Result<Passed, Error> {
        let mut bytes_read = 0;
        let mut bytes_written = 0;
        let mut delay = Duration::ZERO;
        for transaction in &*transactions {
            delay += transaction.delay;
            bytes_written += transaction.command.len();
            match &transaction.data {
                Data::None => {}
                Data::Write(data) => bytes_written += data.len(),
                Data::Read(data) => bytes_read += data.len(),
            }
        }
        self.counters.count_message(bytes_read, bytes_written);
        let started = self.bus.now();
        self.bus.transfer(transactions)?;
        let told = self.bus.now();
        let on_wire = self.time_of(bytes_read + bytes_written);
        self.learn(told.saturating_sub(started).saturating_sub(on_wire), delay);
        Ok(Passed { started, ended: started + self.overhead() + on_wire + self.lasting(delay) })
    }

    /// Learns from what a message took beyond its bits, of which it asked for `delay`.
    fn learn(&mut self, beyond: Duration, delay: Duration) {
        if delay.is_zero() {
            self.overhead = Some(self.overhead.map_or(beyond, |overhead| overhead.min(beyond)));
        } else if delay >= SHORTEST_TELLING_DELAY {
            let stretch = beyond.saturating_sub(self.overhead()).div_duration_f64(delay);
            self.stretches[self.next_stretch] = stretch.clamp(1.0, LONGEST_STRETCH);
            self.next_stretch = (self.next_stretch + 1) % REMEMBERED_DELAYS;
        }
    }

    /// What a message takes beyond its bits, at least.
    pub(super) fn overhead(&self) -> Duration {
        self.overhead.unwrap_or_default()
    }

    /// The delay to ask for so that about `time` passes.
    pub(super) fn delay_for(&self, time: Duration) -> Duration {
        let delay = time.div_f64(self.stretch());
        Duration::from_micros(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))
    }

    fn stretch(&self) -> f64 {
        self.stretches.iter().copied().fold(LONGEST_STRETCH, f64::min)
    }

    /// How long a delay lasts.
    pub(super) fn lasting(&self, delay: Duration) -> Duration {
        delay.mul_f64(self.stretch())
    }

    /// How long `bytes` take at the present clock.
    pub(super) fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 8_000_000_000 / u64::from(self.clock().max(1)))
    }

    pub(super) fn command(&mut self, opcode: u8) -> Result<(), Error> {
        self.run(&mut [Transaction::command(&[opcode])])
    }

    /// One read in one message; `data` must fit it.
    pub(super) fn read(&mut self, command: &[u8], data: &mut [u8]) -> Result<(), Error> {
        self.run(&mut [Transaction::read(command, data)])
    }

    /// Reads any length in as many messages as it takes. A message begins with `preparation`, opcodes alone; `command` makes
    /// the command bytes for an address.
    pub(super) fn read_pieces<C: AsRef<[u8]>>(
        &mut self,
        address: u32,
        data: &mut [u8],
        preparation: &'static [u8],
        command: impl Fn(u32) -> C,
    ) -> Result<(), Error> {
        let mut offset = 0;
        let mut next = address;
        while offset < data.len() {
            let to_end_of_die = (LEAST_DIE_LEN - next % LEAST_DIE_LEN) as usize;
            let len = (data.len() - offset).min(self.max_data_len()).min(to_end_of_die);
            let command = command(next);
            let read = Transaction::read(command.as_ref(), &mut data[offset..offset + len]);
            let mut message: Vec<_> = single(preparation).chain([read]).collect();
            match self.run(&mut message) {
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
