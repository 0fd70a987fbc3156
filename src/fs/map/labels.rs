//! Where the names of partitions stand beside the grid, each as near as can be to what it names.

use super::cells::Grid;
use crate::fs::partitions::Partition;

/// From one label to the next, in pixels.
const LINE: f64 = 17.0;

/// A partition's name, in pixels from the grid's upper left corner.
pub(super) struct Label<'a> {
    pub(super) partition: &'a Partition,
    /// A point within the partition.
    pub(super) dot: (f64, f64),
    /// The middle of the text.
    pub(super) y: f64,
}

/// From top to bottom, for cells of `cell` pixels.
pub(super) fn place(grid: Grid, partitions: &[Partition], cell: f64) -> Vec<Label<'_>> {
    let mut rows: Vec<_> =
        partitions.iter().map(|partition| (partition, grid.best_row(&partition.range))).collect();
    rows.sort_by_key(|(partition, (_, _, row))| (*row, partition.range.start, partition.range.end));
    let mut labels: Vec<Label<'_>> = Vec::new();
    for same_row in rows.chunk_by(|one, other| one.1.2 == other.1.2) {
        let share = cell / f64::from(u32::try_from(same_row.len()).unwrap_or(u32::MAX));
        for (index, (partition, (from, to, row))) in (0..).zip(same_row) {
            // Lines that go through the same row must not cover each other.
            let dot_y = cell * f64::from(*row) + share * (f64::from(index) + 0.5);
            let dot_x = cell * (to - (to - from).min(1.0) / 2.0);
            let above = labels.last().map(|label| label.y + LINE);
            labels.push(Label {
                partition,
                dot: (dot_x, dot_y),
                y: above.map_or(dot_y, |above| above.max(dot_y)),
            });
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn partition(range: Range<u32>) -> Partition {
        Partition { name: "a".to_owned(), range, read_only: false }
    }

    #[test]
    fn labels_are_beside_their_partitions_and_never_on_top_of_each_other() {
        let grid = Grid::new(16 << 20);
        let partitions =
            [0x25_0000..0x100_0000, 0..0x4_0000, 0x4_0000..0x5_0000, 0x5_0000..0x25_0000].map(partition);
        let labels = place(grid, &partitions, 12.0);
        let starts: Vec<u32> = labels.iter().map(|label| label.partition.range.start).collect();
        assert_eq!(starts, [0, 0x4_0000, 0x5_0000, 0x25_0000]);
        assert!(labels.windows(2).all(|pair| pair[1].y - pair[0].y >= LINE));
        assert!(labels.iter().all(|label| label.y - label.dot.1 < 2.0 * LINE));
        assert_eq!(labels[1].dot, (15.5 * 12.0, 1.5 * 12.0));
    }

    #[test]
    fn several_in_a_row_have_lines_of_their_own() {
        let grid = Grid::new(16 << 20);
        let partitions = [0..0x1000, 0x1000..0x2000, 0x2000..0x2800].map(partition);
        let labels = place(grid, &partitions, 12.0);
        let dots: Vec<_> = labels.iter().map(|label| label.dot).collect();
        assert_eq!(dots, [(6.0, 2.0), (18.0, 6.0), (27.0, 10.0)]);
    }
}
