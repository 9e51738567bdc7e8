//! The guarantees of the codec, for many different types.

mod borrowed;
mod format;
mod hints;
mod hostile;
mod memory;
mod props;
mod refused;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bincode::config::{Configuration, Fixint, LittleEndian, legacy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DecodeError, EncodeError, Sink, Source, decode, encode};

const PLAIN_BINCODE: Configuration<LittleEndian, Fixint> = legacy();

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Zoo {
    id: u64,
    name: String,
    flag: bool,
    letter: char,
    samples: Vec<f64>,
    wide: (i128, u128),
    maybe: Option<Vec<u32>>,
    shared: Cow<'static, [i16]>,
    boxed: Box<[u8]>,
    animals: Vec<Animal>,
    map: BTreeMap<String, Option<Box<Animal>>>,
    lookup: HashMap<u16, Vec<f32>>,
    fixed: [u32; 3],
    nothing: (),
    #[serde(skip)]
    cache: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Animal {
    Ant,
    Bee(Weights),
    Cat(i8, Vec<isize>),
    Dog { age: u16, path: Vec<(usize, f32)> },
    Pack(Vec<Animal>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Weights(Vec<f32>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Chain {
    next: Option<Box<Chain>>,
}

impl Chain {
    pub(super) fn of(links: usize) -> Self {
        (0..links).fold(Chain::default(), |next, _| Chain { next: Some(Box::new(next)) })
    }
}

pub(super) fn zoo() -> Zoo {
    Zoo {
        id: u64::MAX,
        name: "Löwe".into(),
        flag: true,
        letter: 'ß',
        samples: vec![0.5, -0.0, f64::INFINITY],
        wide: (i128::MIN, u128::MAX),
        maybe: Some(vec![1, 2, 3]),
        shared: Cow::Borrowed(&[-1, 1]),
        boxed: Box::new([7; 5]),
        animals: vec![
            Animal::Ant,
            Animal::Bee(Weights(vec![1.5])),
            Animal::Cat(-1, vec![isize::MIN, 0]),
            Animal::Dog { age: 3, path: vec![(1, 1.0), (2, 2.0)] },
            Animal::Pack(vec![Animal::Ant; 3]),
        ],
        map: [("a".into(), None), ("b".into(), Some(Box::new(Animal::Ant)))].into(),
        lookup: [(9, vec![1.0, 2.0])].into(),
        fixed: [1, 2, 3],
        nothing: (),
        cache: 0,
    }
}

pub(super) fn bytes_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    try_bytes_of(value).unwrap()
}

pub(super) fn try_bytes_of<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode(value, &mut Sink::over(&mut bytes))?;
    Ok(bytes)
}

/// Decodes all of `bytes`.
pub(super) fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut source = Source::new(bytes);
    let value = decode(&mut source)?;
    source.finish()?;
    Ok(value)
}

/// Returns the encoding of the value by bincode.
pub(super) fn plain_bytes_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, PLAIN_BINCODE).unwrap()
}

/// Checks that the value decodes to the same value.
pub(super) fn assert_round_trip<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(&value_of::<T>(&bytes_of(value)).unwrap(), value);
}

/// Checks that the value is encoded as by bincode, which has no counts of fields, and decodes to the
/// same value.
pub(super) fn assert_plain<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(bytes_of(value), plain_bytes_of(value));
    assert_round_trip(value);
}
