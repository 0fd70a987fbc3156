//! Every tool that people use on files does its work on a mount, or says why not.
//!
//! A test is a row of a table: the tool, what was done with it, and the result. Each has a chip of its own, the real tool from
//! Debian, and looks at the chip's bytes after unmounting. The table is printed after the run.

mod common;

mod tools {
    mod analysis;
    mod binary_editors;
    mod copying;
    mod firmware;
    mod firmware_bench;
    mod flash;
    mod kernel;
    mod leftovers;
    mod python;
    mod renaming;
    mod row;
    mod servers;
    pub(crate) mod table;
    mod text_editors;

    pub(crate) use row::Row;

    /// All rows, in the table's order.
    pub(crate) fn rows() -> Vec<Row> {
        let mut rows = copying::rows();
        rows.extend(renaming::rows());
        rows.extend(text_editors::rows());
        rows.extend(binary_editors::rows());
        rows.extend(python::rows());
        rows.extend(analysis::rows());
        rows.extend(kernel::rows());
        rows.extend(servers::rows());
        rows.extend(flash::rows());
        rows.extend(leftovers::rows());
        rows
    }
}

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (table, trials) = tools::table::of(tools::rows());
    let conclusion = libtest_mimic::run(&arguments, trials);
    print!("{table}");
    conclusion.exit_code()
}
