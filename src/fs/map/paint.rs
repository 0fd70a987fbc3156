//! What is in the grid: cells, the lines between them, marks. Coordinates are in cells.

use std::fmt::{self, Write};
use std::ops::Range;

use super::cells::{COLUMNS, Class, Grid, Look, Mark, runs};
use crate::image::SECTOR_LEN;

pub(super) fn colour(class: Class) -> &'static str {
    match class {
        Class::Erased => "#e6e6e6",
        Class::Zero => "#9a9a9a",
        Class::Text => "#f0e442",
        Class::Data => "#0072b2",
        Class::Dense => "#d55e00",
        Class::Unreadable => "#000",
    }
}

pub(super) fn write_cells(svg: &mut String, grid: Grid, cells: &[Look]) -> fmt::Result {
    writeln!(svg, "<g class=\"cells\" transform=\"translate(0 .5)\">")?;
    for class in Class::ALL {
        writeln!(svg, "<g class=\"{}\" stroke=\"{}\">", class.name(), colour(class))?;
        for (run, look) in runs(cells).filter(|(_, look)| look.class == class) {
            write!(svg, "<path d=\"{}\"><title>", Grid::lines(&run))?;
            write_addresses(svg, grid, &run)?;
            write!(svg, " {}", class.name())?;
            if let Some(mark) = look.mark {
                write!(svg, ", {}", mark.name())?;
            }
            writeln!(svg, "</title></path>")?;
        }
        writeln!(svg, "</g>")?;
    }
    writeln!(svg, "</g>")
}

fn write_addresses(svg: &mut String, grid: Grid, run: &Range<u32>) -> fmt::Result {
    write!(svg, "{:#08x}", run.start * grid.cell_len())?;
    if run.len() > 1 || grid.cell_len() > SECTOR_LEN {
        // The last byte's: the end of a chip with four address bytes might not be a number of four bytes.
        write!(svg, "-{:#08x}", (run.end - 1) * grid.cell_len() + (grid.cell_len() - 1))?;
    }
    Ok(())
}

/// What makes cells of runs, and blocks of 16 columns.
pub(super) fn write_lattice(svg: &mut String, grid: Grid) -> fmt::Result {
    let rows = grid.rows();
    let across: String = (1..rows).map(|row| format!("M0 {row}h{COLUMNS}")).collect();
    let down: String = (1..COLUMNS).map(|column| format!("M{column} 0v{rows}")).collect();
    let blocks: String = (16..COLUMNS).step_by(16).map(|column| format!("M{column} 0v{rows}")).collect();
    for (path, width) in [(across + &down, 0.08), (blocks, 0.16)] {
        writeln!(
            svg,
            "<path d=\"{path}\" stroke=\"#fff\" stroke-width=\"{width}\" pointer-events=\"none\"/>"
        )?;
    }
    Ok(())
}

pub(super) fn write_marks(svg: &mut String, cells: &[Look]) -> fmt::Result {
    let places = |is_shown: &dyn Fn(&Look) -> bool| -> Vec<(u32, u32)> {
        let shown = (0..).zip(cells).filter(|(_, look)| is_shown(look));
        shown.map(|(cell, _)| (cell % COLUMNS, cell / COLUMNS)).collect()
    };
    let unreadable = runs(cells).filter(|(_, look)| look.class == Class::Unreadable);
    write_dashes(svg, &unreadable.map(|(run, _)| Grid::lines(&run)).collect::<String>())?;
    for mark in Mark::ALL {
        write_mark(svg, mark, &places(&|look| look.mark == Some(mark)))?;
    }
    Ok(())
}

pub(super) fn write_mark(svg: &mut String, mark: Mark, places: &[(u32, u32)]) -> fmt::Result {
    // A line without length, with round or square ends.
    let dots: String = places.iter().map(|(x, y)| format!("M{x}.5 {y}.5h0")).collect();
    let (cap, name) = match mark {
        Mark::Pending => ("round", mark.name()),
        Mark::Failed => ("square", mark.name()),
    };
    if dots.is_empty() {
        return Ok(());
    }
    writeln!(svg, "<g class=\"{name} marks\" stroke-linecap=\"{cap}\" pointer-events=\"none\">")?;
    for (colour, width) in [("#000", 0.8), ("#fff", 0.56)] {
        writeln!(svg, "<path d=\"{dots}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>")?;
    }
    if mark == Mark::Failed {
        let crosses: String =
            places.iter().map(|(x, y)| format!("M{x}.32 {y}.32l.36 .36m0-.36l-.36 .36")).collect();
        writeln!(svg, "<path d=\"{crosses}\" stroke=\"#c00\" stroke-width=\".16\"/>")?;
    }
    writeln!(svg, "</g>")
}

/// A dash in each cell that cannot be read: black alone could be taken for a colour of content.
pub(super) fn write_dashes(svg: &mut String, lines: &str) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(
        svg,
        "<path d=\"{lines}\" transform=\"translate(0 .5)\" stroke=\"#fff\" stroke-width=\".16\" \
         stroke-dasharray=\".5 .5\" stroke-dashoffset=\"-.25\" pointer-events=\"none\"/>"
    )
}
