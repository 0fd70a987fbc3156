//! What the component tests share: a work bench with real mounts and real tools, and a spidev node with a simulated
//! chip behind it.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

mod bench;
mod bytes;
mod foreground;
mod mapping;
mod mounts;
mod shell;
mod spidev_abi;
mod spidev_node;
mod wire_clock;
mod wires;

pub(crate) use bench::{Bench, Counters};
pub(crate) use bytes::{CHIP_LEN, SECTOR_LEN, assert_same, noise, patched};
pub(crate) use foreground::Foreground;
pub(crate) use mapping::Mapping;
pub(crate) use mounts::{Mount, mounts_under};
pub(crate) use shell::{Account, Finished, Paused, wait_until};
pub(crate) use spidev_abi::Setting;
pub(crate) use spidev_node::SpidevNode;
pub(crate) use wires::{Frame, Traffic};
