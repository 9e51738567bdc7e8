//! Hints for the user, derived from the times.

use super::collector::Collector;
use super::text::{share, time};
use super::{TaskInsights, WorkerInsights};

/// The minimum number of nanoseconds of work from which hints are derived.
const LEAST: u64 = 20_000_000;

/// The recommended minimum duration of a chunk in nanoseconds.
const CHUNK: u64 = 20_000;

/// Returns the hints, one sentence each.
pub(super) fn find(
    collector: &Collector,
    workers: &[WorkerInsights],
    tasks: &[TaskInsights],
) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(deaths(workers));
    found.extend(starved(collector, workers));
    found.extend(imbalance(workers));
    found.extend(tasks.iter().filter_map(small_chunks));
    found.extend(start_times(workers));
    found.extend(sending(workers));
    found
}

fn deaths(workers: &[WorkerInsights]) -> Option<String> {
    let deaths: u64 = workers.iter().map(|worker| worker.deaths).sum();
    let last = workers.iter().filter(|worker| worker.deaths > 0).max_by_key(|worker| worker.id)?;
    let how = last.last_death.as_deref().unwrap_or("ended");
    Some(match deaths {
        1 => format!("a worker died and was replaced: it {how}"),
        _ => format!("{deaths} workers died and were replaced; one {how}"),
    })
}

/// Workers wait for inputs, and not inputs for workers: on average less than half a chunk was waiting.
fn starved(collector: &Collector, workers: &[WorkerInsights]) -> Option<String> {
    let active = collector.activity.active();
    let wait: u64 = workers.iter().map(|worker| worker.wait).sum();
    let work: u64 = workers.iter().map(|worker| worker.run + worker.send).sum();
    let chunks: u64 = collector.tasks.values().map(|task| task.chunks).sum();
    let waited: u64 = collector.tasks.values().map(|task| task.waited).sum();
    let is_slow = active >= LEAST && wait > work && waited * 2 < active;
    (is_slow && chunks >= 4 * workers.len() as u64).then(|| {
        format!(
            "the workers waited for inputs for {} of their time: the iterator of the inputs, or the code between the              calls, is slower than they are; move work from there into the task, or use fewer workers",
            share(wait, wait + work)
        )
    })
}

fn imbalance(workers: &[WorkerInsights]) -> Option<String> {
    let most = workers.iter().max_by_key(|worker| worker.run)?;
    let least = workers.iter().min_by_key(|worker| worker.run)?;
    let inputs: u64 = workers.iter().map(|worker| worker.inputs).sum();
    let uneven = most.run >= LEAST && least.run * 2 < most.run && least.wait * 4 > most.run;
    (uneven && inputs >= 2 * workers.len() as u64).then(|| {
        format!(
            "the work is uneven: worker {} ran for {} and worker {} for {}; hand in long inputs first, or use \
             a smaller chunk_size",
            most.id,
            time(most.run),
            least.id,
            time(least.run)
        )
    })
}

fn small_chunks(task: &TaskInsights) -> Option<String> {
    let per_chunk = task.run / task.chunks.max(1);
    (task.chunks >= 1_000 && per_chunk < CHUNK).then(|| {
        format!(
            "chunks of `{}` have {:.1} inputs and take {} on average, so that handing them over costs more than it \
             should; leave chunk_size out, or use map instead of many single calls",
            task.name,
            task.inputs as f64 / task.chunks as f64,
            time(per_chunk)
        )
    })
}

fn start_times(workers: &[WorkerInsights]) -> Option<String> {
    let starting: u64 = workers.iter().map(|worker| worker.start + worker.initialize).sum();
    let run: u64 = workers.iter().map(|worker| worker.run).sum();
    let worked = workers.iter().any(|worker| worker.inputs > 0);
    (worked && starting >= 5 * LEAST && starting > run).then(|| {
        format!(
            "the workers took {} to start and initialize, and ran tasks for {}; keep the pool for more calls, raise \
             max_tasks_per_worker, or use a preload",
            time(starting),
            time(run)
        )
    })
}

fn sending(workers: &[WorkerInsights]) -> Option<String> {
    let send: u64 = workers.iter().map(|worker| worker.send).sum();
    let run: u64 = workers.iter().map(|worker| worker.run).sum();
    (send >= LEAST && send * 2 > run).then(|| {
        format!(
            "the workers spent {} of their time on sending results; return less, or return Shared",
            share(send, send + run)
        )
    })
}
