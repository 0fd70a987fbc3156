//! The map as an SVG document: title, ruler, cells, partitions with their names, legend.
//!
//! Each run of cells is an element with a title, which viewers show under the pointer. Cells are lines as wide as a row, which takes the
//! fewest bytes. Colours are those of Okabe and Ito, to be told apart by the colour-blind, and differ in brightness too; marks differ in
//! shape. The background is the picture's own.

use std::fmt::{self, Write};

use super::cells::{COLUMNS, Grid, Look};
use super::labels::{self, Label};
use super::legend;
use super::paint::{write_cells, write_lattice, write_marks};
use super::text::{escaped, shortened, size_text};
use crate::fs::partitions::Partition;

/// A cell's width and height in pixels, as everything below.
const CELL: f64 = 12.0;

/// Where the grid begins.
const LEFT: f64 = 92.0;
const TOP: f64 = 92.0;

const GRID_WIDTH: f64 = CELL * COLUMNS as f64;

/// What is free at the right where there are no partitions.
const RIGHT: f64 = 24.0;

/// Where the names of partitions are, and what they have in width.
const LABELS_LEFT: f64 = LEFT + GRID_WIDTH + 30.0;
const LABELS_WIDTH: f64 = 280.0;

/// From the grid to the legend.
const LEGEND_GAP: f64 = 34.0;

/// A row of the ruler has an address if that leaves this much between two.
const RULER_STEP: f64 = 40.0;

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) chip: &'a str,
    pub(super) jedec_id: &'a str,
    pub(super) device: &'a str,
    /// The chip's size in bytes.
    pub(super) size: u32,
    /// What each sector looks like.
    pub(super) sectors: &'a [Look],
    pub(super) partitions: &'a [Partition],
}

impl Picture<'_> {
    pub(super) fn document(&self) -> String {
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut svg);
        svg
    }

    fn write(&self, svg: &mut String) -> fmt::Result {
        let grid = Grid::new(self.size);
        let grid_height = CELL * f64::from(grid.rows());
        let labels = labels::place(grid, self.partitions, CELL);
        let labels_end = labels.last().map_or(0.0, |label| label.y + CELL);
        let legend_top = TOP + grid_height.max(labels_end) + LEGEND_GAP;
        let height = legend_top + legend::HEIGHT + 12.0;
        let width = if labels.is_empty() { LEFT + GRID_WIDTH + RIGHT } else { LABELS_LEFT + LABELS_WIDTH };
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
        )?;
        writeln!(svg, "<title>{}, {}</title>", escaped(self.chip), size_text(self.size))?;
        writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>")?;
        self.write_heading(svg, grid)?;
        write_ruler(svg, grid)?;
        let cells = grid.cells(self.sectors);
        writeln!(svg, "<g transform=\"translate({LEFT} {TOP}) scale({CELL})\">")?;
        write_cells(svg, grid, &cells)?;
        write_lattice(svg, grid)?;
        self.write_outlines(svg, grid)?;
        write_marks(svg, &cells)?;
        writeln!(svg, "</g>")?;
        write_labels(svg, &labels)?;
        legend::write(svg, self.sectors, LEFT, legend_top)?;
        writeln!(svg, "</svg>")
    }

    fn write_heading(&self, svg: &mut String, grid: Grid) -> fmt::Result {
        writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"34\" font-size=\"22\" font-weight=\"bold\">{}</text>",
            escaped(self.chip)
        )?;
        writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"56\">{}, JEDEC id {}. A cell is {}, a row {}. Device: {}</text>",
            size_text(self.size),
            escaped(self.jedec_id),
            size_text(grid.cell_len()),
            size_text(grid.row_len()),
            escaped(self.device)
        )
    }

    fn write_outlines(&self, svg: &mut String, grid: Grid) -> fmt::Result {
        let path: String = self.partitions.iter().map(|partition| grid.outline(&partition.range)).collect();
        // Twice, so that it can be seen on dark and on light cells.
        for (colour, width) in [("#fff", 0.36), ("#000", 0.16)] {
            writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\" pointer-events=\"none\"/>"
            )?;
        }
        Ok(())
    }
}

