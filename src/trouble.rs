//! The rows of the troubleshooting table of `contrib/wiring/README.md`, so that messages point at them by name.
//!
//! Not for what is to be done about them: that is in the table.

use std::fmt;

use serde::{Serialize, Serializer};

/// Where the package puts the table.
const GUIDE: &str = "/usr/share/doc/norfuse/wiring";

/// A symptom that has a row in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The id reads FF.
    AllOnes,
    /// The id reads 00.
    AllZeros,
    /// The id, or another register, is not the same twice.
    IdDiffers,
    /// The same bytes do not read the same twice.
    DumpsDiffer,
    /// What was written does not read back.
    VerifyFails,
    /// The chip's write protection refuses a write.
    Protected,
    /// The id is that of no part that norfuse knows.
    UnknownId,
    /// The node may not be opened.
    PermissionDenied,
    /// There is no node.
    NodeMissing,
}

impl Trouble {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::AllOnes,
        Self::AllZeros,
        Self::IdDiffers,
        Self::DumpsDiffer,
        Self::VerifyFails,
        Self::Protected,
        Self::UnknownId,
        Self::PermissionDenied,
        Self::NodeMissing,
    ];

    /// What the row is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::AllOnes => "all FF",
            Self::AllZeros => "all 00",
            Self::IdDiffers => "id differs each time",
            Self::DumpsDiffer => "dumps differ",
            Self::VerifyFails => "verify fails",
            Self::Protected => "protected",
            Self::UnknownId => "unknown id",
            Self::PermissionDenied => "permission denied",
            Self::NodeMissing => "node missing",
        }
    }
}

impl Serialize for Trouble {
    /// The row's title.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.title())
    }
}

impl fmt::Display for Trouble {
    /// `see "all FF" in` and where that is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "see \"{}\" in {GUIDE}", self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symptom_that_messages_name_has_a_row_in_the_table() {
        let table = include_str!("../contrib/wiring/README.md");
        for title in Trouble::ALL.map(Trouble::title) {
            let is_row =
                |line: &&str| line.starts_with('|') && line.split('|').nth(1).unwrap().contains(title);
            assert_eq!(table.lines().filter(is_row).count(), 1, "rows named {title:?}");
        }
    }
}
