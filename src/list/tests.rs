use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::host::Account;
use super::*;

/// A machine made of directories, with FUSE and nothing else.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: TempDir::new().unwrap() };
        for directory in ["dev", "sys", "proc", "bin"] {
            fs::create_dir(machine.root.path().join(directory)).unwrap();
        }
        machine.with("dev/fuse", "").with("bin/fusermount3", "")
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn without(self, path: &str) -> Self {
        fs::remove_file(self.root.path().join(path)).unwrap();
        self
    }

    fn raspberry_pi(self) -> Self {
        self.with("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    }

    /// A device that the kernel knows, and its driver.
    fn kernel_device(self, name: &str, driver: Option<&str>) -> Self {
        let device = self.root.path().join("sys/bus/spi/devices").join(name);
        fs::create_dir_all(&device).unwrap();
        if let Some(driver) = driver {
            symlink(Path::new("../../drivers").join(driver), device.join("driver")).unwrap();
        }
        self
    }

    fn list(&self) -> List {
        self.list_for(Account {
            name: "pi".to_owned(),
            is_root: false,
            groups: vec![1000],
            listed_groups: vec![1000],
        })
    }

    fn list_for(&self, account: Account) -> List {
        let root = self.root.path();
        List::of(&Host {
            dev: root.join("dev"),
            sys: root.join("sys"),
            proc: root.join("proc"),
            programs: vec![root.join("bin")],
            account,
        })
    }
}

/// What stands in the way of the spidev node of this name.
fn obstacle<'a>(list: &'a List, node: &str) -> &'a Obstacle {
    let device = list.devices.iter().find(|device| device.device.ends_with(node)).expect("it is listed");
    assert!(!device.usable);
    device.obstacle.as_ref().expect("something is in the way")
}

#[test]
fn a_machine_without_spi_has_the_simulated_chip_and_is_told_how_to_try_it() {
    let list = Machine::new().list();
    assert_eq!(list.devices.iter().map(|device| &*device.device).collect::<Vec<_>>(), ["sim:", "sim:FILE"]);
    assert!(list.devices.iter().all(|device| device.usable));
    let spi = list.spi.as_ref().unwrap();
    assert_eq!(spi.symptom, Some(Trouble::NodeMissing));
    let page = list.page().plain();
    assert!(page.contains("norfuse -o ro sim: m"), "{page}");
    assert!(!page.contains("dtparam"), "not a Raspberry Pi: {page}");
}

#[test]
fn a_raspberry_pi_without_spi_is_told_to_enable_it() {
    let spi = Machine::new().raspberry_pi().list().spi.unwrap();
    assert!(spi.cure[0].contains("dtparam=spi=on") && spi.cure[0].contains("config.txt"), "{spi:?}");
}

#[test]
fn a_bus_without_devices_is_told_from_no_bus() {
    let reason = |machine: Machine| machine.list().spi.unwrap().reason;
    assert!(reason(Machine::new()).contains("no SPI bus"));
    assert!(
        reason(Machine::new().with("sys/class/spi_master/spi0/uevent", ""))
            .contains("no device is described")
    );
}

#[test]
fn a_device_without_a_node_is_listed_with_the_reason() {
    let unloaded = Machine::new().kernel_device("spi0.0", None).list();
    assert_eq!(obstacle(&unloaded, "spidev0.0").cure, ["sudo modprobe spidev"]);
    assert!(unloaded.spi.is_none());

    let loaded = Machine::new().with("sys/module/spidev/parameters/bufsiz", "4096\n");
    let unbound = loaded.kernel_device("spi0.0", None).kernel_device("spi0.1", Some("ads7846"));
    let unbound = unbound.kernel_device("spi10.0", Some("spidev")).list();
    assert!(obstacle(&unbound, "spidev0.0").cure[0].contains("spi0.0/driver_override"));
    assert!(obstacle(&unbound, "spidev0.1").reason.contains("ads7846"));
    assert!(obstacle(&unbound, "spidev10.0").reason.contains("has no node"));
    for node in ["spidev0.0", "spidev0.1", "spidev10.0"] {
        assert_eq!(obstacle(&unbound, node).symptom, Some(Trouble::NodeMissing));
    }
}

#[test]
fn a_node_that_can_be_opened_is_usable_and_the_first_thing_to_try() {
    let machine = Machine::new().with("dev/spidev1.2", "").with("dev/spidev1", "").with("dev/spidevx.0", "");
    let list = machine.kernel_device("spi1.2", Some("spidev")).list();
    let [first, ..] = &list.devices[..] else { panic!() };
    assert!(first.usable && first.device.ends_with("/dev/spidev1.2"), "{first:?}");
    assert_eq!(list.devices.len(), 3);
    assert!(list.page().plain().contains(&format!("norfuse --identify {}", first.device)));
}

#[test]
fn a_node_in_use_is_told_and_left_alone() {
    let machine = Machine::new().with("dev/spidev0.0", "");
    let file = fs::File::open(machine.root.path().join("dev/spidev0.0")).unwrap();
    // SAFETY: flock takes no pointers, and the descriptor is open.
    let locked =
        unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(&file), libc::LOCK_EX | libc::LOCK_NB) };
    assert_eq!(locked, 0);
    assert!(obstacle(&machine.list(), "spidev0.0").reason.contains("in use"));
    drop(file);
    assert!(machine.list().devices[0].usable);
}

#[test]
fn what_is_missing_for_a_mount_is_told_to_those_who_need_it() {
    let machine = Machine::new().without("dev/fuse").without("bin/fusermount3");
    let reasons: Vec<_> =
        machine.list().mounting.obstacles.into_iter().map(|obstacle| obstacle.reason).collect();
    assert!(reasons[0].contains("dev/fuse") && reasons[1].contains("fusermount3"), "{reasons:?}");
    let root = Account { name: "root".to_owned(), is_root: true, groups: vec![0], listed_groups: vec![0] };
    assert_eq!(machine.list_for(root).mounting.obstacles.len(), 1);
    assert!(Machine::new().list().mounting.usable);
}

#[test]
fn the_gain_of_a_longer_bufsiz_is_counted_in_messages() {
    let with = |bufsiz: &str| Machine::new().with("sys/module/spidev/parameters/bufsiz", bufsiz);
    let short = with("4096\n").raspberry_pi().list();
    let json: serde_json::Value = serde_json::from_str(&short.json()).unwrap();
    assert_eq!(json["message_length"]["messages_per_full_read"], 4096);
    assert_eq!(json["message_length"]["recommended_messages_per_full_read"], 256);
    assert_eq!(json["message_length"]["gain_us"], (4096 - 256) * 15);
    assert!(short.page().plain().contains("cmdline.txt"));
    let module = with("4096\n").with("sys/module/spidev/initstate", "live\n").list();
    assert!(module.page().plain().contains("/etc/modprobe.d/norfuse.conf"));
    assert!(with("65536\n").list().message_length.unwrap().cure.is_empty());
    assert!(Machine::new().list().message_length.is_none());
}
