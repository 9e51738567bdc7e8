//! The throughput of round trips of long inputs and outputs.

use std::hint::black_box;

use runtime::Result;

use crate::measure::{Case, Plan, Table, interleave, rate, ratio, seconds};
use crate::tasks::{bytes, floats};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SIZES: [usize; 9] =
    [64, KIB, 16 * KIB, 256 * KIB, MIB, 8 * MIB, 64 * MIB, 128 * MIB, 256 * MIB];

fn size(bytes: usize) -> String {
    match bytes {
        b if b < KIB => format!("{b} B"),
        b if b < MIB => format!("{} KiB", b / KIB),
        b => format!("{} MiB", b / MIB),
    }
}

/// Seconds of one call, of a few; inputs are made before.
fn through<T: Clone>(data: &T, calls: usize, mut call: impl FnMut(T)) -> f64 {
    let inputs = vec![data.clone(); calls];
    seconds(|| inputs.into_iter().for_each(&mut call)) / calls as f64
}

/// Encoding and decoding both ways without leaving this thread.
#[cfg(feature = "fuzzing")]
fn codec<T: serde::Serialize + serde::de::DeserializeOwned>(
    data: T,
    calls: usize,
) -> impl FnMut() -> f64 {
    use runtime::__fuzz::{decode, encode};
    let mut kept = Vec::new();
    move || {
        let mut both = || {
            kept.clear();
            encode(&data, &mut kept).expect("encoded");
            let there: T = decode(&kept).expect("decoded").0;
            kept.clear();
            encode(&there, &mut kept).expect("encoded");
            black_box(decode::<T>(&kept).expect("decoded"));
        };
        seconds(|| (0..calls).for_each(|_| both())) / calls as f64
    }
}

/// The same by hand, as the codec is not open: four copies, two of them to new memory.
#[cfg(not(feature = "fuzzing"))]
fn codec<T: Clone>(data: T, calls: usize) -> impl FnMut() -> f64 {
    let mut kept = data.clone();
    move || {
        let mut both = || {
            kept.clone_from(black_box(&data));
            let there = black_box(&kept).clone();
            kept.clone_from(black_box(&there));
            drop(black_box(black_box(&kept).clone()));
        };
        seconds(|| (0..calls).for_each(|_| both())) / calls as f64
    }
}

/// A copy to a kept buffer, one to new memory, the codec, and the pool; all but the codec take
/// inputs that were made just before.
fn cases<'a, T: Copy + 'static>(
    data: &'a Vec<T>,
    calls: usize,
    codec: Case<'a>,
    mut apply: impl FnMut(Vec<T>) + 'a,
) -> Vec<Case<'a>> {
    let mut kept = data.clone();
    let to_kept = move |input: Vec<T>| black_box(&mut kept).copy_from_slice(black_box(&input));
    let mut to_kept = Box::new(to_kept);
    vec![
        // There and back is two of them.
        Box::new(move || 2.0 * through(data, calls, &mut to_kept)),
        Box::new(move || 2.0 * through(data, calls, |input| drop(black_box(input.clone())))),
        codec,
        Box::new(move || through(data, calls, &mut apply)),
    ]
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let pool = crate::pool(2)?;
    let mut table = Table::new(&[
        "there and back",
        "GiB/s",
        "of a copy",
        "of a copy to new memory",
        "of the codec",
    ]);
    let most = plan.pick(8 * MIB, 256 * MIB);
    for len in SIZES.into_iter().filter(|len| *len <= most) {
        let calls = (40 * MIB / len).clamp(1, 500);
        let (some, numbers) = (vec![7_u8; len], vec![0.5_f64; len / 8]);
        let kinds = [
            ("bytes", {
                let apply = |input| drop(pool.apply(bytes, input).expect("bytes"));
                let codec = Box::new(codec(some.clone(), calls));
                interleave(plan.rounds, cases(&some, calls, codec, apply))
            }),
            ("f64", {
                let apply = |input| drop(pool.apply(floats, input).expect("floats"));
                let codec = Box::new(codec(numbers.clone(), calls));
                interleave(plan.rounds, cases(&numbers, calls, codec, apply))
            }),
        ];
        for (kind, samples) in kinds {
            // Times, so the ratio of speeds is the other way round.
            let of = |base| ratio(samples.ratio(base, 3));
            let speed = rate(2.0 * len as f64, samples.median(3));
            table.row([format!("{} of {kind}", size(len)), speed, of(0), of(1), of(2)]);
        }
    }
    let codec = match cfg!(feature = "fuzzing") {
        true => "encode + decode both ways in one thread",
        false => "stood for by four copies in one thread, two to new memory",
    };
    table.print("payload", &format!("one call at a time, 2 workers; the codec: {codec}"));
    Ok(())
}
