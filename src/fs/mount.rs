//! Mounting and unmounting.
//!
//! Whoever may call mount(2) needs no helper; everybody else goes through the setuid `fusermount3`. The mount belongs to this
//! module and not to the FUSE session, so nothing is ever unmounted but what was mounted here.

use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::unistd::{getgid, getuid};

use super::requests::LONGEST_REQUEST;

const FUSE_DEVICE: &str = "/dev/fuse";

/// fusermount3 of fuse3, then fusermount of fuse2.
pub const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// How to mount.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the mount table shows as the source.
    pub source: String,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Whether the kernel lets other users than the mounting one in.
    pub allow_other: bool,
    /// Further flags, by the names that mount(8) has for them.
    pub flags: Vec<Flag>,
}

/// A mount flag as mount(8) and fusermount3 name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name.
    pub name: &'static str,
    set: MsFlags,
    clear: MsFlags,
}

const fn set(name: &'static str, set: MsFlags) -> Flag {
    Flag { name, set, clear: MsFlags::empty() }
}

const fn clear(name: &'static str, clear: MsFlags) -> Flag {
    Flag { name, set: MsFlags::empty(), clear }
}

const FLAGS: [Flag; 11] = [
    set("nosuid", MsFlags::MS_NOSUID),
    clear("suid", MsFlags::MS_NOSUID),
    set("nodev", MsFlags::MS_NODEV),
    clear("dev", MsFlags::MS_NODEV),
    set("noexec", MsFlags::MS_NOEXEC),
    clear("exec", MsFlags::MS_NOEXEC),
    set("noatime", MsFlags::MS_NOATIME),
    clear("atime", MsFlags::MS_NOATIME),
    set("sync", MsFlags::MS_SYNCHRONOUS),
    clear("async", MsFlags::MS_SYNCHRONOUS),
    set("dirsync", MsFlags::MS_DIRSYNC),
];

impl Flag {
    /// The flag with a name, if there is one.
    pub fn find(name: &str) -> Option<Self> {
        FLAGS.into_iter().find(|flag| flag.name == name)
    }
}

/// Why there is no mount, or still one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no FUSE.
    #[error("{FUSE_DEVICE} is missing; load the kernel module with 'modprobe fuse'")]
    NoFuse,
    /// Neither mount(2) nor a helper is at hand.
    #[error("only root can {operation} without fusermount3, which was not found; install the package fuse3")]
    NoHelper {
        /// What was to be done.
        operation: &'static str,
    },
    /// The helper said no.
    #[error("{helper} cannot {operation} {mountpoint}: {message}")]
    Helper {
        /// The helper's name.
        helper: &'static str,
        /// What it should have done.
        operation: &'static str,
        /// To which directory.
        mountpoint: PathBuf,
        /// What it said.
        message: String,
    },
    /// A system call failed.
    #[error("cannot {operation} {path}")]
    System {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the setuid helper may succeed where this process may not.
    fn needs_helper(&self) -> bool {
        match self {
            Self::System { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES)) && !getuid().is_root()
            }
            _ => false,
        }
    }
}

/// A mount of ours.
#[derive(Debug)]
pub struct Mount {
    mountpoint: PathBuf,
}

impl Mount {
    /// Mounts on `mountpoint`, an absolute path without symbolic links; returns the mount and the connection to the kernel.
    ///
    /// # Errors
    /// [`Error`], with nothing mounted.
    pub fn new(mountpoint: &Path, options: &Options) -> Result<(Self, OwnedFd), Error> {
        let connection = match mount_directly(mountpoint, options) {
            Err(error) if error.needs_helper() => mount_by_helper(mountpoint, options)?,
            result => result?,
        };
        Ok((Self { mountpoint: mountpoint.to_owned() }, connection))
    }

    /// Where it is.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The device number of the mounted file system, to tell it from whatever is mounted there later.
    ///
    /// # Errors
    /// What statx(2) returns.
    pub fn device_number(&self) -> io::Result<u64> {
        device_number(&self.mountpoint)
    }
}

/// Unmounts what is mounted on `mountpoint`. With `lazily`, also while files are open: it is gone for new callers and served
/// for the others.
///
/// # Errors
/// [`Error`] when it is still mounted.
pub fn unmount(mountpoint: &Path, lazily: bool) -> Result<(), Error> {
    match unmount_directly(mountpoint, lazily) {
        Err(error) if error.needs_helper() => unmount_by_helper(mountpoint, lazily),
        result => result,
    }
}

/// Whether what is mounted on `mountpoint` is a file system that nobody serves any more.
pub fn is_dead(mountpoint: &Path) -> bool {
    std::fs::read_dir(mountpoint).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
}

/// Cuts the connection between the kernel and the file system mounted on `mountpoint`: every request fails from then on.
///
/// # Errors
/// When nothing is mounted there, or the connection is somebody else's.
pub fn abort_connection(mountpoint: &Path) -> io::Result<()> {
    let connection = libc::minor(device_number(mountpoint)?);
    std::fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1")
        // Where fusectl is not mounted, root has another way, which begins with cutting the connection.
        .or_else(|_| Ok(nix::mount::umount2(mountpoint, MntFlags::MNT_FORCE)?))
}

