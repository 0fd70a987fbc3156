//! The command line: arguments in, what is to be done out. Nothing is opened in here.

mod options;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgGroup, CommandFactory, Parser, ValueHint};
use clap_complete::Shell;

use options::Options;
pub use options::{Access, Error, MountSettings, parse_speed, parse_unlock};

use crate::chip::part::Part;
use crate::chip::{Speed, Unlock, parts};
use crate::fs::partitions::mtdparts::Mtdparts;

/// More readings than this would be a way to wait, not to be surer.
const MOST_READ_REPEAT: i64 = 16;

const AFTER_HELP: &str = "\
DEVICE is one of:
  /dev/spidevB.C   a chip on SPI bus B, chip select C
  sim:             a simulated FM25Q128A in memory with a small demonstration firmware
  sim:FILE         a simulated FM25Q128A whose contents are FILE; created blank where missing

MOUNTPOINT then holds raw.bin (the whole chip), sectors/ADDRESS.bin (4 KiB each), partitions/NAME.bin, jedec_id, info.json,
map.svg (a picture) and, where the chip has them, sfdp.bin and unique_id. norfuse goes to the background once they can be used.
Unmount with 'umount MOUNTPOINT', or 'fusermount3 -u MOUNTPOINT' as an ordinary user.

Mount options:
  -o ro, rw                        read only; read and write (the default)
  -o allow_other, allow_root       let other users, or only root, in beside you
  -o uid=N, gid=N, umask=M         owner, group and (octal) umask of the files; 077 by default
  -o scratch=SIZE                  memory for scratch files, such as 8M; twice the chip's size by default
  -o read_repeat=N, no_scrub       as --read-repeat, --no-scrub
  -o state_dir=DIR, no_journal     as --state-dir, --no-journal
  -o layout=FILE, mtdparts=PARTS   as --layout, --mtdparts
  -o speed=HZ, speed=auto          as --speed
  -o chip=NAME                     as --chip
  -o unlock, unlock=permanent      as --unlock
  -o auto_unmount                  unmount even if norfuse is killed
  -o page_cache                    let the kernel keep copies of what is read, as it must before Linux 6.6
  -o debug                         as --debug
  -o sim_realtime                  as --sim-realtime
  -o sim_faults=FILE               as --sim-faults
and those of mount(8): nosuid, nodev, noexec, noatime, sync, their opposites, and what fstab is allowed to contain.

RUST_LOG sets what is logged (error, warn, info, debug), to standard error with -f and to syslog without.";

