//! The `-o` list: what norfuse has, and what mount(8) and fstab pass along.

use std::path::PathBuf;

use super::MOST_READ_REPEAT;
use crate::chip::part::Part;
use crate::chip::{Speed, Unlock, parts};
use crate::fs::mount::Flag;
use crate::fs::partitions::mtdparts;

/// The range of clocks that an SPI flash and a programmer could have in common, in Hz.
const SPEEDS: std::ops::RangeInclusive<u32> = 1_000..=200_000_000;

/// For mount(8), systemd and other readers of fstab, or already what norfuse does.
const FOR_OTHERS: &[&str] = &[
    "_netdev",
    "auto",
    "bg",
    "default_permissions",
    "defaults",
    "diratime",
    "fg",
    "group",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noauto",
    "nodiratime",
    "nofail",
    "nogroup",
    "noiversion",
    "nolazytime",
    "nomand",
    "nonempty",
    "noowner",
    "norelatime",
    "nostrictatime",
    "nosymfollow",
    "nouser",
    "nousers",
    "owner",
    "relatime",
    "silent",
    "strictatime",
    "symfollow",
    "user",
    "users",
];

const FOR_OTHERS_WITH_VALUE: &[&str] = &["comment", "user", "subtype", "fsname", "uhelper", "helper"];

/// Who is let in beside the mounting user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    #[default]
    Owner,
    /// Root.
    OwnerAndRoot,
    /// Everybody whom the files' permissions let in.
    Everybody,
}

/// What the mount shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountSettings {
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Who is let in.
    pub access: Access,
    /// Unmount when norfuse ends in whatever way.
    pub auto_unmount: bool,
    /// Let the kernel cache chip files even where it need not.
    pub page_cache: bool,
    /// How many bytes scratch files may take together, if the user says.
    pub scratch: Option<u64>,
    /// The user id that files show, if not the mounting user's.
    pub uid: Option<u32>,
    /// The group id that files show, if not the mounting user's.
    pub gid: Option<u32>,
    /// The permission bits that files lack.
    pub umask: Option<u16>,
    /// Flags for mount(2).
    pub flags: Vec<Flag>,
}

/// Everything that `-o` can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mount: MountSettings,
    pub(super) chip: Option<Part>,
    pub(super) speed: Option<Speed>,
    pub(super) unlock: Option<Unlock>,
    pub(super) debug: bool,
    pub(super) read_repeat: Option<u32>,
    pub(super) no_scrub: bool,
    pub(super) no_journal: bool,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) layout: Option<PathBuf>,
    pub(super) mtdparts: Option<String>,
    pub(super) sim_realtime: bool,
    pub(super) sim_faults: Option<PathBuf>,
}

/// What is wrong with a mount option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody knows it.
    #[error("unknown mount option '{0}'; 'norfuse --help' lists them")]
    Unknown(String),
    /// Its value is not of its kind.
    #[error("mount option '{name}' takes {expected}, not '{value}'")]
    Value {
        /// The option.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        value: String,
    },
    /// Partitions are described in a way that nobody understands.
    #[error("mtdparts")]
    Mtdparts(#[from] mtdparts::Error),
    /// Partitions are described twice.
    #[error("partitions come from a layout or from mtdparts, not from both")]
    LayoutAndMtdparts,
}

