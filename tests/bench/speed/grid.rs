//! Rows of cells as a Markdown table that is readable as it stands.

use std::fmt;

/// Rows of as many cells each, the headings first.
pub(crate) struct Grid(pub(crate) Vec<Vec<String>>);

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.0.iter().enumerate() {
            write_row(f, row, &widths)?;
            if index == 0 {
                write_rule(f, &widths)?;
            }
        }
        Ok(())
    }
}

/// The first column to the left, the others to the right.
fn write_row(f: &mut fmt::Formatter<'_>, row: &[String], widths: &[usize]) -> fmt::Result {
    for (column, (cell, &width)) in row.iter().zip(widths).enumerate() {
        if column == 0 {
            write!(f, "| {cell:<width$} |")?;
        } else {
            write!(f, " {cell:>width$} |")?;
        }
    }
    writeln!(f)
}

fn write_rule(f: &mut fmt::Formatter<'_>, widths: &[usize]) -> fmt::Result {
    for (column, &width) in widths.iter().enumerate() {
        let dashes = "-".repeat(width + 1);
        f.write_str(&if column == 0 { format!("|{dashes}-|") } else { format!("{dashes}:|") })?;
    }
    writeln!(f)
}
