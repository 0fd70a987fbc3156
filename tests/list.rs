//! `norfuse --list` on a machine with spidev nodes: a mount namespace in which /dev and /sys are made for the test.

mod common;

use common::{Account, Bench, Finished, noise};
use nix::unistd::geteuid;
use serde_json::Value;

/// A Raspberry Pi's /dev and /sys with four nodes and a device that has none, as somebody sees them who is in no group: each node
/// is opened by the kernel as a file is.
const MACHINE: &str = "
    mount -t tmpfs none /sys
    mkdir -p /sys/bus/spi/devices/spi2.0 /sys/module/spidev/parameters
    echo 4096 >/sys/module/spidev/parameters/bufsiz
    mkdir -p dev
    mount -t tmpfs none dev
    for node in null fuse; do touch dev/$node; mount --bind /dev/$node dev/$node; done
    mount --move dev /dev
    cd /dev
    touch spidev0.0 spidev0.1 spidev1.0 spidev1.1
    chmod 666 spidev0.0 spidev1.0
    chmod 660 spidev0.1 spidev1.1
    chown 0:12345 spidev0.1";

fn on_machine(bench: &Bench, arguments: &str) -> String {
    let look = format!("setpriv --reuid=65534 --regid=65534 --clear-groups \"$NORFUSE\" {arguments}");
    let script = format!("set -e{MACHINE}\nflock spidev1.0 {look}");
    let mut unshare = Account::Own.command(bench.directory(), "unshare");
    unshare.env("NORFUSE", bench.binary()).args(["--mount", "bash", "-c", &script]);
    Finished::of(unshare, arguments).ok().stdout
}

#[test]
fn each_node_is_listed_with_what_stands_in_its_way() {
    if !geteuid().is_root() {
        eprintln!("only root can make another /dev");
        return;
    }
    let bench = Bench::of_ordinary_user(&noise(1));
    let list: Value = serde_json::from_str(&on_machine(&bench, "--list --json")).unwrap();
    let [free, of_group, in_use, of_root, missing, ..] = &list["devices"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    assert_eq!((&free["device"], &free["usable"]), (&"/dev/spidev0.0".into(), &true.into()), "{list}");
    assert_eq!(of_group["obstacle"]["symptom"], "permission denied", "{list}");
    let join = of_group["obstacle"]["cure"][0].as_str().unwrap();
    assert!(join.starts_with("sudo usermod -aG 12345 "), "{list}");
    assert!(in_use["obstacle"]["reason"].as_str().unwrap().contains("in use by another norfuse"), "{list}");
    assert!(of_root["obstacle"]["cure"][0].as_str().unwrap().contains("60-norfuse.rules"), "{list}");
    assert_eq!(missing["device"], "/dev/spidev2.0");
    assert_eq!(missing["obstacle"]["symptom"], "node missing", "{list}");
    assert_eq!(list["message_length"]["bufsiz"], 4096);
    assert_eq!(list["mounting"]["usable"], true);

    let page = on_machine(&bench, "--list");
    assert!(page.contains("norfuse --identify /dev/spidev0.0"), "{page}");
    assert!(page.contains("see \"permission denied\" in"), "{page}");
}
