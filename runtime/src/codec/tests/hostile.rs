//! Bytes that are not the encoding of a value.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::super::{DEPTH, EMPTY_ELEMENTS, Form};
use super::{Chain, Zoo, bytes_of, try_bytes_of, value_of, zoo};

const HUGE: [u8; 9] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];

#[test]
fn every_truncation_is_an_error() {
    let bytes = bytes_of(&zoo());
    for len in 0..bytes.len() {
        assert!(value_of::<Zoo>(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut bytes = bytes_of(&zoo());
    bytes.push(0);
    let error = value_of::<Zoo>(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "1 bytes are left after the value");
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_allocating() {
    let error = value_of::<String>(&HUGE).unwrap_err();
    assert!(error.to_string().contains("only 1 bytes are left"), "{error}");
    assert!(value_of::<Vec<u8>>(&HUGE).is_err());
    assert!(value_of::<Vec<f64>>(&HUGE).is_err());
    assert!(value_of::<Vec<f64>>(&[0xff; 8]).is_err());
    assert!(value_of::<Vec<String>>(&HUGE).is_err());
    assert!(value_of::<HashMap<u64, u64>>(&HUGE).is_err());
    assert!(value_of::<Vec<(u32, [u64; 32])>>(&HUGE).is_err());
}

#[test]
fn invalid_tags_are_refused() {
    assert!(value_of::<bool>(&[2]).is_err());
    assert!(value_of::<Option<u8>>(&[2, 0]).is_err());
    assert!(value_of::<char>(&[0xff]).is_err());
    assert!(value_of::<char>(&[0xed, 0xa0, 0x80]).is_err());
    assert!(value_of::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err());
    assert!(value_of::<super::Animal>(&[9, 0, 0, 0]).is_err());
    let (unit, newtype) = (Form::UNIT.tag(0).unwrap(), Form::NEWTYPE.tag(0).unwrap());
    assert_eq!(value_of::<super::Animal>(&unit.to_le_bytes()).unwrap(), super::Animal::Ant);
    let error = value_of::<super::Animal>(&newtype.to_le_bytes()).unwrap_err();
    assert!(error.to_string().contains("fields"), "{error}");
    assert!(value_of::<Result<u8, u8>>(&[2, 0, 0, 0, 1]).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "16 million elements")]
fn elements_without_bytes_are_bounded() {
    let few = vec![(); 1000];
    assert_eq!(value_of::<Vec<()>>(&bytes_of(&few)).unwrap(), few);
    // The upper byte is the length of a padding.
    let corrupt = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    let error = value_of::<Vec<()>>(&corrupt).unwrap_err();
    assert!(error.to_string().contains("take no bytes"), "{error}");
    assert!(value_of::<Vec<()>>(&[0xff; 8]).is_err(), "a padding that is not there");
    assert!(value_of::<BTreeMap<(), ()>>(&corrupt).is_err());
    assert!(value_of::<Vec<Vec<()>>>(&[[1, 0, 0, 0, 0, 0, 0, 0], corrupt].concat()).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "a million elements")]
fn elements_without_bytes_but_with_memory_are_bounded_by_their_memory() {
    #[derive(Deserialize)]
    #[serde(from = "()")]
    struct Skipped<const N: usize> {
        _cache: [u64; N],
    }
    impl<const N: usize> From<()> for Skipped<N> {
        fn from((): ()) -> Self {
            Skipped { _cache: [0; N] }
        }
    }
    let taken = value_of::<Vec<Skipped<32>>>(&bytes_of(&[(); 100][..])).unwrap();
    assert_eq!(taken.len(), 100);
    assert!(value_of::<Vec<Skipped<32>>>(&bytes_of(&vec![(); 1 << 20])).is_err());
    // The limit is not a multiple of this size.
    assert!(value_of::<Vec<Skipped<3>>>(&bytes_of(&vec![(); 1 << 20])).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "16 million elements")]
fn encoding_refuses_what_decoding_would() {
    let limit = EMPTY_ELEMENTS as usize;
    assert_eq!(value_of::<Vec<()>>(&bytes_of(&vec![(); limit])).unwrap().len(), limit);
    // The last element is not counted, because none follows that shows that it took no bytes.
    let two_more = (limit as u64 + 2).to_le_bytes();
    assert!(value_of::<Vec<()>>(&two_more).is_err());
    let error = try_bytes_of(&vec![(); limit + 1]).unwrap_err();
    assert!(error.to_string().contains("take no bytes"), "{error}");
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    // Each link is a struct and a `Some`; the last one has no `Some`.
    let links = DEPTH as usize / 2 - 1;
    let deepest = bytes_of(&Chain::of(links));
    assert_eq!(value_of::<Chain>(&deepest).unwrap(), Chain::of(links));

    let error = try_bytes_of(&Chain::of(links + 1)).unwrap_err();
    assert!(error.to_string().contains("512 levels"), "{error}");
    let one_field = Form::record(1);
    let error = value_of::<Chain>(&[one_field, 1].repeat(50_000)).unwrap_err();
    assert!(error.to_string().contains("512 levels"), "{error}");
}

#[test]
fn nesting_without_struct_calls_is_bounded() {
    #[derive(Debug, Deserialize)]
    #[serde(transparent)]
    struct Transparent(#[allow(dead_code, reason = "only decoded")] Option<Box<Transparent>>);
    assert!(value_of::<Transparent>(&[1; 100_000]).is_err());

    #[derive(Debug, Deserialize)]
    #[serde(transparent)]
    struct Tree(#[allow(dead_code, reason = "only decoded")] Vec<Tree>);
    let ones = [1_u8, 0, 0, 0, 0, 0, 0, 0].repeat(10_000);
    assert!(value_of::<Tree>(&ones).is_err());

    #[derive(Debug, Deserialize)]
    enum Endless {
        More(#[allow(dead_code, reason = "only decoded")] Box<Endless>),
    }
    let newtype = Form::NEWTYPE.tag(0).unwrap().to_le_bytes();
    let error = value_of::<Endless>(&newtype.repeat(25_000)).unwrap_err();
    assert!(error.to_string().contains("512 levels"), "{error}");
}

/// A debug build has the largest frames; the stack of a thread is 2 MiB by default.
#[test]
fn the_deepest_value_fits_a_small_stack() {
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(|| {
            let links = DEPTH as usize / 2 - 1;
            value_of::<Chain>(&bytes_of(&Chain::of(links))).unwrap();
            let mut animal = super::Animal::Ant;
            for _ in 0..DEPTH / 2 - 1 {
                animal = super::Animal::Pack(vec![animal]);
            }
            value_of::<super::Animal>(&bytes_of(&animal)).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
}
