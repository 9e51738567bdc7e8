//! The chunks that a program has sent, and the outcomes that have arrived (rules J2 and J3).

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use crate::failure::{Failure, FailureKind};
use crate::remote::{RemoteInputs, RemoteOutcome, RemoteOutcomes};

/// The text of the error of an input that is too long.
pub(super) fn too_long(len: u64, most: u64) -> String {
    format!(
        "its input has {len} bytes, but values of at most {most} bytes reach other hosts; pass the name of a file that all \
         hosts can read"
    )
}

/// A chunk of the pool, which is sent in one or more messages.
struct SentGroup {
    answer: SyncSender<RemoteOutcomes>,
    outcomes: Vec<Option<RemoteOutcome>>,
    missing: usize,
    took: u64,
}

/// A message with inputs of a group.
struct SentPart {
    group: u64,
    /// The index of its first input in the group, and the number of its inputs.
    at: usize,
    count: usize,
    missing: usize,
    /// The host that has begun the last attempt.
    host: Option<String>,
}

/// All parts without all outcomes. Their numbers are the numbers of chunks in messages.
#[derive(Default)]
pub(super) struct SentChunks {
    groups: HashMap<u64, SentGroup>,
    parts: HashMap<u64, SentPart>,
    last: u64,
}

impl SentChunks {
    /// Adds a chunk, and divides it into parts of at most `room` bytes, which are returned with their numbers. An
    /// input that is longer is a part by itself, and fails if it has more than `most` bytes.
    pub(super) fn add(
        &mut self,
        mut inputs: RemoteInputs,
        answer: SyncSender<RemoteOutcomes>,
        room: usize,
        most: u64,
    ) -> Vec<(u64, RemoteInputs)> {
        self.last += 1;
        let (group, count) = (self.last, inputs.lengths.len());
        let outcomes = (0..count).map(|_| None).collect();
        self.groups.insert(group, SentGroup { answer, outcomes, missing: count, took: 0 });
        let mut parts = Vec::new();
        let mut at = 0;
        while !inputs.lengths.is_empty() {
            let mut used = 0;
            let fits = |len: &&u64| {
                used += **len as usize + 8;
                used <= room
            };
            let fitting = inputs.lengths.iter().take_while(fits).count();
            let rest = inputs.split_off(fitting.max(1));
            let part = std::mem::replace(&mut inputs, rest);
            let count = part.lengths.len();
            self.last += 1;
            self.parts.insert(self.last, SentPart { group, at, count, missing: count, host: None });
            if fitting == 0 && part.lengths[0] > most {
                let text = too_long(part.lengths[0], most);
                self.fail(self.last, &Failure::plain(FailureKind::Encode, text));
            } else {
                parts.push((self.last, part));
            }
            at += count;
        }
        parts
    }

    /// Adds an input that each worker of the given hosts has to run. Returns the number of the part of each host.
    pub(super) fn add_broadcast(
        &mut self,
        hosts: &[(String, usize)],
        answer: SyncSender<RemoteOutcomes>,
    ) -> Vec<u64> {
        self.last += 1;
        let group = self.last;
        let missing = hosts.iter().map(|(_, workers)| workers).sum();
        let outcomes = (0..missing).map(|_| None).collect();
        self.groups.insert(group, SentGroup { answer, outcomes, missing, took: 0 });
        let mut at = 0;
        let mut parts = Vec::new();
        for (host, count) in hosts {
            self.last += 1;
            let (count, host) = (*count, Some(host.clone()));
            self.parts.insert(self.last, SentPart { group, at, count, missing: count, host });
            parts.push(self.last);
            at += count;
        }
        self.complete(group);
        parts
    }

    /// Divides a part into parts of one input each. Returns their numbers, with the indices of their inputs in the
    /// divided part. Inputs with an outcome are left out.
    pub(super) fn divide(&mut self, number: u64) -> Vec<(u64, usize)> {
        let Some(SentPart { group, at, count, .. }) = self.parts.remove(&number) else {
            return Vec::new();
        };
        let Some(outcomes) = self.groups.get(&group).map(|group| &group.outcomes) else {
            return Vec::new();
        };
        let missing = (0..count).filter(|index| outcomes[at + index].is_none());
        let mut parts = Vec::new();
        for index in missing {
            self.last += 1;
            let part = SentPart { group, at: at + index, count: 1, missing: 1, host: None };
            self.parts.insert(self.last, part);
            parts.push((self.last, index));
        }
        parts
    }