impl Options {
    /// Reads the lists in the order given; later options win.
    pub(super) fn parse<'a>(lists: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let mut options = Self::default();
        for option in lists.flat_map(split).filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((name, value)) => options.apply_value(name, value)?,
                None => options.apply_word(option)?,
            }
        }
        Ok(options)
    }

    fn apply_word(&mut self, word: &str) -> Result<(), Error> {
        match word {
            "ro" => self.mount.read_only = true,
            "rw" => self.mount.read_only = false,
            "allow_other" => self.mount.access = Access::Everybody,
            "allow_root" => self.mount.access = Access::OwnerAndRoot,
            "auto_unmount" => self.mount.auto_unmount = true,
            "page_cache" => self.mount.page_cache = true,
            "debug" => self.debug = true,
            "no_scrub" => self.no_scrub = true,
            "no_journal" => self.no_journal = true,
            "unlock" => self.unlock = Some(Unlock::Volatile),
            "sim_realtime" => self.sim_realtime = true,
            "uid" | "gid" | "umask" | "scratch" | "chip" | "speed" | "read_repeat" | "state_dir"
            | "layout" | "mtdparts" | "sim_faults" => {
                return Err(value_error(word, "a value (as in NAME=VALUE)", ""));
            }
            _ => match Flag::find(word) {
                Some(flag) => self.mount.flags.push(flag),
                None if is_for_others(word, FOR_OTHERS) => {}
                None => return Err(Error::Unknown(word.to_owned())),
            },
        }
        Ok(())
    }

    fn apply_value(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "uid" => self.mount.uid = Some(number(name, value, "a numeric user id", 10)?),
            "gid" => self.mount.gid = Some(number(name, value, "a numeric group id", 10)?),
            "umask" => self.mount.umask = Some(umask(value)?),
            "scratch" => {
                let scratch = parse_size(value).map_err(|_| value_error(name, SIZE_FORM, value))?;
                self.mount.scratch = Some(scratch);
            }
            "speed" => {
                let speed = parse_speed(value).map_err(|_| value_error(name, SPEED_FORM, value))?;
                self.speed = Some(speed);
            }
            "chip" => {
                let expected = "the name of a part that 'norfuse --help' lists";
                let part = parts::by_name(value).ok_or_else(|| value_error(name, expected, value))?;
                self.chip = Some(part);
            }
            "unlock" => {
                let unlock = parse_unlock(value).map_err(|_| value_error(name, UNLOCK_FORM, value))?;
                self.unlock = Some(unlock);
            }
            "read_repeat" => self.read_repeat = Some(read_repeat(value)?),
            "state_dir" => self.state_dir = Some(PathBuf::from(value)),
            "layout" => self.layout = Some(PathBuf::from(value)),
            "mtdparts" => self.mtdparts = Some(value.to_owned()),
            "sim_faults" => self.sim_faults = Some(PathBuf::from(value)),
            _ if is_for_others(name, FOR_OTHERS_WITH_VALUE) => {}
            _ => return Err(Error::Unknown(format!("{name}={value}"))),
        }
        Ok(())
    }
}

/// The options of a list. The value of `mtdparts` has commas of its own: before another partition, which begins with a digit or `-`
/// as no option does, and in names, which are in parentheses.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut commas = text.match_indices(',').map(|(comma, _)| comma);
        let end = commas.find(|&comma| !goes_on(&text[..comma], &text[comma + 1..])).unwrap_or(text.len());
        rest = text.get(end + 1..);
        Some(&text[..end])
    })
}

/// Whether the option `before` a comma goes on `behind` it.
fn goes_on(before: &str, behind: &str) -> bool {
    before.starts_with("mtdparts=")
        && (behind.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            || before.rfind('(') > before.rfind(')'))
}