/// Mount an SPI NOR flash chip as a directory of files.
#[derive(Debug, Parser)]
#[command(name = "norfuse", version, about, after_help = AFTER_HELP, disable_version_flag = true)]
#[command(
    override_usage = "norfuse [OPTIONS] <DEVICE> <MOUNTPOINT>\n       norfuse --identify [--json] <DEVICE>\n       norfuse --list [--json]"
)]
#[command(group = ArgGroup::new("look").args(["identify", "list"]))]
struct Arguments {
    /// What the chip is on: /dev/spidevB.C, sim: or sim:FILE
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "list", conflicts_with = "list")]
    device: Option<String>,

    /// The directory to mount on
    #[arg(value_hint = ValueHint::DirPath, required_unless_present = "look", conflicts_with = "look")]
    mountpoint: Option<PathBuf>,

    /// Show what is on the wire (ids, SFDP, registers, size, clock) without mounting or writing
    #[arg(long)]
    identify: bool,

    /// Show which devices could be used, and what stands in the way of the others
    #[arg(long)]
    list: bool,

    /// Print what --identify and --list show as JSON, for programs
    #[arg(long, requires = "look")]
    json: bool,

    /// Stay in the foreground and log to standard error
    #[arg(short = 'f', long)]
    foreground: bool,

    /// Log everything; implies --foreground
    #[arg(short = 'd', long)]
    debug: bool,

    /// The SPI clock, such as 8M, 16MHz or 8000000, or auto: the fastest up to 32 MHz that reads well [default: auto]
    #[arg(long, value_name = "HZ", value_parser = parse_speed)]
    speed: Option<Speed>,

    /// Use the chip as this part, instead of asking it what it is
    #[arg(long, value_name = "NAME", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(parts::names()).try_map(|name| parts::by_name(&name).ok_or("no such part")))]
    chip: Option<Part>,

    /// Clear the chip's write protection when it refuses a write: until power-up or unmount, or in its registers for good
    #[arg(long, value_name = "permanent", num_args = 0..=1, require_equals = true, value_parser = parse_unlock)]
    #[arg(default_missing_value = "volatile")]
    unlock: Option<Unlock>,

    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTIONS", action = ArgAction::Append)]
    options: Vec<String>,

    /// Believe a byte only when N readings agree
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_READ_REPEAT))]
    read_repeat: Option<u32>,

    /// Do not read again, when the bus is idle, what has been read once
    #[arg(long)]
    no_scrub: bool,

    /// Keep the journal of interrupted writes in DIR
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state_dir: Option<PathBuf>,

    /// Keep no journal: a write that is interrupted stays half done
    #[arg(long)]
    no_journal: bool,

    /// Finish an interrupted write even if the chip cannot be recognised as the one that it was for
    #[arg(long, conflicts_with_all = ["discard_journal", "no_journal"])]
    replay_journal: bool,

    /// Drop interrupted writes that are waiting to be finished
    #[arg(long, conflicts_with = "no_journal")]
    discard_journal: bool,

    /// Show the parts of the chip that FILE names, in flashrom's layout syntax
    #[arg(long, value_name = "FILE")]
    layout: Option<PathBuf>,

    /// Show these parts of the chip, in the kernel's syntax, such as '256k(boot),64k(env),2m(kernel),-(rootfs)'
    #[arg(long, value_name = "PARTS", allow_hyphen_values = true)]
    mtdparts: Option<String>,

    /// Let the simulated chip take as long as a real one
    #[arg(long)]
    sim_realtime: bool,

    /// Let the simulated chip fail as this file says; it may change at any time
    #[arg(long, value_name = "FILE")]
    sim_faults: Option<PathBuf>,

    /// Print the definitions with which this shell completes command lines
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Given by mount(8); without meaning here
    #[arg(short = 'n', short_alias = 's', hide = true)]
    no_mtab: bool,

    /// Given by mount(8); without meaning here
    #[arg(short = 'v', hide = true)]
    verbose: bool,
}

/// Where a chip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Behind a spidev node.
    Spidev(PathBuf),
    /// Simulated, in memory, with the demonstration firmware.
    Demonstration,
    /// Simulated, with its contents in a file.
    SimulatedFile(PathBuf),
}

/// How to reach the chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Where it is.
    pub device: Device,
    /// As the user named it.
    pub name: String,
    /// Which part it is, if the user says.
    pub chip: Option<Part>,
    /// The clock.
    pub speed: Speed,
    /// Whether simulated time is real time.
    pub sim_realtime: bool,
    /// Where a simulated chip's faults are read from.
    pub sim_faults: Option<PathBuf>,
}

/// What to do about interrupted writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JournalMode {
    /// Keep a journal, and finish what it holds if the chip is recognised.
    #[default]
    Keep,
    /// Keep a journal, and finish what it holds on whatever chip there is.
    Replay,
    /// Keep a journal, and drop what it holds.
    Discard,
    /// Keep none.
    Off,
}

/// How carefully to go about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareConfig {
    /// How many readings must agree.
    pub read_repeat: u32,
    /// Whether to read again when the bus is idle.
    pub scrub: bool,
    /// What to do about interrupted writes.
    pub journal: JournalMode,
    /// Whether and how far a protected chip is unlocked when it refuses a write.
    pub unlock: Option<Unlock>,
    /// Where the journal is, if the user says.
    pub state_dir: Option<PathBuf>,
}

