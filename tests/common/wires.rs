//! What lies behind the spidev node: the driver's rules, and the chip.
//!
//! It follows drivers/spi/spidev.c: one message is refused whole when what it sends or what it receives exceeds `bufsiz`,
//! chip select is released between two transfers only where `cs_change` says so and stays asserted after a last one that
//! has it. The caller's buffers are read and written in its own memory.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

use fuser::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use norfuse::spi::sim::model::Model;
use norfuse::spi::sim::pacing::Lateness;
use norfuse::spi::sim::timing::wire_time;

use super::spidev_abi::{Setting, Transfer};
use super::wire_clock::WireClock;

/// What spidev takes in one message unless the module's parameter says otherwise, in bytes.
const DEFAULT_BUFSIZ: usize = 4096;

/// The clock until one is set, in Hz.
const DEFAULT_SPEED_HZ: u32 = 500_000;

/// How long chip select is released between two transfers, where that is not said (drivers/spi/spi.c).
const CS_CHANGE_TIME: Duration = Duration::from_micros(10);

/// How much of each frame is kept for the test to look at, in bytes.
const KEPT_LEN: usize = 8;

/// A period of asserted chip select, as the chip saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The first bytes that were sent.
    pub(crate) head: Vec<u8>,
    /// How many bytes were clocked.
    pub(crate) len: usize,
    /// The clock in Hz.
    pub(crate) speed_hz: u32,
}

impl Frame {
    pub(crate) fn opcode(&self) -> u8 {
        self.head[0]
    }
}

/// What has passed over the wires, refused messages not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    /// Bytes clocked, in whichever direction.
    pub(crate) bytes: u64,
}

/// What lies behind the node: its settings, the chip, and a record of all that was asked.
pub(crate) struct Wires {
    pub(crate) model: Model,
    /// The module's parameter, in bytes.
    pub(crate) bufsiz: usize,
    /// What each transfer's length is rounded up to against `bufsiz`: 128 on 64-bit Arm.
    pub(crate) alignment: usize,
    /// Every setting that was written, in order.
    pub(crate) settings: Vec<(Setting, u32)>,
    /// The frames of every message, in order. Not kept in real time, where there may be millions.
    pub(crate) messages: Vec<Vec<Frame>>,
    /// Messages that were refused for their length.
    pub(crate) refused: usize,
    /// How many of the next messages the driver gives up, as it does when the machine is too busy with other things.
    pub(crate) time_outs: usize,
    pub(crate) traffic: Traffic,
    values: HashMap<u32, u32>,
    frame: Option<Frame>,
    clock: WireClock,
}

impl Wires {
    pub(super) fn new(model: Model, clock: WireClock) -> Self {
        Self {
            model,
            bufsiz: DEFAULT_BUFSIZ,
            alignment: 1,
            settings: Vec::new(),
            messages: Vec::new(),
            refused: 0,
            time_outs: 0,
            traffic: Traffic::default(),
            values: HashMap::new(),
            frame: None,
            clock,
        }
    }

