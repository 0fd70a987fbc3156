//! What is mounted, as the kernel says, and getting rid of it by force.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

use super::shell::Account;

/// A line of /proc/self/mounts.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) target: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: Vec<String>,
}

/// What is mounted at or below `directory`.
pub(crate) fn mounts_under(directory: &Path) -> Vec<Mount> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let parsed = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').map(str::to_owned);
        Some(Mount {
            source: fields.next()?,
            target: PathBuf::from(fields.next()?),
            kind: fields.next()?,
            options: fields.next()?.split(',').map(str::to_owned).collect(),
        })
    });
    parsed.filter(|mount| mount.target.starts_with(directory)).collect()
}

/// Takes everything at or below `directory` out of the file system, whoever still uses it.
pub(crate) fn detach_all_under(directory: &Path) {
    for mount in mounts_under(directory).iter().rev() {
        let detached = if geteuid().is_root() {
            umount2(&mount.target, MntFlags::MNT_DETACH).is_ok()
        } else {
            let mut command = Account::Own.command(Path::new("/"), "fusermount3");
            command.arg("-uz").arg(&mount.target).status().is_ok_and(|status| status.success())
        };
        if !detached {
            eprintln!("cannot unmount {}", mount.target.display());
        }
    }
}
