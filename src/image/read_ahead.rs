//! What a sequential reader will ask for next, so that the bus is not idle while it digests the last answer.

use std::ops::Range;

/// Readers followed at a time.
const STREAMS: usize = 8;

/// How far ahead of a reader to read, in bytes: at first, and at the most.
const FIRST_WINDOW: u32 = 128 << 10;
const LARGEST_WINDOW: u32 = 1 << 20;

#[derive(Default)]
pub(super) struct ReadAhead {
    /// The most recent reader first.
    streams: Vec<Stream>,
}

struct Stream {
    /// Where the reader's next request should begin.
    next: u32,
    /// How far ahead to read; 0 for a reader that has come only once.
    window: u32,
}

impl ReadAhead {
    /// Takes note of a request for `range`.
    pub(super) fn note(&mut self, range: Range<u32>) {
        let known = self.streams.iter().position(|stream| stream.next == range.start);
        let window = match known.map(|index| self.streams.remove(index).window) {
            None => 0,
            Some(0) => FIRST_WINDOW,
            Some(window) => (2 * window).min(LARGEST_WINDOW),
        };
        self.streams.insert(0, Stream { next: range.end, window });
        self.streams.truncate(STREAMS);
    }

    /// What is worth reading when nobody waits: the windows of all readers, in the order of the most recent ones, cut at
    /// `size`.
    pub(super) fn windows(&self, size: u32) -> impl Iterator<Item = Range<u32>> {
        self.streams
            .iter()
            .map(move |stream| stream.next..stream.next.saturating_add(stream.window).min(size))
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "the windows are ranges")]
mod tests {
    use super::*;

    fn ahead(read_ahead: &ReadAhead) -> Vec<Range<u32>> {
        read_ahead.windows(16 << 20).filter(|window| !window.is_empty()).collect()
    }

    #[test]
    fn one_request_is_no_stream_and_a_second_behind_it_is() {
        let mut read_ahead = ReadAhead::default();
        read_ahead.note(0..4096);
        assert!(ahead(&read_ahead).is_empty());
        read_ahead.note(4096..8192);
        assert_eq!(ahead(&read_ahead), vec![8192..8192 + FIRST_WINDOW]);
    }

    #[test]
    fn two_readers_at_a_time_are_both_followed() {
        let mut read_ahead = ReadAhead::default();
        for step in 0..2 {
            read_ahead.note(step * 4096..(step + 1) * 4096);
            read_ahead.note((1 << 20) + step * 512..(1 << 20) + (step + 1) * 512);
        }
        assert_eq!(ahead(&read_ahead).len(), 2);
    }

    #[test]
    fn a_window_grows_to_its_limit_and_ends_with_the_chip() {
        let mut read_ahead = ReadAhead::default();
        for step in 0..10 {
            read_ahead.note(step * 4096..(step + 1) * 4096);
        }
        assert_eq!(ahead(&read_ahead), vec![40960..40960 + LARGEST_WINDOW]);
        assert_eq!(read_ahead.windows(50000).next(), Some(40960..50000));
    }
}