/// Addresses at the left, and what a row has where at the top.
fn write_ruler(svg: &mut String, grid: Grid) -> fmt::Result {
    writeln!(svg, "<g font-family=\"monospace\" font-size=\"12\" fill=\"#555\">")?;
    let mut step = 1;
    while CELL * f64::from(step) < RULER_STEP && step < grid.rows() {
        step *= 2;
    }
    for row in (0..grid.rows()).step_by(step as usize) {
        let y = TOP + CELL * f64::from(row);
        let address = row * grid.row_len();
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{address:#08x}</text>",
            LEFT - 10.0,
            y + 10.0
        )?;
        writeln!(svg, "<path d=\"M{} {}h6\" stroke=\"#999\"/>", LEFT - 8.0, y + 0.5)?;
    }
    for column in (0..COLUMNS).step_by(16) {
        let x = LEFT + CELL * f64::from(column);
        let offset = column * grid.cell_len();
        writeln!(svg, "<text x=\"{x}\" y=\"{}\">+{offset:#x}</text>", TOP - 12.0)?;
        writeln!(svg, "<path d=\"M{} {}v6\" stroke=\"#999\"/>", x + 0.5, TOP - 8.0)?;
    }
    writeln!(svg, "</g>")
}

fn write_labels(svg: &mut String, labels: &[Label<'_>]) -> fmt::Result {
    writeln!(svg, "<g class=\"partitions\">")?;
    for Label { partition, dot, y } in labels {
        let (dot_x, dot_y) = (LEFT + dot.0, TOP + dot.1);
        let label_y = TOP + y;
        let leader =
            format!("M{dot_x} {dot_y}H{}L{} {label_y}h4", LEFT + GRID_WIDTH + 6.0, LABELS_LEFT - 10.0);
        writeln!(svg, "<path d=\"{leader}\" fill=\"none\" stroke=\"#fff\" stroke-width=\"2.5\"/>")?;
        writeln!(svg, "<path d=\"{leader}\" fill=\"none\" stroke=\"#000\"/>")?;
        writeln!(svg, "<circle cx=\"{dot_x}\" cy=\"{dot_y}\" r=\"3\" stroke=\"#fff\" fill=\"#000\"/>")?;
        let Partition { name, range, read_only } = partition;
        let len = range.end - range.start;
        let (start, last) = (range.start, range.end - 1);
        writeln!(
            svg,
            "<text x=\"{LABELS_LEFT}\" y=\"{}\"><title>{} {start:#08x}-{last:#08x}</title>\
             <tspan font-weight=\"bold\">{}</tspan> {}{}</text>",
            label_y + 4.5,
            escaped(name),
            escaped(&shortened(name)),
            size_text(len),
            if *read_only { ", read only" } else { "" },
        )?;
    }
    writeln!(svg, "</g>")
}

#[cfg(test)]
mod tests {
    use super::super::cells::{Class, Mark};
    use super::*;

    const SIZE: u32 = 16 << 20;

    fn document(sectors: &[Look], partitions: &[Partition]) -> String {
        let picture = Picture {
            chip: "A <B>",
            jedec_id: "a14018",
            device: "sim:\u{1}",
            size: SIZE,
            sectors,
            partitions,
        };
        picture.document()
    }

    fn look(class: Class) -> Look {
        Look { class, mark: None }
    }

    #[test]
    fn a_run_is_one_element_that_tells_where_it_is() {
        let mut sectors = vec![look(Class::Erased); 4096];
        sectors[10].class = Class::Text;
        sectors[4095] = Look { class: Class::Text, mark: Some(Mark::Pending) };
        let svg = document(&sectors, &[]);
        let titles: Vec<&str> =
            svg.split("<title>").skip(2).filter_map(|rest| rest.split('<').next()).collect();
        let expected = [
            "0x000000-0x009fff erased",
            "0x00b000-0xffefff erased",
            "0x00a000 text",
            "0xfff000 text, pending",
        ];
        assert_eq!(titles, expected.map(|title| title.trim()));
        assert!(svg.contains(">4094</tspan> erased") && svg.contains(">1</tspan> pending"), "{svg}");
    }

    #[test]
    fn the_worst_chip_of_16_mib_takes_less_than_300_kib() {
        // No two neighbours are alike, and more is marked than can be pending.
        let classes = [Class::Dense, Class::Unreadable];
        let mark = |number| (number < 512).then_some(Mark::Failed);
        let sectors: Vec<Look> =
            (0..4096).map(|number| Look { class: classes[number % 2], mark: mark(number) }).collect();
        let len = document(&sectors, &[]).len();
        assert!(len < 300 << 10, "{len}");
    }

    #[test]
    fn text_is_escaped() {
        let range = 0x1000..0x2000;
        let partitions = [Partition { name: "x&\"<y>".to_owned(), range, read_only: true }];
        let svg = document(&vec![look(Class::Zero); 4096], &partitions);
        assert!(svg.contains("A &lt;B&gt;") && svg.contains("sim:\u{FFFD}"), "{svg}");
        assert!(svg.contains("x&amp;&quot;&lt;y&gt;</tspan> 4 KiB, read only"), "{svg}");
    }
}
