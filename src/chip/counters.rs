//! What has passed over the wire since start, for whoever wants to know what an operation cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::part::EraseType;
use crate::spi::{Lateness, Pacer};

/// Running totals; read at any time, from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    pages_programmed: AtomicU64,
    erases: Mutex<BTreeMap<u32, u64>>,
    pacer: Option<Arc<Pacer>>,
}

/// The totals at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Messages to the programmer.
    pub messages: u64,
    /// Data bytes read from the chip.
    pub bytes_read: u64,
    /// Bytes sent to the chip, commands included.
    pub bytes_written: u64,
    /// Page program commands.
    pub pages_programmed: u64,
    /// Erase commands, by what they erase in bytes.
    pub erases: BTreeMap<u32, u64>,
    /// How accurately a simulated chip has kept real time, where one does.
    pub lateness: Option<Lateness>,
}

impl Counters {
    /// Zeros; `pacer` is what keeps real time on the bus, if something does.
    pub(super) fn new(pacer: Option<Arc<Pacer>>) -> Self {
        Self { pacer, ..Self::default() }
    }

    /// Makes every erase type show, with a count of zero.
    pub(super) fn list_erases(&self, erase_types: &[EraseType]) {
        self.erases.lock().extend(erase_types.iter().map(|erase| (erase.len, 0)));
    }

    pub(super) fn count_message(&self, bytes_read: usize, bytes_written: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes_read as u64, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes_written as u64, Ordering::Relaxed);
    }

    pub(super) fn count_page(&self) {
        self.pages_programmed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_erase(&self, len: u32) {
        *self.erases.lock().entry(len).or_default() += 1;
    }

    /// The totals now.
    pub fn totals(&self) -> Totals {
        Totals {
            messages: self.messages.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            pages_programmed: self.pages_programmed.load(Ordering::Relaxed),
            erases: self.erases.lock().clone(),
            lateness: self.pacer.as_ref().map(|pacer| pacer.lateness()),
        }
    }
}
