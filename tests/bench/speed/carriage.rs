//! What it costs that a spidev node is a file of FUSE's.

use std::path::Path;
use std::time::{Duration, Instant};

use norfuse::spi::sim::MESSAGE_OVERHEAD;
use norfuse::spi::sim::timing::wire_time;
use norfuse::spi::spidev::Spidev;
use norfuse::spi::{Bus, Transaction};

use super::common::SpidevNode;

const MESSAGES: usize = 1000;

/// How much longer than the wire and the driver a message takes its caller, in the median of many.
pub(crate) fn of_a_message(chip: &[u8], clock_hz: u32) -> Duration {
    let node = SpidevNode::in_real_time(chip);
    let mut bus = Spidev::open(Path::new(&node.device()), clock_hz).expect("the node is spidev's");
    let mut longer: Vec<Duration> = (0..MESSAGES)
        .map(|_| {
            let mut status = [0];
            let started = Instant::now();
            bus.transfer(&mut [Transaction::read(&[0x05], &mut status)]).expect("the node answers");
            started.elapsed().saturating_sub(MESSAGE_OVERHEAD + wire_time(2, clock_hz))
        })
        .collect();
    longer.sort();
    longer[MESSAGES / 2]
}
