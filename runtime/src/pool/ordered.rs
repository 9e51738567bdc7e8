//! Outcomes that arrive in any order, in the order of their inputs.

use std::collections::BTreeMap;

/// Outcomes in the order of their inputs, up to the first gap. The outcomes behind it are in pieces
/// without gaps.
pub(super) struct Ordered<T> {
    front: Vec<T>,
    /// The pieces by the index of their first outcome; they are not adjacent.
    pieces: BTreeMap<usize, Vec<T>>,
    /// The piece that has grown last, and its first index.
    last: (usize, Vec<T>),
}

impl<T> Ordered<T> {
    pub(super) fn new(expected: usize) -> Self {
        let front = Vec::with_capacity(expected.min(1 << 24));
        Ordered { front, pieces: BTreeMap::new(), last: (0, Vec::new()) }
    }

    #[inline]
    pub(super) fn put(&mut self, index: usize, outcome: T) {
        if index == self.front.len() {
            self.front.push(outcome);
        } else if index == self.last.0 + self.last.1.len() {
            self.last.1.push(outcome);
        } else {
            self.put_elsewhere(index, outcome);
        }
    }

    /// Makes another piece the current one.
    #[cold]
    fn put_elsewhere(&mut self, index: usize, outcome: T) {
        self.close_gap();
        if index == self.front.len() {
            return self.front.push(outcome);
        }
        self.set_last_aside();
        let before = self.pieces.range(..index).next_back();
        let touching = before.filter(|(first, piece)| *first + piece.len() == index);
        let first = touching.map_or(index, |(first, _)| *first);
        self.last = (first, self.pieces.remove(&first).unwrap_or_default());
        self.last.1.push(outcome);
    }

    fn set_last_aside(&mut self) {
        let (first, piece) = std::mem::take(&mut self.last);
        if !piece.is_empty() {
            self.pieces.insert(first, piece);
        }
    }

    /// Appends the pieces that follow the front to it.
    fn close_gap(&mut self) {
        loop {
            let next = self.front.len();
            let mut piece = match self.pieces.remove(&next) {
                Some(piece) => piece,
                None if self.last.0 == next => std::mem::take(&mut self.last.1),
                None => return,
            };
            if piece.is_empty() {
                return;
            }
            self.front.append(&mut piece);
        }
    }

    /// Returns all outcomes; each input must have one.
    pub(super) fn complete(mut self) -> Vec<T> {
        self.set_last_aside();
        self.close_gap();
        assert!(self.pieces.is_empty(), "every input has an outcome");
        self.front
    }

    /// Returns the outcomes that have arrived.
    pub(super) fn into_present(mut self) -> Vec<T> {
        self.set_last_aside();
        let pieces = std::mem::take(&mut self.pieces).into_values();
        pieces.fold(self.front, |mut present, piece| {
            present.extend(piece);
            present
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Ordered;

    #[test]
    fn outcomes_stand_in_the_order_of_their_inputs() {
        let orders: [&[usize]; 5] = [
            &[0, 1, 2, 3, 4, 5],
            &[3, 4, 5, 0, 1, 2],
            &[2, 0, 5, 3, 1, 4],
            &[5, 4, 3, 2, 1, 0],
            &[1, 4, 2, 5, 0, 3],
        ];
        for order in orders {
            let mut outcomes = Ordered::new(0);
            order.iter().for_each(|index| outcomes.put(*index, index * 10));
            assert_eq!(outcomes.complete(), [0, 10, 20, 30, 40, 50], "{order:?}");
        }
    }

    #[test]
    fn outcomes_may_be_missing() {
        let mut outcomes = Ordered::new(6);
        [5, 1, 4, 0].into_iter().for_each(|index| outcomes.put(index, index * 10));
        assert_eq!(outcomes.into_present(), [0, 10, 40, 50]);
    }
}
