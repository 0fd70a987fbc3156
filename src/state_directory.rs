//! Which directory norfuse keeps its state in.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where it is.
    #[error(
        "neither $XDG_STATE_HOME nor $HOME is set to an absolute path: say with --state-dir DIR where to keep the journal, or do without with --no-journal"
    )]
    Nowhere,
    /// A relative path was given and there is no working directory.
    #[error("cannot find the working directory, which {} is relative to", path.display())]
    WorkingDirectory {
        /// The path that was given.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What is known of where state is kept.
#[derive(Debug, Clone, Default)]
struct Places {
    /// What the user asked for.
    explicit: Option<PathBuf>,
    /// `$STATE_DIRECTORY`: systemd's, several separated by colons.
    state_directory: Option<OsString>,
    is_root: bool,
    /// `$XDG_STATE_HOME`.
    xdg_state_home: Option<OsString>,
    /// `$HOME`.
    home: Option<OsString>,
}

/// The absolute path of the state directory, which need not exist: `explicit`, else the first of `$STATE_DIRECTORY`
/// (systemd.exec(5)), else `/var/lib/norfuse` as root, else `norfuse` in `$XDG_STATE_HOME` or, as the XDG Base Directory
/// Specification has it, in `$HOME/.local/state`.
///
/// # Errors
/// When there is no such place.
pub fn state_directory(explicit: Option<&Path>) -> Result<PathBuf, Error> {
    let path = choose(&Places {
        explicit: explicit.map(Path::to_owned),
        state_directory: env::var_os("STATE_DIRECTORY"),
        is_root: geteuid().is_root(),
        xdg_state_home: env::var_os("XDG_STATE_HOME"),
        home: env::var_os("HOME"),
    })
    .ok_or(Error::Nowhere)?;
    std::path::absolute(&path).map_err(|source| Error::WorkingDirectory { path, source })
}

fn choose(places: &Places) -> Option<PathBuf> {
    if let Some(explicit) = &places.explicit {
        return Some(explicit.clone());
    }
    let of_service = places.state_directory.iter().flat_map(env::split_paths).find(|path| path.is_absolute());
    if of_service.is_some() {
        return of_service;
    }
    if places.is_root {
        return Some(PathBuf::from("/var/lib/norfuse"));
    }
    // The specification has relative paths ignored.
    let absolute =
        |value: &Option<OsString>| value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(&places.xdg_state_home)
        .or_else(|| Some(absolute(&places.home)?.join(".local/state")))
        .map(|state| state.join("norfuse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Places {
        Places {
            explicit: Some(PathBuf::from("here")),
            state_directory: Some(OsString::from("/var/lib/a:/var/lib/b")),
            is_root: true,
            xdg_state_home: Some(OsString::from("/xdg")),
            home: Some(OsString::from("/home/user")),
        }
    }

    fn chosen(places: &Places) -> Option<String> {
        choose(places).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn each_place_counts_only_without_those_before_it() {
        let mut places = everything();
        assert_eq!(chosen(&places).as_deref(), Some("here"));
        places.explicit = None;
        assert_eq!(chosen(&places).as_deref(), Some("/var/lib/a"));
        places.state_directory = None;
        assert_eq!(chosen(&places).as_deref(), Some("/var/lib/norfuse"));
        places.is_root = false;
        assert_eq!(chosen(&places).as_deref(), Some("/xdg/norfuse"));
        places.xdg_state_home = None;
        assert_eq!(chosen(&places).as_deref(), Some("/home/user/.local/state/norfuse"));
        places.home = None;
        assert_eq!(chosen(&places), None);
    }

    #[test]
    fn empty_and_relative_values_of_the_environment_are_passed_over() {
        let mut places = Places { is_root: false, explicit: None, ..everything() };
        places.state_directory = Some(OsString::new());
        places.xdg_state_home = Some(OsString::from("state"));
        assert_eq!(chosen(&places).as_deref(), Some("/home/user/.local/state/norfuse"));
    }

    #[test]
    fn a_relative_directory_is_made_absolute() {
        let directory = state_directory(Some(Path::new("here"))).unwrap();
        assert_eq!(directory, env::current_dir().unwrap().join("here"));
    }
}
