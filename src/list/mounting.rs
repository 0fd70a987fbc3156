//! What this user needs to mount: FUSE, and somebody who may mount.

use nix::unistd::{AccessFlags, access};

use super::Obstacle;
use super::host::Host;
use crate::fs::mount::HELPERS;

/// What stands in the way of a mount.
pub(super) fn obstacles(host: &Host) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let fuse = host.dev.join("fuse");
    if !fuse.exists() {
        obstacles.push(Obstacle::new(
            None,
            format!("there is no {}", fuse.display()),
            &["sudo modprobe fuse; in a container, pass the node in"],
        ));
    } else if access(&fuse, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
        let path = fuse.display();
        obstacles.push(Obstacle::new(
            None,
            format!("{path} may not be opened by {}", host.account.name),
            &[&format!("sudo chmod 666 {path}")],
        ));
    }
    if !host.account.is_root && !has_helper(host) {
        obstacles.push(Obstacle::new(
            None,
            "fusermount3 is missing, without which only root can mount",
            &["sudo apt install fuse3"],
        ));
    }
    obstacles
}

fn has_helper(host: &Host) -> bool {
    host.programs.iter().any(|directory| HELPERS.iter().any(|helper| directory.join(helper).exists()))
}