/// Where the names of parts of the chip come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionsConfig {
    /// From the chip.
    Chip,
    /// From this file.
    Layout(PathBuf),
    /// From the command line.
    Mtdparts(Mtdparts),
}

/// What a mount is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// Whether to stay in the foreground.
    pub foreground: bool,
    /// Whether to log everything.
    pub debug: bool,
    /// How carefully to go about.
    pub care: CareConfig,
    /// Which parts of the chip have names.
    pub partitions: PartitionsConfig,
    /// What `-o` asked for.
    pub settings: MountSettings,
}

/// Whom something is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People.
    Page,
    /// Programs.
    Json,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Show which devices there are.
    List(Format),
    /// Print how a shell completes command lines.
    Completions(Shell),
    /// Show what is on the wire.
    Identify(DeviceConfig, Format),
    /// Mount a chip.
    Mount(DeviceConfig, MountConfig),
}

/// Reads the command line of this process. Help, version and usage errors end it.
///
/// # Errors
/// When a mount option is unknown or has a wrong value, or partitions are not understood.
pub fn parse() -> Result<Command, Error> {
    command(Arguments::parse())
}

/// The definitions with which `shell` completes command lines of norfuse.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut definitions = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "norfuse", &mut definitions);
    definitions
}

fn command(arguments: Arguments) -> Result<Command, Error> {
    if let Some(shell) = arguments.completions {
        return Ok(Command::Completions(shell));
    }
    let format = if arguments.json { Format::Json } else { Format::Page };
    // The parser insists on a device for everything else.
    let Some(name) = arguments.device else {
        return Ok(Command::List(format));
    };
    let options = Options::parse(arguments.options.iter().map(String::as_str))?;
    let device = DeviceConfig {
        device: device(&name),
        name,
        chip: arguments.chip.or(options.chip),
        speed: arguments.speed.or(options.speed).unwrap_or_default(),
        sim_realtime: arguments.sim_realtime || options.sim_realtime,
        sim_faults: arguments.sim_faults.or(options.sim_faults),
    };
    let Some(mountpoint) = arguments.mountpoint else {
        return Ok(Command::Identify(device, format));
    };
    let partitions = partitions(
        arguments.layout.or(options.layout),
        arguments.mtdparts.as_deref().or(options.mtdparts.as_deref()),
    )?;
    let debug = arguments.debug || options.debug;
    let foreground = arguments.foreground || debug;
    let care = CareConfig {
        read_repeat: arguments.read_repeat.or(options.read_repeat).unwrap_or(1),
        scrub: !(arguments.no_scrub || options.no_scrub),
        journal: if arguments.no_journal || options.no_journal {
            JournalMode::Off
        } else if arguments.discard_journal {
            JournalMode::Discard
        } else if arguments.replay_journal {
            JournalMode::Replay
        } else {
            JournalMode::Keep
        },
        unlock: arguments.unlock.or(options.unlock),
        state_dir: arguments.state_dir.or(options.state_dir),
    };
    let settings = options.mount;
    Ok(Command::Mount(device, MountConfig { mountpoint, foreground, debug, care, partitions, settings }))
}

fn partitions(layout: Option<PathBuf>, mtdparts: Option<&str>) -> Result<PartitionsConfig, Error> {
    match (layout, mtdparts) {
        (None, None) => Ok(PartitionsConfig::Chip),
        (Some(layout), None) => Ok(PartitionsConfig::Layout(layout)),
        (None, Some(mtdparts)) => Ok(PartitionsConfig::Mtdparts(Mtdparts::parse(mtdparts)?)),
        (Some(_), Some(_)) => Err(Error::LayoutAndMtdparts),
    }
}

fn device(name: &str) -> Device {
    match name.strip_prefix("sim:") {
        Some("") => Device::Demonstration,
        Some(file) => Device::SimulatedFile(PathBuf::from(file)),
        None => Device::Spidev(PathBuf::from(name)),
    }
}

#[cfg(test)]
mod tests;
