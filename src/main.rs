//! The `norfuse` command.

fn main() {}
