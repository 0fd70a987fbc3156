//! What the map shows of each sector, and where: a grid of cells in rows, as one reads.
//!
//! Coordinates are in cells, from the grid's upper left corner. Not for colours, nor for anything beside the grid.

use std::fmt::Write;
use std::ops::Range;

use crate::image::SECTOR_LEN;

/// Cells in a row.
pub(super) const COLUMNS: u32 = 64;

/// A chip with more sectors than this has several in a cell.
const MOST_CELLS: u32 = 4096;

/// What a sector holds, as far as one can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// All FF.
    Erased,
    /// All 00.
    Zero,
    Text,
    /// Code, tables, whatever has structure.
    Data,
    /// So evenly mixed that it is compressed or encrypted.
    Dense,
    /// The chip could not be read here.
    Unreadable,
}

impl Class {
    pub(super) const ALL: [Self; 6] =
        [Self::Erased, Self::Zero, Self::Text, Self::Data, Self::Dense, Self::Unreadable];

    /// A word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Zero => "zero",
            Self::Text => "text",
            Self::Data => "data",
            Self::Dense => "compressed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What has become of bytes that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// They are not on the chip yet.
    Pending,
    /// The chip has refused them.
    Failed,
}

impl Mark {
    pub(super) const ALL: [Self; 2] = [Self::Pending, Self::Failed];

    /// A word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}

/// What is shown of a sector, or of all that share a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) class: Class,
    pub(super) mark: Option<Mark>,
}

impl Look {
    /// One for several, of which nothing that matters is lost: they are erased only if all are, and unreadable or marked if one is.
    fn of_all(looks: &[Self]) -> Self {
        let count = |class| looks.iter().filter(|look| look.class == class).count();
        let most = [Class::Zero, Class::Text, Class::Data, Class::Dense]
            .into_iter()
            .max_by_key(|&class| count(class));
        let class = match most {
            _ if count(Class::Unreadable) > 0 => Class::Unreadable,
            Some(class) if count(class) > 0 => class,
            _ => Class::Erased,
        };
        Self { class, mark: looks.iter().filter_map(|look| look.mark).max() }
    }
}

/// How a chip's addresses are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    size: u32,
    sectors_per_cell: u32,
}

impl Grid {
    /// For a chip of `size` bytes.
    pub(super) fn new(size: u32) -> Self {
        let sectors = size / SECTOR_LEN;
        Self { size, sectors_per_cell: sectors.div_ceil(MOST_CELLS).next_power_of_two() }
    }

    /// What a cell stands for, in bytes.
    pub(super) fn cell_len(self) -> u32 {
        self.sectors_per_cell * SECTOR_LEN
    }

    /// What a row stands for, in bytes.
    pub(super) fn row_len(self) -> u32 {
        self.cell_len() * COLUMNS
    }

    pub(super) fn rows(self) -> u32 {
        self.size.div_ceil(self.row_len())
    }

    /// What each cell shows of a chip whose sectors look like `sectors`.
    pub(super) fn cells(self, sectors: &[Look]) -> Vec<Look> {
        sectors.chunks(self.sectors_per_cell as usize).map(Look::of_all).collect()
    }

    /// Where an address is: cells from the left, with a fraction, and rows from the top.
    pub(super) fn place(self, address: u32) -> (f64, u32) {
        let within = f64::from(address % self.row_len()) / f64::from(self.cell_len());
        // Finer than that is not to be seen.
        ((within * 100.0).round() / 100.0, address / self.row_len())
    }

    /// The same for the address behind something's last byte, which may be at the end of a row.
    fn place_of_end(self, end: u32) -> (f64, u32) {
        match self.place(end) {
            (0.0, row) if row > 0 => (f64::from(COLUMNS), row - 1),
            place => place,
        }
    }

    /// The part of a range of bytes that is in the row in which it begins, or, where the next one is all its own, in that: from and to,
    /// and the row.
    pub(super) fn best_row(self, range: &Range<u32>) -> (f64, f64, u32) {
        let ((from, first), (to, last)) = (self.place(range.start), self.place_of_end(range.end));
        let width = f64::from(COLUMNS);
        if first == last {
            (from, to, first)
        } else if from > 0.0 && (last > first + 1 || to == width) {
            (0.0, width, first + 1)
        } else {
            (from, width, first)
        }
    }

    /// A path that, drawn as wide as a row and half a cell lower, fills these cells.
    pub(super) fn lines(cells: &Range<u32>) -> String {
        let mut path = String::new();
        let mut next = cells.start;
        while next < cells.end {
            let (column, row) = (next % COLUMNS, next / COLUMNS);
            let count = (COLUMNS - column).min(cells.end - next);
            // Writing to a string does not fail.
            let _ = write!(path, "M{column} {row}h{count}");
            next += count;
        }
        path
    }

    /// A path around a range of bytes.
    pub(super) fn outline(self, range: &Range<u32>) -> String {
        let ((from, first), (to, last)) = (self.place(range.start), self.place_of_end(range.end));
        let (below_first, below_last) = (first + 1, last + 1);
        if first == last {
            format!("M{from} {first}H{to}V{below_first}H{from}z")
        } else if below_first == last && to <= from {
            format!("M{from} {first}H{COLUMNS}V{last}H{from}zM0 {last}H{to}V{below_last}H0z")
        } else {
            format!("M{from} {first}H{COLUMNS}V{last}H{to}V{below_last}H0V{below_first}H{from}z")
        }
    }
}

