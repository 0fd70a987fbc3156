//! The machine that is looked at, and who looks.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, User, getegid, geteuid, getgrouplist, getgroups};

/// Where things are on a machine.
pub(super) struct Host {
    pub(super) dev: PathBuf,
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
    /// Where programs are looked for.
    pub(super) programs: Vec<PathBuf>,
    pub(super) account: Account,
}

/// Who looks.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) is_root: bool,
    /// The groups that this session has.
    pub(super) groups: Vec<u32>,
    /// The groups that the next session will have.
    pub(super) listed_groups: Vec<u32>,
}

impl Host {
    /// This machine, and the user who runs this process.
    pub(super) fn this() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            dev: "/dev".into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
            programs: std::env::split_paths(&path).collect(),
            account: Account::own(),
        }
    }

    /// The file's text without the newline or NUL that ends it, where it can be read.
    pub(super) fn text(path: &Path) -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim_end_matches(['\n', '\0']).to_owned())
    }

    /// Whether the device tree says that this is a Raspberry Pi.
    pub(super) fn is_raspberry_pi(&self) -> bool {
        Self::text(&self.proc.join("device-tree/model"))
            .is_some_and(|model| model.starts_with("Raspberry Pi"))
    }

    pub(super) fn module(&self, name: &str) -> PathBuf {
        self.sys.join("module").join(name)
    }
}

impl Account {
    fn own() -> Self {
        let uid = geteuid();
        let user = User::from_uid(uid).ok().flatten();
        let listed = |user: &User| {
            let name = CString::new(user.name.as_str()).ok()?;
            getgrouplist(&name, user.gid).ok()
        };
        let numbers = |groups: Vec<Gid>| groups.into_iter().map(Gid::as_raw).collect::<Vec<u32>>();
        let mut groups = numbers(getgroups().unwrap_or_default());
        groups.push(getegid().as_raw());
        Self {
            listed_groups: user.as_ref().and_then(listed).map(numbers).unwrap_or_default(),
            name: user.map_or_else(|| uid.to_string(), |user| user.name),
            is_root: uid.is_root(),
            groups,
        }
    }
}

/// The name of a group, or its number where it has none.
pub(super) fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}
