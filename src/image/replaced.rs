//! What writes have replaced, while somebody may still hold copies of it and write them back.
//!
//! A copy comes back whole, with changes somewhere in it. Whatever in it is as it was before somebody else's write has not been
//! changed, and must not undo that write.

use std::sync::Arc;

use super::Shared;

/// Somebody who writes while others may hold copies of the bytes. What the write replaces is remembered until this is dropped,
/// which must be before the write is called done to anybody who could go on with it.
pub struct Writer {
    shared: Arc<Shared>,
    origin: Origin,
}

/// Where a write comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    number: u64,
    /// The holder of copies who needs none of this write's bytes, since its own has them.
    holder: Option<u64>,
    /// Whether the bytes are a holder's copy, of which only a part may have been changed.
    pub(super) is_copy: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, holder: Option<u64>, is_copy: bool) -> Self {
        let number = shared.state.lock().replaced.next_number();
        Self { shared, origin: Origin { number, holder, is_copy } }
    }

    /// What to write with.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state.lock().replaced.forget(self.origin.number);
    }
}

/// The bytes that were replaced.
#[derive(Default)]
pub(super) struct Replaced {
    last: u64,
    pieces: Vec<Piece>,
}

struct Piece {
    origin: Origin,
    address: u32,
    bytes: Vec<u8>,
}

impl Replaced {
    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Remembers what is replaced from `address` on.
    pub(super) fn remember(&mut self, origin: Origin, address: u32, bytes: Vec<u8>) {
        self.pieces.push(Piece { origin, address, bytes });
    }

    fn forget(&mut self, number: u64) {
        self.pieces.retain(|piece| piece.origin.number != number);
    }

    /// Takes from `data`, a holder's copy, what others have replaced meanwhile, and puts there what is `current`.
    pub(super) fn renew(&self, origin: Origin, address: u32, data: &mut [u8], current: &[u8]) {
        let copy = address as usize..address as usize + data.len();
        for piece in self.pieces.iter().filter(|piece| is_of_another(piece.origin, origin)) {
            let start = piece.address as usize;
            for at in copy.start.max(start)..copy.end.min(start + piece.bytes.len()) {
                let index = at - copy.start;
                if data[index] == piece.bytes[at - start] {
                    data[index] = current[index];
                }
            }
        }
    }
}

fn is_of_another(one: Origin, other: Origin) -> bool {
    one.holder.is_none() || one.holder != other.holder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u64, holder: Option<u64>) -> Origin {
        Origin { number, holder, is_copy: false }
    }

    fn renewed(replaced: &Replaced, copy: &[u8], current: &[u8]) -> Vec<u8> {
        let mut data = copy.to_vec();
        replaced.renew(Origin { is_copy: true, ..origin(9, Some(1)) }, 100, &mut data, current);
        data
    }

    #[test]
    fn only_what_a_copy_has_changed_is_news() {
        let mut replaced = Replaced::default();
        // "abcdef" has become "abCDEf"; the copy was made before, and has since become "xbcdYf".
        replaced.remember(origin(1, Some(2)), 102, b"cde".to_vec());
        assert_eq!(renewed(&replaced, b"xbcdYf", b"abCDEf"), b"xbCDYf");
    }

    #[test]
    fn a_copy_is_renewed_past_several_writes() {
        let mut replaced = Replaced::default();
        replaced.remember(origin(1, None), 100, b"ab".to_vec());
        replaced.remember(origin(2, None), 101, b"B".to_vec());
        assert_eq!(renewed(&replaced, b"abx", b"A2c"), b"A2x");
        assert_eq!(renewed(&replaced, b"ABx", b"A2c"), b"A2x");
    }

    #[test]
    fn nobody_needs_what_its_own_copy_has() {
        let mut replaced = Replaced::default();
        replaced.remember(origin(1, Some(1)), 100, b"a".to_vec());
        assert_eq!(renewed(&replaced, b"a", b"A"), b"a");
    }

    #[test]
    fn what_is_forgotten_is_news_again() {
        let mut replaced = Replaced::default();
        replaced.remember(origin(1, None), 100, b"a".to_vec());
        replaced.remember(origin(2, None), 101, b"b".to_vec());
        replaced.forget(1);
        assert_eq!(renewed(&replaced, b"ab", b"AB"), b"aB");
    }
}