fn is_for_others(name: &str, list: &[&str]) -> bool {
    list.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

fn value_error(name: &str, expected: &'static str, value: &str) -> Error {
    Error::Value { name: name.to_owned(), expected, value: value.to_owned() }
}

fn number(name: &str, value: &str, expected: &'static str, radix: u32) -> Result<u32, Error> {
    u32::from_str_radix(value, radix).map_err(|_| value_error(name, expected, value))
}

fn umask(value: &str) -> Result<u16, Error> {
    let expected = "up to four octal digits";
    let mask = number("umask", value, expected, 8)?;
    u16::try_from(mask)
        .ok()
        .filter(|&mask| mask <= 0o777)
        .ok_or_else(|| value_error("umask", expected, value))
}

fn read_repeat(value: &str) -> Result<u32, Error> {
    let expected = "a number from 1 to 16";
    let repeat = number("read_repeat", value, expected, 10)?;
    if (1..=MOST_READ_REPEAT).contains(&i64::from(repeat)) {
        Ok(repeat)
    } else {
        Err(value_error("read_repeat", expected, value))
    }
}

const SPEED_FORM: &str = "auto or a clock from 1k to 200M such as 8M, 16MHz, 32.768M or 8000000";

/// Reads a clock: a number, with an optional unit `k`, `M` or `G` and an optional `Hz`; or `auto`.
///
/// # Errors
/// What a clock looks like, when `text` does not.
pub fn parse_speed(text: &str) -> Result<Speed, String> {
    let form = || format!("expected {SPEED_FORM}");
    let lower = text.trim().to_ascii_lowercase();
    if lower == "auto" {
        return Ok(Speed::Auto);
    }
    let digits = lower.strip_suffix("hz").unwrap_or(&lower).trim_end();
    let (digits, unit) = match digits.char_indices().last() {
        Some((end, 'k')) => (&digits[..end], 1_000),
        Some((end, 'm')) => (&digits[..end], 1_000_000),
        Some((end, 'g')) => (&digits[..end], 1_000_000_000),
        _ => (digits, 1),
    };
    decimal(digits.trim_end(), unit).filter(|hz| SPEEDS.contains(hz)).map(Speed::Fixed).ok_or_else(form)
}

const SIZE_FORM: &str = "a number of bytes such as 8M, 512k or 33554432";

/// Reads a size in bytes: a number, with an optional unit `k`, `M` or `G` that stands for powers of 1024.
///
/// # Errors
/// What a size looks like, when `text` does not.
fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, shift) = match lower.char_indices().last() {
        Some((end, 'k')) => (&lower[..end], 10),
        Some((end, 'm')) => (&lower[..end], 20),
        Some((end, 'g')) => (&lower[..end], 30),
        _ => (lower.as_str(), 0),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.parse::<u64>().ok().filter(|_| is_number).and_then(|size| size.checked_mul(1 << shift));
    size.ok_or_else(|| format!("expected {SIZE_FORM}"))
}

const UNLOCK_FORM: &str = "no value, volatile or permanent";

/// Reads how far unlocking may go: `volatile` or `permanent`.
///
/// # Errors
/// What it can be, when `text` is neither.
pub fn parse_unlock(text: &str) -> Result<Unlock, String> {
    match text {
        "volatile" => Ok(Unlock::Volatile),
        "permanent" => Ok(Unlock::Permanent),
        _ => Err(format!("expected {UNLOCK_FORM}")),
    }
}

