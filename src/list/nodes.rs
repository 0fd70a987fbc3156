//! The spidev nodes: those in /dev, and those that the kernel's SPI devices would have.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::access::{self, Owner};
use super::host::{Host, group_name};
use super::{Device, Obstacle};
use crate::spi::spidev;
use crate::trouble::Trouble;

/// Bus and chip select.
type Place = (u32, u32);

/// What stands in the way of each node, in the order of bus and chip select.
pub(super) fn devices(host: &Host) -> Vec<Device> {
    let mut places = places(&host.dev, "spidev");
    places.extend(self::places(&devices_of_kernel(host), "spi"));
    places
        .into_iter()
        .map(|place| {
            let (bus, chip_select) = place;
            let path = host.dev.join(format!("spidev{bus}.{chip_select}"));
            let obstacle = if path.exists() { in_the_way(&path, host) } else { Some(missing(place, host)) };
            Device::spidev(&path, obstacle)
        })
        .collect()
}

/// Why there is neither a node nor anything that could have one.
pub(super) fn why_there_are_none(host: &Host) -> Obstacle {
    let obstacle = |reason: &str, cure: &[&str]| Obstacle::new(Some(Trouble::NodeMissing), reason, cure);
    if host.is_raspberry_pi() {
        return obstacle(
            "SPI is not enabled on this Raspberry Pi",
            &["add the line dtparam=spi=on to /boot/firmware/config.txt", "reboot"],
        );
    }
    if has_entries(&host.sys.join("class/spi_master")) {
        return obstacle(
            "this machine has an SPI bus, but no device is described on it",
            &["describe the chip in the device tree, as a device for spidev", "sudo modprobe spidev"],
        );
    }
    obstacle(
        "the kernel knows no SPI bus on this machine",
        &[
            "if there is one, enable it in the device tree,",
            "and describe the chip there, as a device for spidev",
        ],
    )
}

fn devices_of_kernel(host: &Host) -> std::path::PathBuf {
    host.sys.join("bus/spi/devices")
}

/// What is named `prefixB.C` in `directory`.
fn places(directory: &Path, prefix: &str) -> BTreeSet<Place> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| place(entry.file_name().to_str()?, prefix)).collect()
}

fn place(name: &str, prefix: &str) -> Option<Place> {
    let (bus, chip_select) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((bus.parse().ok()?, chip_select.parse().ok()?))
}

/// Opening a node and looking at its lock sends nothing to the chip.
fn in_the_way(path: &Path, host: &Host) -> Option<Obstacle> {
    match spidev::is_in_use(path) {
        Ok(false) => None,
        Ok(true) => {
            let cure = ["unmount that one first"];
            Some(Obstacle::new(None, "it is in use by another norfuse", &cure))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match fs::metadata(path) {
            Ok(metadata) => {
                let (gid, mode) = (metadata.gid(), metadata.mode());
                Some(access::denied(&Owner { gid, group: group_name(gid), mode }, &host.account))
            }
            Err(_) => Some(Obstacle::new(Some(Trouble::PermissionDenied), "permission is denied", &[])),
        },
        Err(error) => Some(Obstacle::new(None, format!("it cannot be opened: {error}"), &[])),
    }
}

/// Why the kernel's SPI device at `place` has no node.
fn missing((bus, chip_select): Place, host: &Host) -> Obstacle {
    let name = format!("spi{bus}.{chip_select}");
    let obstacle = |reason: String, cure: &[&str]| Obstacle::new(Some(Trouble::NodeMissing), reason, cure);
    let driver = fs::read_link(devices_of_kernel(host).join(&name).join("driver")).ok();
    let driver =
        driver.as_deref().and_then(Path::file_name).map(|driver| driver.to_string_lossy().into_owned());
    match driver.as_deref() {
        Some("spidev") => obstacle(
            format!("the kernel has it, but {} has no node for it", host.dev.display()),
            &["start udev; in a container, pass the node in"],
        ),
        Some(driver) => obstacle(
            format!("the driver {driver} has {name}"),
            &["give it to spidev in the device tree, if the chip is nobody else's"],
        ),
        None if !host.module("spidev").exists() => obstacle(
            format!("the module spidev is not loaded, and nothing else drives {name}"),
            &["sudo modprobe spidev"],
        ),
        None => obstacle(
            format!("no driver has {name}"),
            &[
                &format!("echo spidev | sudo tee /sys/bus/spi/devices/{name}/driver_override"),
                &format!("echo {name} | sudo tee /sys/bus/spi/drivers/spidev/bind"),
            ],
        ),
    }
}

fn has_entries(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}
