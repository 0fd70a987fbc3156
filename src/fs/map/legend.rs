//! The legend: what colours and marks mean, and how many sectors have them.

use std::fmt::{self, Write};

use super::cells::{Class, Grid, Look, Mark};
use super::paint::{colour, write_dashes, write_mark};

/// From line to line and from entry to entry of a line, in pixels.
const LINE: f64 = 24.0;
const ENTRY: f64 = 262.0;

const COLUMNS: u32 = 3;

/// What it takes below its top, in pixels.
pub(super) const HEIGHT: f64 = 3.0 * LINE;

/// A swatch's width and height in pixels.
const SWATCH: f64 = 12.0;

/// Writes the legend of a chip whose sectors look like `sectors`.
pub(super) fn write(svg: &mut String, sectors: &[Look], left: f64, top: f64) -> fmt::Result {
    writeln!(svg, "<g class=\"legend\">")?;
    let classes = Class::ALL.into_iter().map(|class| {
        let count = sectors.iter().filter(|look| look.class == class).count();
        (Swatch::Class(class), class.name(), meaning(class), count)
    });
    let marks = Mark::ALL.into_iter().map(|mark| {
        let count = sectors.iter().filter(|look| look.mark == Some(mark)).count();
        (Swatch::Mark(mark), mark.name(), meaning_of_mark(mark), count)
    });
    for (index, (swatch, name, meaning, count)) in (0..).zip(classes.chain(marks)) {
        let x = left + ENTRY * f64::from(index % COLUMNS);
        let y = top + LINE * f64::from(index / COLUMNS);
        writeln!(svg, "<g class=\"{name}\" transform=\"translate({x} {y})\">")?;
        swatch.write(svg)?;
        writeln!(
            svg,
            "<text x=\"22\" y=\"11\"><tspan class=\"count\" font-weight=\"bold\">{count}</tspan> {meaning}</text></g>"
        )?;
    }
    writeln!(svg, "</g>")
}

/// What stands beside an entry of the legend.
enum Swatch {
    Class(Class),
    Mark(Mark),
}

impl Swatch {
    fn write(&self, svg: &mut String) -> fmt::Result {
        let class = match self {
            Self::Class(class) => *class,
            Self::Mark(_) => Class::Data,
        };
        writeln!(svg, "<g transform=\"scale({SWATCH})\">")?;
        writeln!(svg, "<path d=\"M0 .5h1\" stroke=\"{}\"/>", colour(class))?;
        match self {
            Self::Class(Class::Unreadable) => write_dashes(svg, &Grid::lines(&(0..1)))?,
            Self::Class(_) => writeln!(
                svg,
                "<path d=\"M0 0h1v1h-1z\" fill=\"none\" stroke=\"#888\" stroke-width=\".06\"/>"
            )?,
            Self::Mark(mark) => write_mark(svg, *mark, &[(0, 0)])?,
        }
        writeln!(svg, "</g>")
    }
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Erased => "erased (all FF)",
        Class::Zero => "zero (all 00)",
        Class::Text => "text",
        Class::Data => "code or data",
        Class::Dense => "compressed or encrypted",
        Class::Unreadable => "unreadable",
    }
}

fn meaning_of_mark(mark: Mark) -> &'static str {
    match mark {
        Mark::Pending => "pending: not on the chip yet",
        Mark::Failed => "failed: the chip refuses it",
    }
}
