//! From what the user named as a device to a bus.

use std::path::Path;

use crate::cli::{Device, DeviceConfig};
use crate::spi::sim::{Pace, Simulated};
use crate::spi::spidev::Spidev;
use crate::spi::{Bus, Error};

/// Opens the bus that `config` names.
///
/// # Errors
/// What keeps the device from being used.
pub fn open(config: &DeviceConfig) -> Result<Box<dyn Bus>, Error> {
    let pace = if config.sim_realtime { Pace::Real } else { Pace::Virtual };
    match &config.device {
        Device::Spidev(path) => Ok(Box::new(Spidev::open(path, config.speed.starting_clock())?)),
        Device::Demonstration => Ok(simulated(Simulated::demonstration(pace), config)),
        Device::SimulatedFile(path) => Ok(simulated(Simulated::file(path, pace)?, config)),
    }
}

fn simulated(chip: Simulated, config: &DeviceConfig) -> Box<dyn Bus> {
    match &config.sim_faults {
        Some(path) => Box::new(chip.with_fault_file(path)),
        None => Box::new(chip),
    }
}

/// Makes the paths in `config` independent of the working directory, which a background process leaves.
///
/// # Errors
/// When there is no working directory.
pub fn make_absolute(config: &mut DeviceConfig) -> std::io::Result<()> {
    let absolute = |path: &Path| std::path::absolute(path);
    match &mut config.device {
        Device::Spidev(path) | Device::SimulatedFile(path) => *path = absolute(path)?,
        Device::Demonstration => {}
    }
    if let Some(path) = &mut config.sim_faults {
        *path = absolute(path)?;
    }
    Ok(())
}
