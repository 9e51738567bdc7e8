//! The three workloads of mpire's published benchmark, each from start to end of its pool.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use runtime::{Pool, Shared, StartMethod, State, StateMut, initializer, worker};

use crate::measure::seconds;

type Counts = HashMap<String, u64>;

/// Numbers that look random and are the same each time.
pub(crate) struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }

    fn float(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }
}

/// Pixels in rows of `size`.
struct Image<P> {
    size: usize,
    pixels: P,
}

/// Every fifth row and column of the convolution, which is computed in full.
fn convolve(width: usize, pixels: &[f64], taps: &[f64; 16]) -> Vec<f64> {
    let size = width - 3;
    let mut row = vec![0.0; size];
    let mut output = Vec::with_capacity((size / 5 + 1).pow(2));
    for y in 0..size {
        row.fill(0.0);
        for (at, tap) in taps.iter().enumerate() {
            let from = (y + at / 4) * width + at % 4;
            let window = &pixels[from..from + size];
            row.iter_mut().zip(window).for_each(|(sum, pixel)| *sum += tap * pixel);
        }
        let row = std::hint::black_box(&row);
        if y % 5 == 0 {
            output.extend(row.iter().step_by(5));
        }
    }
    output
}

#[initializer]
fn keep_image(size: usize, pixels: Shared<[f64]>) -> Image<Shared<[f64]>> {
    Image { size, pixels }
}

#[worker]
fn convolve_shared(image: State<Image<Shared<[f64]>>>, taps: [f64; 16]) -> Vec<f64> {
    convolve(image.size, &image.pixels, &taps)
}

fn count<W: AsRef<str>>(counts: &mut Counts, words: &[W]) {
    for word in words.iter().map(AsRef::as_ref) {
        for end in 1..=3 {
            match counts.get_mut(&word[..end]) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word[..end].to_owned(), 1)),
            }
        }
    }
}

#[initializer]
fn no_counts() -> Counts {
    Counts::new()
}

#[worker]
fn count_into_state(mut counts: StateMut<Counts>, words: Vec<&str>) {
    count(&mut counts, &words);
}

#[worker]
fn take_counts(mut counts: StateMut<Counts>) -> Counts {
    std::mem::take(&mut *counts)
}

struct Model {
    first: Vec<f64>,
    second: Vec<f64>,
    batch: Vec<f64>,
}

const PIXELS: usize = 784;
const HIDDEN: usize = 512;
const CLASSES: usize = 10;

fn load(path: &str, batch: usize) -> std::io::Result<Model> {
    let bytes = std::fs::read(path)?;
    let float = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().expect("eight"));
    let mut first: Vec<f64> = bytes.chunks_exact(8).map(float).collect();
    let second = first.split_off(PIXELS * HIDDEN);
    let batch = vec![1.0; PIXELS * batch];
    Ok(Model { first, second, batch })
}

/// A row of inputs times a matrix.
fn through(inputs: &[f64], matrix: &[f64], width: usize) -> Vec<f64> {
    let mut outputs = vec![0.0; width];
    for (input, row) in inputs.iter().zip(matrix.chunks_exact(width)) {
        outputs.iter_mut().zip(row).for_each(|(sum, weight)| *sum += input * weight);
    }
    outputs
}

fn predictions(model: &Model) -> Vec<usize> {
    let class = |image: &[f64]| {
        let mut hidden = through(image, &model.first, HIDDEN);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        let scores = through(&hidden, &model.second, CLASSES);
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(class, _)| class)
    };
    model.batch.chunks_exact(PIXELS).map(class).collect()
}

#[initializer]
fn load_model(path: String, batch: usize) -> std::io::Result<Model> {
    load(&path, batch)
}

#[worker]
fn predict(model: State<Model>, _: u64) -> Vec<usize> {
    predictions(&model)
}

/// How a workload runs.
#[derive(Clone, Copy)]
pub(crate) enum How {
    Serial,
    /// In threads of rayon, which share the memory.
    Threads,
    Pool(StartMethod),
}

fn threads() -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(crate::WORKERS);
    builder.build().expect("threads start")
}

fn builder(method: StartMethod) -> runtime::PoolBuilder {
    Pool::builder().workers(crate::WORKERS).start_method(method)
}

