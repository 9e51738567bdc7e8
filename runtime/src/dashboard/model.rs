//! The state that connections send: named things, each as JSON, and the lanes of workers.
//!
//! A thing is a pool, a call, a worker or a function. Connections compare hashes to send only those that have changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::lanes::{CELLS, Lane, TICK};
use super::pools;
use crate::engine::{CallOverview, Life, SharedPool, WorkerOverview};
use crate::insights::Insights;
use crate::json::JsonText;
use crate::registry;
use crate::sys::{clock, limits};

/// The maximum number of pools that are shown. If there are more, the latest ones are shown.
const POOLS: usize = 64;

/// The maximum numbers of calls of a pool that are shown: open calls, and the latest ones that have ended.
const OPEN_CALLS: usize = 100;
const OVER_CALLS: usize = 10;

/// The number of ticks between two updates of slowly changing data.
const SLOW: u64 = 4;

/// The number of ticks over which the rate of a call is measured.
const RATE: usize = 20;

/// The data of a pool that only the dashboard collects.
#[derive(Default)]
struct PoolModel {
    lanes: Vec<Lane>,
    /// The number of inputs that were done, at the last ticks, by call.
    rates: HashMap<u64, VecDeque<u64>>,
    /// The slowly changing data: the insights of the pool, and the memory of its workers by pid.
    insights: Option<Insights>,
    memory: HashMap<u32, u64>,
}

/// The state that the page shows.
pub(super) struct Model {
    begun: u64,
    tick: u64,
    things: BTreeMap<String, String>,
    pools: BTreeMap<u64, PoolModel>,
}

impl Model {
    pub(super) fn new() -> Self {
        let (things, pools) = (BTreeMap::new(), BTreeMap::new());
        Model { begun: clock::now(), tick: 0, things, pools }
    }

    /// Returns the number of the last tick.
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    /// Returns the milliseconds since the dashboard was started.
    pub(super) fn now(&self) -> f64 {
        self.since(clock::now())
    }

    fn since(&self, at: u64) -> f64 {
        // Times before the start of the dashboard are negative.
        (at as f64 - self.begun as f64) / 1e6
    }

    /// Returns all things, by their names.
    pub(super) fn things(&self) -> &BTreeMap<String, String> {
        &self.things
    }

    /// Writes the last `count` cells of the lanes that are not idle, as members.
    pub(super) fn write_lanes(&self, json: &mut JsonText, count: usize) {
        for (pool, model) in &self.pools {
            for (slot, lane) in model.lanes.iter().enumerate() {
                let Some(cells) = lane.last(count) else { continue };
                let cells =
                    cells.flat_map(|cell| [cell.task.map_or(-1, i64::from), cell.busy.into()]);
                json.key(&format!("{pool}/{slot}")).array(cells, JsonText::number);
            }
        }
    }

    /// Looks at what the workers do.
    pub(super) fn sample(&mut self) {
        for pool in shown_pools() {
            let model = self.pools.entry(pool.id).or_default();
            for (slot, task) in pool.lock().running_tasks() {
                if model.lanes.len() <= slot {
                    model.lanes.resize_with(slot + 1, Lane::default);
                }
                model.lanes[slot].sample(task);
            }
        }
    }

    /// Looks at everything.
    pub(super) fn advance(&mut self) {
        let slow = self.tick.is_multiple_of(SLOW);
        self.tick += 1;
        let shown = shown_pools();
        self.pools.retain(|id, _| shown.iter().any(|pool| pool.id == *id));
        let mut things = BTreeMap::new();
        for pool in &shown {
            let mut model = self.pools.remove(&pool.id).unwrap_or_default();
            model.lanes.iter_mut().for_each(Lane::advance);
            if slow || model.insights.is_none() {
                model.look_slowly(pool);
            }
            self.add_pool(pool, &mut model, &mut things);
            self.pools.insert(pool.id, model);
        }
        self.things = things;
    }