/// `digits`, with up to nine decimals, times `unit`, without passing through floating point.
fn decimal(digits: &str, unit: u64) -> Option<u32> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
    u32::try_from(scaled.checked_mul(unit)? / scale).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    fn parse(list: &str) -> Result<Options, Error> {
        Options::parse([list].into_iter())
    }

    #[test]
    fn what_fstab_may_contain_is_accepted_and_means_nothing() {
        let list = "rw,nosuid,nodev,user,users,noauto,_netdev,nofail,x-systemd.automount,X-mount.mkdir,comment=a,user=pi,\
                    relatime,defaults,dev,suid,exec,async";
        let options = parse(list).unwrap();
        assert!(!options.mount.read_only);
        assert_eq!((options.speed, options.unlock), (None, None));
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(parse("ro,frob").unwrap_err(), Error::Unknown("frob".to_owned()));
        assert_eq!(parse("frob=1").unwrap_err(), Error::Unknown("frob=1".to_owned()));
    }

    #[test]
    fn values_are_checked() {
        for list in [
            "uid=pi",
            "gid=-1",
            "umask=9",
            "umask=1000",
            "speed=fast",
            "speed=0",
            "speed",
            "uid",
            "read_repeat=0",
            "read_repeat=17",
            "unlock=now",
            "scratch=lots",
            "chip=X25",
            "chip",
            "scratch",
        ] {
            assert!(matches!(parse(list), Err(Error::Value { .. })), "{list}");
        }
        let options = parse("uid=1000,gid=100,umask=0027,speed=32M,allow_root").unwrap();
        assert_eq!(options.mount.uid, Some(1000));
        assert_eq!(options.mount.umask, Some(0o027));
        assert_eq!(options.mount.access, Access::OwnerAndRoot);
        assert_eq!(options.speed, Some(Speed::Fixed(32_000_000)));
    }

    #[test]
    fn the_speed_may_be_left_to_norfuse_and_unlocking_has_two_strengths() {
        assert_eq!(parse("speed=auto").unwrap().speed, Some(Speed::Auto));
        assert_eq!(parse("unlock").unwrap().unlock, Some(Unlock::Volatile));
        assert_eq!(parse("unlock=permanent").unwrap().unlock, Some(Unlock::Permanent));
    }

    #[test]
    fn the_commas_of_mtdparts_are_its_own() {
        for (list, mtdparts) in [
            (
                "ro,mtdparts=256k(boot),64k(env),2m(kernel),-(rootfs),speed=8M",
                "256k(boot),64k(env),2m(kernel),-(rootfs)",
            ),
            ("ro,mtdparts=nor:64k,64k@1m(a,ro)ro,speed=8M", "nor:64k,64k@1m(a,ro)ro"),
            ("ro,mtdparts=-,speed=8M", "-"),
            ("mtdparts=1m,ro,mtdparts=2m,speed=8M", "2m"),
        ] {
            let options = parse(list).unwrap();
            assert_eq!(options.mtdparts.as_deref(), Some(mtdparts), "{list}");
            assert!(options.mount.read_only, "{list}");
            assert_eq!(options.speed, Some(Speed::Fixed(8_000_000)), "{list}");
        }
        assert_eq!(parse("ro,64k(a)").unwrap_err(), Error::Unknown("64k(a)".to_owned()));
        assert_eq!(parse("mtdparts=1m,boot").unwrap_err(), Error::Unknown("boot".to_owned()));
        assert_eq!(parse("mtdparts=1m(a").unwrap().mtdparts.as_deref(), Some("1m(a"));
    }

    #[test]
    fn the_last_of_two_contrary_options_wins() {
        assert!(!parse("ro,rw").unwrap().mount.read_only);
        assert!(parse("rw,ro").unwrap().mount.read_only);
    }

    #[test]
    fn a_speed_may_be_written_as_people_write_it() {
        for (text, speed) in [
            ("32M", 32_000_000),
            ("16MHz", 16_000_000),
            ("8000000", 8_000_000),
            ("32.768 MHz", 32_768_000),
            ("500k", 500_000),
            ("500KHZ", 500_000),
            ("1.5m", 1_500_000),
        ] {
            assert_eq!(parse_speed(text), Ok(Speed::Fixed(speed)), "{text}");
        }
        for text in [
            "",
            "automatic",
            "M",
            "Hz",
            "-1M",
            "0",
            "1",
            "1G",
            "1e6",
            "8 M x",
            "1.",
            ".5M",
            "99999999999999999999M",
        ] {
            assert!(parse_speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_may_have_a_unit() {
        for (text, size) in [("0", 0), ("8M", 8 << 20), ("512k", 512 << 10), ("1g", 1 << 30), ("4096", 4096)]
        {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "M", "-1", "+1", "1.5M", "8 MB", "99999999999G", "µ"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_options_or_an_error(list in ".*") {
            let _ = parse(&list);
        }

        #[test]
        fn any_speed_is_in_range_or_an_error(text in ".*") {
            if let Ok(Speed::Fixed(hz)) = parse_speed(&text) {
                assert!(SPEEDS.contains(&hz));
            }
        }
    }
}