pub(crate) fn image(how: How, size: usize, filters: usize) -> runtime::Result<f64> {
    let mut numbers = Numbers(1);
    let pixels = Shared::build(size * size, |pixels| pixels.fill_with(|| numbers.float()))?;
    let taps: Vec<[f64; 16]> =
        (0..filters).map(|_| [(); 16].map(|()| numbers.float() - 0.5)).collect();
    let mut outputs = Ok(Vec::new());
    let took = seconds(|| {
        let one = |taps: &[f64; 16]| convolve(size, &pixels, taps);
        outputs = match how {
            How::Serial => Ok(taps.iter().map(one).collect()),
            How::Threads => Ok(threads().install(|| taps.par_iter().map(one).collect())),
            How::Pool(method) => builder(method)
                .preload(keep_image, (size, pixels.clone()))
                .build()
                .and_then(|pool| pool.map(convolve_shared, &taps)),
        };
    });
    assert_eq!(outputs?.len(), filters);
    Ok(took)
}

pub(crate) fn documents(how: How, number: usize, words: usize) -> runtime::Result<f64> {
    let mut numbers = Numbers(2);
    let mut word = |i: usize| -> String {
        (0..3 + i % 6).map(|_| char::from(b'a' + (numbers.next() % 26) as u8)).collect()
    };
    // Three long ones for each short one, of a few different ones.
    let mut made: Vec<Vec<String>> = Vec::new();
    for seed in 0..20 {
        let words = if seed % 4 == 0 { words / 3 } else { words };
        made.push((0..words).map(&mut word).collect());
    }
    let all: Vec<Vec<String>> = (0..number).map(|i| made[i % made.len()].clone()).collect();
    let total: usize = all.iter().map(Vec::len).sum();
    let mut counted = Ok(Vec::new());
    let took = seconds(|| {
        counted = match how {
            How::Serial => {
                let mut counts = Counts::new();
                all.iter().for_each(|words| count(&mut counts, words));
                Ok(vec![counts])
            }
            How::Threads => {
                // Each thread counts in a table of its own, like each worker.
                let next = AtomicUsize::new(0);
                Ok(threads().broadcast(|_| {
                    let mut counts = Counts::new();
                    while let Some(words) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        count(&mut counts, words);
                    }
                    counts
                }))
            }
            How::Pool(method) => {
                builder(method).initializer(no_counts, ()).build().and_then(|pool| {
                    pool.map(count_into_state, &all)?;
                    pool.broadcast(take_counts, ()).into_iter().collect()
                })
            }
        };
    });
    let sum: u64 = counted?.iter().flat_map(HashMap::values).sum();
    assert_eq!(sum as usize, 3 * total);
    Ok(took)
}

pub(crate) fn model(how: How, rounds: usize, batch: usize) -> runtime::Result<f64> {
    let mut numbers = Numbers(3);
    let path = std::env::temp_dir().join(format!("procession-model-{}", std::process::id()));
    let weights = (0..HIDDEN * (PIXELS + CLASSES)).map(|_| numbers.float() - 0.5);
    let bytes: Vec<u8> = weights.flat_map(f64::to_le_bytes).collect();
    std::fs::write(&path, bytes).expect("a temporary file can be written");
    let path = path.to_string_lossy().into_owned();
    let mut outcome = Ok(());
    let took = seconds(|| {
        outcome = match how {
            How::Serial => {
                let model = load(&path, batch).expect("just written");
                (0..rounds * 10).for_each(|_| drop(std::hint::black_box(predictions(&model))));
                Ok(())
            }
            How::Threads => {
                let (model, threads) = (load(&path, batch).expect("just written"), threads());
                (0..rounds).for_each(|_| {
                    let one = |_| predictions(&model);
                    drop(threads.install(|| (0..10).into_par_iter().map(one).collect::<Vec<_>>()));
                });
                Ok(())
            }
            How::Pool(method) => builder(method)
                .initializer(load_model, (path.clone(), batch))
                .build()
                .and_then(|pool| (0..rounds).try_for_each(|_| pool.map(predict, 0..10).map(drop))),
        };
    });
    let _ = std::fs::remove_file(&path);
    outcome.map(|()| took)
}
