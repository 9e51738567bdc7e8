//! What every fuzz target checks: any bytes end in a value or an error, and a value comes back as
//! it was.

use std::collections::{BTreeMap, HashMap};

use runtime::__fuzz::{self, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Uses every kind that serde knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Zoo {
    pub id: u64,
    pub name: String,
    pub flag: bool,
    pub letter: char,
    pub samples: Vec<f64>,
    pub wide: (i128, u128),
    pub maybe: Option<Vec<u32>>,
    pub animals: Vec<Animal>,
    pub map: BTreeMap<String, Option<Box<Animal>>>,
    pub lookup: HashMap<u16, Vec<f32>>,
    pub fixed: [u32; 3],
    pub units: Vec<()>,
}

/// Recursive, with every kind of variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Animal {
    Ant,
    Bee(Weights),
    Cat(i8, Vec<isize>),
    Dog { age: u16, path: Vec<(usize, f32)> },
    Pack(Vec<Animal>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Weights(pub Vec<f32>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Chain {
    pub next: Option<Box<Chain>>,
}

/// Decodes structs, enums, maps and recursive types.
pub fn structured(bytes: &[u8]) {
    survive::<Zoo>(bytes);
    survive::<Animal>(bytes);
    survive::<BTreeMap<String, Vec<Option<String>>>>(bytes);
    exact::<Chain>(bytes);
    exact::<Result<Vec<(u8, char)>, String>>(bytes);
    exact::<Vec<Animal>>(bytes);
}

/// Decodes scalars, strings and vectors of numbers.
pub fn plain(bytes: &[u8]) {
    exact::<(bool, char, Option<u8>)>(bytes);
    exact::<(u64, f64, i128, usize)>(bytes);
    let room = bytes.len();
    let fits =
        |capacity: usize, size: usize| assert!(capacity * size <= room, "{capacity} of {size}");
    exact::<String>(bytes).inspect(|text| fits(text.capacity(), 1));
    exact::<Vec<u8>>(bytes).inspect(|values| fits(values.capacity(), 1));
    exact::<Vec<f64>>(bytes).inspect(|values| fits(values.capacity(), 8));
    exact::<Vec<u128>>(bytes).inspect(|values| fits(values.capacity(), 16));
    exact::<Vec<bool>>(bytes).inspect(|values| fits(values.capacity(), 1));
    if let Some(lists) = exact::<Vec<Vec<u16>>>(bytes) {
        lists.iter().for_each(|list| fits(list.capacity(), 2));
    }
}

/// Judges first messages of workers: all but a hello of this very program is refused.
pub fn handshake(bytes: &[u8]) {
    if __fuzz::first_message(bytes).is_ok() {
        let hello = __fuzz::hello();
        assert_eq!(bytes[..12], hello[..12]);
        assert_eq!(bytes[16..], hello[16..]);
        assert_ne!(bytes[12..16], [0; 4]);
    }
}

/// Reads messages between callers and servers: what is understood is written the same way
/// again, but for texts, which are cut and made valid.
pub fn frames(bytes: &[u8]) {
    if let Some(written) = __fuzz::frame(bytes) {
        let again = __fuzz::frame(&written).expect("what was written is read");
        assert_eq!(written, again);
        assert_eq!(written[0], bytes[0]);
        assert!(bytes.len() > 600 || written.len() <= 3 * bytes.len());
    }
}

/// Reads rings of workers that write what they like.
pub fn rings(bytes: &[u8]) {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut words: Vec<u64> = bytes.chunks_exact(8).map(word).collect();
    if words.len() < 3 {
        return;
    }
    let (at, produced) = (words.remove(0), words.remove(0));
    // A power of two, as all rings.
    words.resize(words.len().next_power_of_two(), 0);
    // Any end, and one that is possible.
    __fuzz::ring(&words, at, produced);
    __fuzz::ring(&words, at, at.wrapping_add(produced % (words.len() as u64 + 1)));
}

/// Reads what workers say of failures and leave of panics.
pub fn failures(bytes: &[u8]) {
    let text = __fuzz::failure(bytes);
    assert!(text.len() < 10_000 + 40 * bytes.len());
}

/// Messages to start from.
pub fn messages() -> Vec<Vec<u8>> {
    let ring = [0_u64, 6, 1 << 56 | 8, 1, 2 << 56 | 3, 7, 6 << 56 | 8, 99, 0, 0];
    let ring = ring.iter().flat_map(|word| word.to_le_bytes()).collect();
    let order = [&[3][..], &[9; 8], &[2, 1, 1, 0, 1, 0]].concat();
    let refused = [&[6, 1][..], b"it has threads"].concat();
    let not_started = [&[8][..], &[1; 8], b"no memory"].concat();
    let exited = [&[9][..], &[7, 0, 0, 0, 1, 9, 0, 0, 0]].concat();
    let sorry = b"PROCSORYno such directory".to_vec();
    vec![__fuzz::hello(), sorry, order, refused, not_started, exited, ring, __fuzz::some_failure()]
}

/// A value of which there is one encoding only: it must be the bytes it was read from.
fn exact<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, taken) = decode::<T>(bytes).ok()?;
    assert_eq!(encoded(&value), bytes[..taken]);
    Some(value)
}

/// A value with maps, whose keys may have come twice and in any order: it must encode and decode
/// again.
fn survive<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok((value, _)) = decode::<T>(bytes) {
        let again = encoded(&value);
        let (_, taken) = decode::<T>(&again).expect("what was encoded decodes");
        assert_eq!(taken, again.len());
    }
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).expect("what was decoded encodes");
    bytes
}

/// Encoded values to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let pack = Animal::Pack(vec![
        Animal::Ant,
        Animal::Bee(Weights(vec![1.5, 2.5])),
        Animal::Cat(-1, vec![isize::MIN, 3]),
        Animal::Dog {
            age: 4,
            path: vec![(1, 0.5), (2, 1.5)],
        },
        Animal::Pack(vec![Animal::Ant; 3]),
    ]);
    let zoo = Zoo {
        id: 7,
        name: "Löwe".into(),
        letter: 'ß',
        samples: vec![0.5; 9],
        maybe: Some(vec![1, 2, 3]),
        animals: vec![pack.clone(), Animal::Ant],
        map: [
            ("a".into(), None),
            ("b".into(), Some(Box::new(pack.clone()))),
        ]
        .into(),
        lookup: [(9, vec![1.0, 2.0])].into(),
        units: vec![(); 5],
        ..Zoo::default()
    };
    let chain = (0..9).fold(Chain::default(), |next, _| Chain {
        next: Some(Box::new(next)),
    });
    vec![
        encoded(&zoo),
        encoded(&pack),
        encoded(&vec![pack; 2]),
        encoded(&chain),
        encoded(&"some text, ßßß"),
        encoded(&vec![1.5_f64; 12]),
        encoded(&vec![vec![1_u16, 2], vec![], vec![3]]),
        encoded(&Ok::<_, String>(vec![(1_u8, 'x'), (2, '水')])),
        encoded(&(true, 'x', Some(3_u8))),
        encoded(&vec![true, false]),
    ]
}
