//! cargo run --release --example model_server
//!
//! Serves a model that is expensive to load: once per worker by an initializer, or once for all
//! workers by a preload. Four clients send batches of pixels and wait for their levels.

use std::{process, thread, time::Duration, time::Instant};

use runtime::{Pool, PoolBuilder, Result, State, StateMut, initializer, worker};

/// The levels that approximate all brightnesses. A model is never sent, so it needs no traits of serde.
struct Model {
    levels: Vec<f64>,
    loaded_in: u32,
}

fn nearest(levels: &[f64], brightness: f64) -> usize {
    let distance = |level: usize| (levels[level] - brightness).abs();
    let nearer = |a: &usize, b: &usize| distance(*a).total_cmp(&distance(*b));
    (0..levels.len()).min_by(nearer).unwrap_or_default()
}

/// The expensive part: k-means over generated pixels.
#[initializer]
fn load_model(clusters: usize, pixels: usize) -> Model {
    let pixels: Vec<f64> = (0..pixels).map(pixel).collect();
    let mut levels = pixels[..clusters].to_vec();
    for _ in 0..10 {
        let mut sums = vec![(0.0, 0.0); clusters];
        for &pixel in &pixels {
            let level = &mut sums[nearest(&levels, pixel)];
            *level = (level.0 + pixel, level.1 + 1.0);
        }
        levels = sums.iter().map(|(sum, count)| sum / count).collect();
    }
    let loaded_in = process::id();
    Model { levels, loaded_in }
}

/// A pseudo-random brightness, the same in every run.
fn pixel(number: usize) -> f64 {
    (number as f64 * 0.618_033_988_75).fract().powi(2)
}

struct Served(u64);

#[initializer]
fn start_counting() -> Served {
    Served(0)
}

/// Handles one request. States are the first parameters, and are not part of the input.
#[worker]
fn quantize(model: State<Model>, mut served: StateMut<Served>, pixels: &[f64]) -> Vec<usize> {
    served.0 += 1;
    pixels.iter().map(|&x| nearest(&model.levels, x)).collect()
}

#[worker]
fn report(model: State<Model>, served: StateMut<Served>) -> (u32, u64, u32) {
    (process::id(), served.0, model.loaded_in)
}

fn client(pool: &Pool) -> Result<Vec<Duration>> {
    let request = |number| {
        let pixels: Vec<f64> = (number..number + 256).map(pixel).collect();
        let begin = Instant::now();
        let handle = pool.submit(quantize, &pixels); // the client can do other work now
        handle.wait().map(|_levels| begin.elapsed())
    };
    (0..500).map(request).collect()
}

fn serve(title: &str, pool: PoolBuilder) -> Result<()> {
    let begin = Instant::now();
    let pool = pool.initializer(start_counting, ()).workers(2).build()?;
    println!("{title}: two workers ready after {:.0?}", begin.elapsed());
    let begin = Instant::now();
    let times = thread::scope(|scope| {
        let clients = [(); 4].map(|()| scope.spawn(|| client(&pool)));
        clients.map(|client| client.join().expect("clients do not panic"))
    });
    let mut times = times.into_iter().collect::<Result<Vec<_>>>()?.concat();
    times.sort_unstable();
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    let [median, late] = [50, 99].map(|percent| times[times.len() * percent / 100]);
    println!("  {rate:.0} requests a second, median {median:.0?}, 99 % within {late:.0?}");
    for worker in pool.broadcast(report, ()) {
        let (pid, served, loaded_in) = worker?;
        println!("  worker {pid} served {served} requests, model loaded in process {loaded_in}");
    }
    Ok(())
}

fn main() -> Result<()> {
    let settings = Pool::builder().initializer(load_model, (64, 500_000));
    serve("initializer", settings)?;
    let settings = Pool::builder().preload(load_model, (64, 500_000));
    serve("preload", settings)
}
