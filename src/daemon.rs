//! The life of a mount: start, background, signals, end.

mod background;
mod journal;
mod sandbox;
mod signals;
mod unmounter;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use nix::unistd::{getgid, getuid};

use crate::chip::{self, Chip};
use crate::cli::{Access, DeviceConfig, JournalMode, MountConfig, PartitionsConfig};
use crate::fs::mount::{self, Mount};
use crate::fs::partitions::{self, Placed, Wanted, layout};
use crate::fs::{self, FlashFs, Ownership};
use crate::image::{self, Image};
use crate::{device, progress, spi};
use background::Starter;
use sandbox::{Directories, Protection};
use unmounter::Unmounter;

/// FUSE threads: none of them waits for the bus, so a few serve any number of callers.
const FUSE_THREADS: usize = 4;

/// How long open files may keep a signalled process from ending.
const LINGER: Duration = Duration::from_secs(10);

/// Why a mount did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] spi::Error),
    /// There is no chip to be used on the device.
    #[error("{device}")]
    Chip {
        /// The device's name.
        device: String,
        /// What is wrong.
        source: chip::Error,
    },
    /// The mountpoint cannot be used.
    #[error("cannot mount on {path}")]
    Mountpoint {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A dead file system is still mounted there.
    #[error(
        "on {0} there is a mount whose file system has died; clean up with 'fusermount3 -u {0}' or 'umount {0}'"
    )]
    Stale(PathBuf),
    /// The mountpoint is no directory.
    #[error("cannot mount on {0}: it is not a directory")]
    NotADirectory(PathBuf),
    /// Mounting failed.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// The layout file cannot be read.
    #[error("cannot read the layout {path}")]
    ReadLayout {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The layout file is not understood.
    #[error("{path}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: layout::Error,
    },
    /// The chip cannot have the partitions that the user wants.
    #[error(transparent)]
    Partitions(#[from] partitions::Error),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] image::journal::Error),
    /// Without the journal, an interrupted write would be finished later, over what is written now.
    #[error(
        "an interrupted write is waiting to be finished: mount without --no-journal to finish it, or drop it with --discard-journal"
    )]
    JournalWaiting,
    /// The chip's bytes cannot be served.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The system refused something that is needed to run.
    #[error("cannot {operation}")]
    System {
        /// What was being done.
        operation: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that was written is not on the chip.
    #[error("not everything that was written is on the chip")]
    Pending(#[source] image::Error),
    /// The process in the background ended before the mount was ready, and has told nothing.
    #[error("the background process ended unexpectedly")]
    Background,
    /// The process in the background has told why the mount did not start.
    #[error("{0}")]
    Told(String),
}

fn system(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { operation, source }
}

/// Mounts the chip and serves it until it is unmounted. Without `foreground` the caller's process returns as soon as the mount
/// can be used, and another one serves it.
///
/// # Errors
/// Why there is no mount; or, from the process that serves, what has not reached the chip.
pub fn run(mut device: DeviceConfig, mut config: MountConfig) -> Result<(), Error> {
    background::open_standard_descriptors().map_err(system("open /dev/null"))?;
    device::make_absolute(&mut device).map_err(system("find the working directory"))?;
    if let Some(directory) = &mut config.care.state_dir {
        *directory = std::path::absolute(&directory).map_err(system("find the working directory"))?;
    }
    let wanted = wanted_partitions(&config.partitions)?;
    let mountpoint = check_mountpoint(&config.mountpoint)?;
    let starter = if config.foreground { Starter::foreground() } else { background::fork()? };
    match starter {
        None => Ok(()),
        Some(mut starter) => match start(&device, &config, &wanted, &mountpoint, &mut starter) {
            Ok(running) => running.serve(starter),
            Err(error) => Err(starter.fail(error)),
        },
    }
}

/// A mount that can be used.
struct Running {
    image: Arc<Image>,
    mount: Arc<Mount>,
    unmounter: Arc<Unmounter>,
    session: fuser::BackgroundSession,
    protection: Protection,
}

/// The order matters. The process that unmounts comes first, so that it inherits nothing; then all that opens files or needs
/// rights; then these rights are given up, which concerns this thread and those that it starts; and then come the threads.
fn start(
    device: &DeviceConfig,
    config: &MountConfig,
    wanted: &Wanted,
    mountpoint: &Path,
    starter: &mut Starter,
) -> Result<Running, Error> {
    // Threads and the other process inherit this: only the thread that waits for signals shall have them.
    signals::block().map_err(system("block signals"))?;
    let unmounter = Unmounter::start(mountpoint, config.settings.auto_unmount, || starter.leave())
        .map_err(system("start a process"))?;
    let unmounter = Arc::new(unmounter);
    let bus = device::open(device)?;
    let chip = Chip::identify_as(device.chip.clone(), bus, device.speed)
        .map_err(|source| Error::Chip { device: device.name.clone(), source })?;
    log::info!("{}: {} ({}), {} bytes", device.name, chip.part().name, chip.id(), chip.part().size);
    let partitions = place(wanted, chip.part().size)?;
    let journal = journal::open(&chip, device, &config.care, config.settings.read_only)?;
    let (mount, connection) = Mount::new(mountpoint, &mount_options(device, config))?;
    let state = journal.as_ref().and_then(|(journal, _)| journal.path().parent());
    let faults = device.sim_faults.as_deref().and_then(Path::parent);
    let protection = sandbox::restrict(Directories { state, faults });
    let options = image::Options {
        read_repeat: config.care.read_repeat,
        scrub: config.care.scrub,
        journal,
        unlock: config.care.unlock,
        replay_always: config.care.journal == JournalMode::Replay,
    };
    let mounted = Mounted {
        chip,
        options,
        partitions,
        mount,
        connection,
        unmounter: Arc::clone(&unmounter),
        protection,
    };
    mounted.start_threads(device, config).inspect_err(|_| {
        // The mount is of no use to anybody, and the first error is what the user must see.
        let _ = unmounter.unmount(true);
    })
}

/// A mount that nobody serves yet.
struct Mounted {
    chip: Chip,
    options: image::Options,
    partitions: Option<Placed>,
    mount: Mount,
    connection: OwnedFd,
    unmounter: Arc<Unmounter>,
    protection: Protection,
}

impl Mounted {
    fn start_threads(self, device: &DeviceConfig, config: &MountConfig) -> Result<Running, Error> {
        let Self { chip, options, partitions, mount, connection, unmounter, protection } = self;
        let image = Arc::new(Image::start(chip, options)?);
        let settings = fs_settings(config);
        let (fs, invalidations) = FlashFs::new(Arc::clone(&image), device.name.clone(), settings, partitions);
        let session =
            serve(fs, connection, config.settings.access).map_err(system("start the FUSE session"))?;
        invalidations.start(session.notifier()).map_err(system("start a thread"))?;
        let mount = Arc::new(mount);
        signals::wait_in_background(Arc::clone(&image), Arc::clone(&mount), Arc::clone(&unmounter))
            .map_err(system("start a thread"))?;
        Ok(Running { image, mount, unmounter, session, protection })
    }
}

/// What the command line says about partitions, with the file read that it names.
fn wanted_partitions(config: &PartitionsConfig) -> Result<Wanted, Error> {
    Ok(match config {
        PartitionsConfig::Chip => Wanted::OfChip,
        PartitionsConfig::Mtdparts(mtdparts) => Wanted::Mtdparts(mtdparts.clone()),
        PartitionsConfig::Layout(path) => {
            let path = path.clone();
            match std::fs::read_to_string(&path) {
                Ok(text) => match layout::parse(&text) {
                    Ok(partitions) => Wanted::Layout(partitions),
                    Err(source) => return Err(Error::Layout { path, source }),
                },
                Err(source) => return Err(Error::ReadLayout { path, source }),
            }
        }
    })
}

fn place(wanted: &Wanted, size: u32) -> Result<Option<Placed>, Error> {
    let placed = wanted.place(size)?;
    if let (Wanted::Mtdparts(mtdparts), Some(placed)) = (wanted, &placed) {
        if placed.list.len() < mtdparts.entry_count() {
            log::warn!("nothing is left of the chip for the last partition, so it is not shown");
        }
    }
    Ok(placed)
}

fn fs_settings(config: &MountConfig) -> fs::Settings {
    let settings = &config.settings;
    let ownership = Ownership {
        uid: settings.uid.unwrap_or(getuid().as_raw()),
        gid: settings.gid.unwrap_or(getgid().as_raw()),
        umask: settings.umask,
        read_only: settings.read_only,
    };
    fs::Settings {
        ownership,
        page_cache: settings.page_cache,
        scratch_limit: settings.scratch,
        unlocks: config.care.unlock.is_some(),
    }
}

fn mount_options(device: &DeviceConfig, config: &MountConfig) -> mount::Options {
    let settings = &config.settings;
    mount::Options {
        source: device.name.clone(),
        read_only: settings.read_only,
        allow_other: settings.access != Access::Owner,
        flags: settings.flags.clone(),
    }
}

fn serve(fs: FlashFs, connection: OwnedFd, access: Access) -> io::Result<fuser::BackgroundSession> {
    let acl = match access {
        Access::Owner => SessionACL::Owner,
        Access::OwnerAndRoot => SessionACL::RootAndOwner,
        Access::Everybody => SessionACL::All,
    };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(FUSE_THREADS);
    Session::from_fd(fs, connection, acl, config)?.spawn()
}

impl Running {
    /// Tells that the mount is ready, and waits for its end.
    fn serve(self, starter: Starter) -> Result<(), Error> {
        starter.ready();
        log::info!("mounted on {}", self.mount.mountpoint().display());
        let level = if self.protection.is_complete() { log::Level::Info } else { log::Level::Warn };
        log::log!(level, "{}", self.protection);
        if let Err(error) = self.session.join() {
            log::error!("the FUSE session ended: {error}");
        }
        log::info!("unmounted");
        let result = progress::shown(&self.image, || self.image.stop()).map_err(Error::Pending);
        drop(self.mount);
        self.unmounter.stop();
        if let Err(error) = &result {
            log::error!("{error}");
        }
        result
    }
}

/// The mountpoint as an absolute path without symbolic links, if something can be mounted on it.
fn check_mountpoint(path: &Path) -> Result<PathBuf, Error> {
    let cannot = |source: io::Error| match source.raw_os_error() {
        Some(libc::ENOTCONN) => Error::Stale(path.to_owned()),
        _ => Error::Mountpoint { path: path.to_owned(), source },
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_dir() {
        return Err(Error::NotADirectory(path.to_owned()));
    }
    let absolute = path.canonicalize().map_err(cannot)?;
    match std::fs::read_dir(&absolute) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                log::warn!(
                    "{} is not empty; what it holds is hidden while the chip is mounted",
                    path.display()
                );
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => return Err(cannot(error)),
        // A directory that cannot be listed may still be mounted on.
        Err(_) => {}
    }
    Ok(absolute)
}

/// Whether the file system at `mountpoint` is the one with `device_number`.
fn is_mounted(mountpoint: &Path, device_number: u64) -> bool {
    mount::device_number(mountpoint).is_ok_and(|found| found == device_number)
}