/// Runs of neighbours that look the same.
pub(super) fn runs(cells: &[Look]) -> impl Iterator<Item = (Range<u32>, Look)> {
    let mut next = 0;
    cells.chunk_by(|one, other| one == other).map(move |run| {
        let start = next;
        next += u32::try_from(run.len()).unwrap_or(u32::MAX);
        (start..next, run[0])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u32 = 1 << 20;

    fn look(class: Class) -> Look {
        Look { class, mark: None }
    }

    #[test]
    fn a_cell_is_a_sector_up_to_16_mib_and_several_beyond() {
        for (size, cell_len, rows) in [
            (MIB / 2, 4096, 2),
            (16 * MIB, 4096, 64),
            (32 * MIB, 8192, 64),
            (256 * MIB, 65536, 64),
            (24 * MIB, 8192, 48),
        ] {
            let grid = Grid::new(size);
            assert_eq!((grid.cell_len(), grid.rows()), (cell_len, rows), "{size:#x}");
        }
    }

    #[test]
    fn a_cell_of_several_sectors_hides_nothing_that_matters() {
        let [erased, zero, text, data] = [Class::Erased, Class::Zero, Class::Text, Class::Data].map(look);
        assert_eq!(Look::of_all(&[erased, erased]), erased);
        assert_eq!(Look::of_all(&[erased, erased, erased, text]), text);
        assert_eq!(Look::of_all(&[data, zero, text, text]), text);
        assert_eq!(Look::of_all(&[data, data, data, look(Class::Unreadable)]).class, Class::Unreadable);
        let marked = [Mark::Failed, Mark::Pending].map(|mark| Look { mark: Some(mark), ..erased });
        assert_eq!(Look::of_all(&[erased, marked[0], marked[1]]), marked[0]);
    }

    #[test]
    fn outlines_follow_the_rows() {
        let grid = Grid::new(16 * MIB);
        let row = grid.row_len();
        assert_eq!(grid.outline(&(0..row)), "M0 0H64V1H0z");
        assert_eq!(grid.outline(&(0x4000..0x6800)), "M4 0H6.5V1H4z");
        assert_eq!(grid.outline(&(row - 0x1000..row + 0x1000)), "M63 0H64V1H63zM0 1H1V2H0z");
        assert_eq!(grid.outline(&(0x1000..2 * row + 0x2000)), "M1 0H64V2H2V3H0V1H1z");
        assert_eq!(grid.outline(&(0..16 * MIB)), "M0 0H64V63H64V64H0V1H0z");
    }

    #[test]
    fn a_label_points_where_nobody_else_is_if_there_is_such_a_row() {
        let grid = Grid::new(16 * MIB);
        let row = grid.row_len();
        assert_eq!(grid.best_row(&(row..row + 0x1000)), (0.0, 1.0, 1));
        assert_eq!(grid.best_row(&(0..3 * row)), (0.0, 64.0, 0));
        assert_eq!(grid.best_row(&(0x1000..2 * row)), (0.0, 64.0, 1));
        assert_eq!(grid.best_row(&(0x1000..row + 0x1000)), (1.0, 64.0, 0));
    }

    /// The cells that a path of lines fills.
    fn filled(path: &str) -> Vec<u32> {
        let number = |text: &str| text.parse::<u32>().unwrap();
        path.split('M')
            .skip(1)
            .flat_map(|line| {
                let (column, rest) = line.split_once(' ').unwrap();
                let (row, count) = rest.split_once('h').unwrap();
                let first = number(row) * COLUMNS + number(column);
                assert!(number(column) + number(count) <= COLUMNS);
                first..first + number(count)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn lines_fill_exactly_their_cells(start in 0_u32..5000, len in 1_u32..500) {
            prop_assert_eq!(filled(&Grid::lines(&(start..start + len))), (start..start + len).collect::<Vec<_>>());
        }

        #[test]
        fn runs_are_as_long_as_they_can_be_and_leave_out_nothing(classes in prop::collection::vec(0_usize..6, 0..200)) {
            let cells: Vec<Look> = classes.into_iter().map(|class| look(Class::ALL[class])).collect();
            let runs: Vec<_> = runs(&cells).collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].0.end == pair[1].0.start && pair[0].1 != pair[1].1));
            let again: Vec<Look> = runs.into_iter().flat_map(|(run, look)| run.map(move |_| look)).collect();
            prop_assert_eq!(again, cells);
        }

        #[test]
        fn any_range_of_any_chip_has_an_outline_within_the_grid(megabytes in 1_u32..257, start: u32, len: u32) {
            let size = megabytes * MIB;
            let start = start % size;
            let range = start..start + 1 + len % (size - start);
            let grid = Grid::new(size);
            let (from, to, row) = grid.best_row(&range);
            prop_assert!(from <= to && to <= 64.0 && row < grid.rows());
            let outline = grid.outline(&range);
            let numbers = outline.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|text| !text.is_empty());
            for number in numbers {
                prop_assert!(number.parse::<f64>().unwrap() <= 64.0, "{}", outline);
            }
        }
    }
}