    /// Returns whether a part has no outcome for some inputs.
    pub(super) fn is_open(&self, part: u64) -> bool {
        self.parts.contains_key(&part)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the numbers of all parts.
    pub(super) fn open_parts(&self) -> Vec<u64> {
        self.parts.keys().copied().collect()
    }

    /// Notes the host that begins the last attempt of a part.
    pub(super) fn note_last_try(&mut self, part: u64, host: String) {
        if let Some(part) = self.parts.get_mut(&part) {
            part.host = Some(host);
        }
    }

    /// Returns the host that has begun the last attempt of a part.
    pub(super) fn host_of(&self, part: u64) -> Option<&str> {
        self.parts.get(&part)?.host.as_deref()
    }

    /// Takes outcomes of consecutive inputs of a part, the first of which has the index `first`.
    pub(super) fn take(
        &mut self,
        number: u64,
        first: u64,
        outcomes: Vec<RemoteOutcome>,
        took: u64,
    ) {
        let Some(part) = self.parts.get_mut(&number) else { return };
        let Some(group) = self.groups.get_mut(&part.group) else { return };
        group.took = group.took.max(took);
        for (index, outcome) in (first as usize..part.count).zip(outcomes) {
            let place = &mut group.outcomes[part.at + index];
            if place.is_none() {
                *place = Some(outcome);
                part.missing -= 1;
                group.missing -= 1;
            }
        }
        if part.missing == 0 {
            let group = part.group;
            self.parts.remove(&number);
            self.complete(group);
        }
    }

    /// Fails the inputs of a part that have no outcome.
    pub(super) fn fail(&mut self, number: u64, failure: &Failure) {
        let Some(part) = self.parts.get(&number) else { return };
        let failures = (0..part.count).map(|_| Err(Box::new(failure.clone()))).collect();
        self.take(number, 0, failures, 0);
    }

    fn complete(&mut self, number: u64) {
        if self.groups.get(&number).is_none_or(|group| group.missing > 0) {
            return;
        }
        let Some(SentGroup { answer, outcomes, took, .. }) = self.groups.remove(&number) else {
            return;
        };
        let outcomes = outcomes.into_iter().flatten().collect();
        // If the pool is being terminated, nobody waits.
        let _ = answer.try_send(RemoteOutcomes { outcomes, took });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    fn inputs(lengths: &[u64]) -> RemoteInputs {
        let bytes = vec![1; lengths.iter().sum::<u64>() as usize];
        RemoteInputs { lengths: lengths.to_vec(), bytes, ..RemoteInputs::default() }
    }

    fn add(
        chunks: &mut SentChunks,
        lengths: &[u64],
        room: usize,
    ) -> (Vec<(u64, RemoteInputs)>, Receiver<RemoteOutcomes>) {
        let (answer, outcomes) = sync_channel(1);
        (chunks.add(inputs(lengths), answer, room, 100), outcomes)
    }

    #[test]
    fn the_first_outcome_of_an_input_counts() {
        let mut chunks = SentChunks::default();
        let (parts, outcomes) = add(&mut chunks, &[1, 1, 1], 1000);
        assert_eq!(parts.len(), 1);
        let part = parts[0].0;
        chunks.take(part, 1, vec![Ok(vec![1])], 5);
        chunks.take(part, 0, vec![Ok(vec![0]), Ok(vec![9]), Ok(vec![2])], 3);
        chunks.take(part, 0, vec![Ok(vec![9]); 3], 3);
        let RemoteOutcomes { outcomes, took } = outcomes.try_recv().expect("complete");
        assert_eq!(outcomes, [Ok(vec![0]), Ok(vec![1]), Ok(vec![2])]);
        assert_eq!(took, 5);
        assert!(chunks.is_empty() && !chunks.is_open(part));
    }

    #[test]
    fn a_long_input_is_a_part_by_itself() {
        let mut chunks = SentChunks::default();
        let (parts, _outcomes) = add(&mut chunks, &[10, 90, 10], 40);
        let lengths: Vec<_> = parts.iter().map(|(_, part)| part.lengths.clone()).collect();
        assert_eq!(lengths, [[10], [90], [10]]);
    }

    #[test]
    fn long_chunks_are_divided_and_too_long_inputs_fail() {
        let mut chunks = SentChunks::default();
        let (parts, outcomes) = add(&mut chunks, &[10, 10, 200, 10], 40);
        let sizes: Vec<usize> = parts.iter().map(|(_, part)| part.lengths.len()).collect();
        assert_eq!(sizes, [2, 1]);
        chunks.take(parts[1].0, 0, vec![Ok(vec![4])], 0);
        assert!(outcomes.try_recv().is_err());
        chunks.take(parts[0].0, 0, vec![Ok(vec![1]), Ok(vec![2])], 0);
        let came = outcomes.try_recv().expect("complete").outcomes;
        assert_eq!((&came[0], &came[1], &came[3]), (&Ok(vec![1]), &Ok(vec![2]), &Ok(vec![4])));
        assert!(came[2].as_ref().is_err_and(|failure| failure.text.contains("200 bytes")));
    }

    #[test]
    fn a_divided_part_is_answered_by_its_parts() {
        let mut chunks = SentChunks::default();
        let (parts, outcomes) = add(&mut chunks, &[1, 1, 1], 1000);
        let part = parts[0].0;
        chunks.take(part, 1, vec![Ok(vec![1])], 5);
        let divided = chunks.divide(part);
        assert_eq!(divided.iter().map(|(_, index)| *index).collect::<Vec<_>>(), [0, 2]);
        assert!(!chunks.is_open(part) && chunks.divide(part).is_empty());
        chunks.take(part, 0, vec![Ok(vec![9])], 3);
        chunks.take(divided[1].0, 0, vec![Ok(vec![2])], 3);
        chunks.fail(divided[0].0, &Failure::plain(FailureKind::Failed, "lost".to_owned()));
        let came = outcomes.try_recv().expect("complete").outcomes;
        assert!(came[0].is_err());
        assert_eq!(came[1..], [Ok(vec![1]), Ok(vec![2])]);
    }

    #[test]
    fn a_broadcast_has_an_outcome_for_each_worker() {
        let mut chunks = SentChunks::default();
        let (answer, outcomes) = sync_channel(1);
        let parts = chunks.add_broadcast(&[("a".to_owned(), 2), ("b".to_owned(), 1)], answer);
        assert_eq!((parts.len(), chunks.host_of(parts[1])), (2, Some("b")));
        chunks.fail(parts[1], &Failure::plain(FailureKind::Failed, "lost".to_owned()));
        chunks.take(parts[0], 0, vec![Ok(vec![1]), Ok(vec![2])], 0);
        let came = outcomes.try_recv().expect("complete").outcomes;
        assert_eq!(came[..2], [Ok(vec![1]), Ok(vec![2])]);
        assert!(came[2].is_err() && chunks.is_empty());
        let (answer, outcomes) = sync_channel(1);
        assert!(chunks.add_broadcast(&[], answer).is_empty());
        assert!(outcomes.try_recv().expect("complete").outcomes.is_empty());
    }

    #[test]
    fn outcomes_that_nobody_expects_are_ignored() {
        let mut chunks = SentChunks::default();
        let (parts, outcomes) = add(&mut chunks, &[1], 1000);
        chunks.take(parts[0].0, 5, vec![Ok(vec![1])], 0);
        chunks.take(parts[0].0 + 1, 0, vec![Ok(vec![1])], 0);
        chunks.take(parts[0].0, u64::MAX, vec![Ok(vec![1])], 0);
        assert!(outcomes.try_recv().is_err() && chunks.is_open(parts[0].0));
        chunks.fail(parts[0].0, &Failure::plain(FailureKind::Failed, "lost".to_owned()));
        assert!(outcomes.try_recv().expect("complete").outcomes[0].is_err());
    }
}
