//! A row of the table.

use super::firmware_bench::FirmwareBench;
use crate::common::Account;

/// What is done with a tool, and how its result is found out.
pub(crate) struct Row {
    pub(super) tool: &'static str,
    pub(super) done: &'static str,
    run: fn(&FirmwareBench) -> String,
    account: Account,
    arguments: &'static [&'static str],
}

/// A row whose `run` gets a bench with the firmware mounted, checks what it has done to the chip, and returns the result in words.
pub(super) fn row(tool: &'static str, done: &'static str, run: fn(&FirmwareBench) -> String) -> Row {
    Row { tool, done, run, account: Account::Own, arguments: &[] }
}

impl Row {
    /// The same by somebody without privileges.
    pub(super) fn without_privileges(self) -> Self {
        Self { account: Account::Ordinary, ..self }
    }

    /// The same on a mount with these arguments.
    pub(super) fn mounted_with(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }

    /// Runs it; panics where the result is not what it should be.
    pub(super) fn result(&self) -> String {
        let bench = FirmwareBench::new(self.account, self.arguments);
        let result = (self.run)(&bench);
        bench.assert_checked();
        result
    }
}