    fn add_pool(
        &self,
        pool: &SharedPool,
        model: &mut PoolModel,
        things: &mut BTreeMap<String, String>,
    ) {
        let mut engine = pool.lock();
        let calls = engine.call_overviews(pool);
        let workers = engine.worker_overviews(pool);
        let (life, target) = (engine.life(), engine.workers());
        drop(engine);
        let id = pool.id;
        model
            .rates
            .retain(|call, _| calls.iter().any(|other| other.span.call == *call && !other.is_over));
        let open = calls.iter().rev().filter(|call| !call.is_over).take(OPEN_CALLS);
        let over = calls.iter().rev().filter(|call| call.is_over).take(OVER_CALLS);
        for call in open.chain(over) {
            let rate = model.rate(call);
            things.insert(format!("call/{id}/{}", call.span.call), self.call(call, rate));
        }
        for worker in &workers {
            things.insert(format!("worker/{id}/{}", worker.slot), self.worker(worker, model));
        }
        let tasks = model.insights.as_ref().map(Insights::tasks).unwrap_or_default();
        for task in tasks {
            let mut json = JsonText::default();
            task.write_short(&mut json);
            things.insert(format!("task/{id}/{}", task.id()), json.into_text());
        }
        let mut json = JsonText::default();
        json.object(|json| {
            json.numbers(&[("id", id), ("workers", target as u64)]);
            json.key("name").string(&pool.settings.name);
            json.key("method").string(pool.settings.method.name());
            json.key("life").string(match life {
                Life::Open => "open",
                Life::Ended => "ended",
                _ => "closed",
            });
            let insights = model.insights.as_ref();
            let begun = insights.map_or(self.begun, Insights::begun);
            json.key("built").fraction(self.since(begun));
            json.key("tasks").array(tasks, |json, task| json.number(task.id()));
            let warnings = insights.map(Insights::warnings).unwrap_or_default();
            json.key("warnings").array(warnings, |json, warning| json.string(warning));
        });
        things.insert(format!("pool/{id}"), json.into_text());
    }

    fn call(&self, call: &CallOverview, rate: f64) -> String {
        let CallOverview { span, done, is_over } = call;
        let mut json = JsonText::default();
        json.object(|json| {
            json.numbers(&[("call", span.call), ("done", *done), ("failed", span.failed)]);
            json.key("task").string(registry::get(span.task).map_or("", |entry| entry.name()));
            json.key("title").string_or_null(span.title.as_deref());
            match (is_over, span.total) {
                (true, _) => json.key("total").number(span.handed_in),
                (false, Some(total)) => json.key("total").number(total.max(*done)),
                (false, None) => json.key("total").number("null"),
            }
            json.key("over").number(is_over);
            json.key("begun").fraction(self.since(span.begun));
            json.key("ended").fraction(self.since(span.ended.max(span.begun)));
            json.key("rate").fraction(rate);
        });
        json.into_text()
    }

    fn worker(&self, worker: &WorkerOverview, model: &PoolModel) -> String {
        let WorkerOverview { slot, info, since } = worker;
        let insights = model.insights.as_ref().map(Insights::workers).unwrap_or_default();
        let record = insights.iter().find(|record| record.id() == info.id());
        let mut json = JsonText::default();
        json.object(|json| {
            json.numbers(&[
                ("slot", *slot as u64),
                ("id", info.id() as u64),
                ("pid", info.pid().into()),
                ("done", info.tasks_done()),
                ("memory", model.memory.get(&info.pid()).copied().unwrap_or(0)),
                ("deaths", record.map_or(0, |record| record.deaths())),
            ]);
            json.key("state").string(&format!("{:?}", info.state()).to_lowercase());
            json.key("task").string_or_null(info.task());
            match since {
                Some(since) => json.key("since").fraction(self.since(*since)),
                None => json.key("since").number("null"),
            }
            json.key("last_death").string_or_null(record.and_then(|record| record.last_death()));
        });
        json.into_text()
    }
}

impl PoolModel {
    fn look_slowly(&mut self, pool: &SharedPool) {
        let mut engine = pool.lock();
        let numbers = engine.collected_numbers(pool);
        let pids: Vec<u32> = engine.worker_overviews(pool).iter().map(|it| it.info.pid()).collect();
        drop(engine);
        let (name, method) = (&pool.settings.name, pool.settings.method.name());
        self.insights = numbers.map(|it| Insights::new(name, method, clock::now(), it));
        let resident = |pid: u32| Some((pid, limits::resident_memory(pid)?));
        self.memory = pids.into_iter().filter_map(resident).collect();
    }

    /// Inputs per second of a call that is open.
    fn rate(&mut self, call: &CallOverview) -> f64 {
        if call.is_over {
            return 0.0;
        }
        let seen = self.rates.entry(call.span.call).or_default();
        if seen.len() > RATE {
            seen.pop_front();
        }
        seen.push_back(call.done);
        let (Some(first), Some(last)) = (seen.front(), seen.back()) else { return 0.0 };
        let seconds = (seen.len() - 1) as f64 * TICK.as_secs_f64();
        if seconds > 0.0 { (last - first) as f64 / seconds } else { 0.0 }
    }
}

/// Returns the number of cells that have to be sent to a connection whose last message was at `tick`.
pub(super) fn cells_since(tick: u64, now: u64) -> usize {
    (now.saturating_sub(tick)).min(CELLS as u64) as usize
}

/// Returns the pools that are shown.
pub(super) fn shown_pools() -> Vec<Arc<SharedPool>> {
    let mut pools = pools::all();
    let rest = pools.len().saturating_sub(POOLS);
    pools.drain(..rest);
    pools
}