fn system(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::System { operation, path: path.to_owned(), source }
}

fn helper_error(helper: &'static str, operation: &'static str, mountpoint: &Path, stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    let message = text.trim().trim_start_matches(helper).trim_start_matches(": ").to_owned();
    Error::Helper { helper, operation, mountpoint: mountpoint.to_owned(), message }
}

fn mount_directly(mountpoint: &Path, options: &Options) -> Result<OwnedFd, Error> {
    let connection = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::NoFuse,
            _ => system("open", Path::new(FUSE_DEVICE), source),
        }
    })?;
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,max_read={LONGEST_REQUEST}{}",
        connection.as_raw_fd(),
        getuid(),
        getgid(),
        if options.allow_other { ",allow_other" } else { "" },
    );
    nix::mount::mount(
        Some(options.source.as_str()),
        mountpoint,
        Some("fuse.norfuse"),
        mount_flags(options),
        Some(data.as_str()),
    )
    .map_err(|error| match error {
        Errno::ENODEV => Error::NoFuse,
        _ => system("mount on", mountpoint, error.into()),
    })?;
    Ok(connection.into())
}

fn mount_flags(options: &Options) -> MsFlags {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for flag in &options.flags {
        flags = (flags | flag.set) & !flag.clear;
    }
    flags.set(MsFlags::MS_RDONLY, options.read_only);
    flags
}

/// Has the setuid helper mount; it sends the connection through a socket, which it finds as its standard input.
fn mount_by_helper(mountpoint: &Path, options: &Options) -> Result<OwnedFd, Error> {
    for helper in HELPERS {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|error| system("talk to", Path::new(helper), error.into()))?;
        let spawned = Command::new(helper)
            .args([
                OsStr::new("-o"),
                OsStr::new(&helper_options(options)),
                OsStr::new("--"),
                mountpoint.as_os_str(),
            ])
            .env("_FUSE_COMMFD", "0")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(system("run", Path::new(helper), source)),
        };
        if let Some(connection) = receive_descriptor(&ours) {
            // It ends by itself; its status says nothing that the connection does not.
            let _ = child.wait();
            return Ok(connection);
        }
        let output = child.wait_with_output().map_err(|source| system("run", Path::new(helper), source))?;
        return Err(helper_error(helper, "mount on", mountpoint, &output.stderr));
    }
    Err(Error::NoHelper { operation: "mount" })
}

fn unmount_directly(mountpoint: &Path, lazily: bool) -> Result<(), Error> {
    let flags = if lazily { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    nix::mount::umount2(mountpoint, flags).map_err(|error| system("unmount", mountpoint, error.into()))
}

fn unmount_by_helper(mountpoint: &Path, lazily: bool) -> Result<(), Error> {
    for helper in HELPERS {
        let output = Command::new(helper)
            .arg(if lazily { "-uz" } else { "-u" })
            .arg("--")
            .arg(mountpoint)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => return Err(helper_error(helper, "unmount", mountpoint, &output.stderr)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(system("run", Path::new(helper), source)),
        }
    }
    Err(Error::NoHelper { operation: "unmount" })
}

fn helper_options(options: &Options) -> String {
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut list = vec![
        if options.read_only { "ro" } else { "rw" }.to_owned(),
        format!("fsname={source}"),
        "subtype=norfuse".to_owned(),
        "default_permissions".to_owned(),
        format!("max_read={LONGEST_REQUEST}"),
    ];
    list.extend(options.flags.iter().map(|flag| flag.name.to_owned()));
    if options.allow_other {
        list.push("allow_other".to_owned());
    }
    list.join(",")
}

/// The descriptor that the helper sends when it has mounted; none when it ends without.
fn receive_descriptor(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied().map(owned),
        _ => None,
    })
}

fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us while receiving the message, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The device number of the file system at `path`, without asking it: a process that is killed while it waits for an answer of
/// the file system that it serves itself never ends, and nor does anybody else who waits for one.
///
/// # Errors
/// What statx(2) returns.
pub fn device_number(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `path` ends in a zero and outlives the call, which writes no more than one statx to `found`, for which all zeros
    // are valid.
    let found = unsafe {
        if libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_STATX_DONT_SYNC, 0, found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(libc::makedev(found.stx_dev_major, found.stx_dev_minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            source: "sim:a,b.img".to_owned(),
            read_only: true,
            allow_other: false,
            flags: vec![Flag::find("noexec").unwrap(), Flag::find("dev").unwrap()],
        }
    }

    #[test]
    fn a_comma_in_the_source_does_not_end_the_helpers_option() {
        let list = helper_options(&options());
        assert!(list.contains("fsname=sim:a\\,b.img,"), "{list}");
        assert!(list.starts_with("ro,") && list.ends_with(",noexec,dev"), "{list}");
    }

    #[test]
    fn later_flags_change_the_safe_ones_that_are_always_there() {
        let flags = mount_flags(&options());
        assert_eq!(flags, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY);
    }
}