    /// All frames of all messages, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.messages.iter().flatten()
    }

    /// How accurately the wires keep real time, if they do.
    pub(crate) fn lateness(&self) -> Option<Lateness> {
        self.clock.lateness()
    }

    /// Whether chip select is asserted.
    pub(super) fn is_selected(&self) -> bool {
        self.frame.is_some()
    }

    /// Sends a frame past norfuse, as whoever had the chip before would have.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.model.select(self.clock.now(), DEFAULT_SPEED_HZ);
        self.model.exchange(Some(bytes), None).unwrap();
        self.model.deselect(self.clock.now()).unwrap();
    }

    pub(super) fn value(&self, setting: Setting) -> u32 {
        let default = match setting {
            Setting::Mode | Setting::Mode32 | Setting::LsbFirst => 0,
            Setting::BitsPerWord => 8,
            Setting::MaxSpeedHz => DEFAULT_SPEED_HZ,
        };
        self.values.get(&key(setting)).copied().unwrap_or(default)
    }

    pub(super) fn set(&mut self, setting: Setting, value: u32) -> Result<(), Errno> {
        self.settings.push((setting, value));
        let possible = match setting {
            Setting::Mode | Setting::Mode32 => value & !0x3 == 0,
            Setting::LsbFirst => value == 0,
            Setting::BitsPerWord => value == 0 || value == 8,
            Setting::MaxSpeedHz => value != 0,
        };
        if !possible {
            return Err(Errno::EINVAL);
        }
        let value = if (setting, value) == (Setting::BitsPerWord, 0) { 8 } else { value };
        self.values.insert(key(setting), value);
        Ok(())
    }

    /// Whether a message fits the driver's two buffers.
    fn fits(&self, transfers: &[Transfer]) -> bool {
        let sum = |buffer: fn(&Transfer) -> u64| {
            let used = transfers.iter().filter(|transfer| buffer(transfer) != 0);
            used.map(|transfer| (transfer.len as usize).next_multiple_of(self.alignment)).sum::<usize>()
        };
        sum(|transfer| transfer.tx_buf) <= self.bufsiz && sum(|transfer| transfer.rx_buf) <= self.bufsiz
    }

    /// `SPI_IOC_MESSAGE`: runs the transfers with buffers in the memory of `caller`, and returns the bytes transferred.
    pub(super) fn run(&mut self, transfers: &[Transfer], caller: Pid) -> Result<i32, Errno> {
        if !self.fits(transfers) {
            self.refused += 1;
            return Err(Errno::EMSGSIZE);
        }
        if transfers.iter().any(|transfer| !matches!(transfer.bits_per_word, 0 | 8)) {
            return Err(Errno::EINVAL);
        }
        if self.time_outs > 0 {
            self.time_outs -= 1;
            return Err(Errno::ETIMEDOUT);
        }
        self.clock.begin_message();
        // The kernel copies what is to be sent before anything moves, and what came only after everything has.
        let mut sent = Vec::new();
        for transfer in transfers {
            sent.push(read_memory(caller, transfer.tx_buf, transfer.len)?);
        }
        let mut received = Vec::new();
        let mut frames = Vec::new();
        for (index, (transfer, tx)) in transfers.iter().zip(&sent).enumerate() {
            let is_last = index + 1 == transfers.len();
            received.push(self.transfer(transfer, tx).map_err(Errno::from)?);
            if transfer.cs_change != is_last {
                frames.extend(self.deselect().map_err(Errno::from)?);
            }
            if transfer.cs_change && !is_last {
                self.clock.advance(CS_CHANGE_TIME);
            }
        }
        self.traffic.messages += 1;
        if self.lateness().is_none() {
            self.messages.push(frames);
        }
        for (transfer, rx) in transfers.iter().zip(&received) {
            write_memory(caller, transfer.rx_buf, rx)?;
        }
        self.clock.end_message();
        let total: u32 = transfers.iter().map(|transfer| transfer.len).sum();
        i32::try_from(total).map_err(|_| Errno::EMSGSIZE)
    }

    fn transfer(&mut self, transfer: &Transfer, tx: &[u8]) -> io::Result<Vec<u8>> {
        let max_speed_hz = self.value(Setting::MaxSpeedHz);
        let speed_hz = if transfer.speed_hz == 0 { max_speed_hz } else { transfer.speed_hz };
        let len = transfer.len as usize;
        if self.frame.is_none() {
            self.frame = Some(Frame { head: Vec::new(), len: 0, speed_hz });
            if self.is_understood() {
                self.model.select(self.clock.now(), speed_hz);
            }
        }
        let zeros = vec![0; if transfer.tx_buf == 0 { len } else { 0 }];
        let tx = if transfer.tx_buf == 0 { &zeros } else { tx };
        if let Some(frame) = &mut self.frame {
            frame.head.extend(tx.iter().take(KEPT_LEN.saturating_sub(frame.len)));
            frame.len += len;
        }
        let mut rx = vec![0; len];
        self.model.exchange(Some(tx), Some(&mut rx))?;
        self.traffic.bytes += len as u64;
        self.clock.advance(wire_time(len as u64, speed_hz));
        self.clock.delay(Duration::from_micros(transfer.delay_usecs.into()));
        Ok(rx)
    }

    fn deselect(&mut self) -> io::Result<Option<Frame>> {
        let frame = self.frame.take().filter(|frame| frame.len > 0);
        self.model.deselect(self.clock.now())?;
        Ok(frame)
    }

    /// Whether the chip, which knows SPI modes 0 and 3, makes sense of what it is sent.
    fn is_understood(&self) -> bool {
        matches!(self.value(Setting::Mode), 0 | 3) && self.value(Setting::LsbFirst) == 0
    }
}

/// The two mode settings are one value.
fn key(setting: Setting) -> u32 {
    match setting {
        Setting::Mode | Setting::Mode32 => 1,
        Setting::LsbFirst => 2,
        Setting::BitsPerWord => 3,
        Setting::MaxSpeedHz => 4,
    }
}

fn remote(address: u64, len: usize) -> Result<RemoteIoVec, Errno> {
    Ok(RemoteIoVec { base: usize::try_from(address).map_err(|_| Errno::EFAULT)?, len })
}

fn fault(error: nix::Error) -> Errno {
    if error == nix::Error::EPERM {
        eprintln!("not allowed to read the caller's memory; run norfuse as a child, with -f");
    }
    Errno::from_i32(error as i32)
}

/// Bytes of another process, or none where `address` is 0.
fn read_memory(process: Pid, address: u64, len: u32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; if address == 0 { 0 } else { len as usize }];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let remote = [remote(address, bytes.len())?];
    let copied = process_vm_readv(process, &mut [IoSliceMut::new(&mut bytes)], &remote).map_err(fault)?;
    if copied == bytes.len() { Ok(bytes) } else { Err(Errno::EFAULT) }
}

/// Puts `bytes` into another process, unless `address` is 0.
fn write_memory(process: Pid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if address == 0 || bytes.is_empty() {
        return Ok(());
    }
    let remote = [remote(address, bytes.len())?];
    let copied = process_vm_writev(process, &[IoSlice::new(bytes)], &remote).map_err(fault)?;
    if copied == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}
