//! The one table from norfuse's errors to what a system call returns.

use fuser::Errno;

use crate::image::Error;

pub(super) fn errno(error: &Error) -> Errno {
    match error {
        Error::Protected { is_certain: true, .. } => Errno::EROFS,
        Error::Read { .. }
        | Error::Write { .. }
        | Error::Journal { .. }
        | Error::Verify { .. }
        | Error::Protected { is_certain: false, .. }
        | Error::Unstable { .. }
        | Error::NotErasable { .. }
        | Error::Unrecognised
        | Error::Replay(_)
        | Error::System { .. }
        | Error::Stopped => Errno::EIO,
    }
}
