//! The bytes are those of bincode, except for counts of fields, and decode to the same value.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Animal, Weights, assert_plain, assert_round_trip};
use super::{bytes_of, plain_bytes_of, value_of, zoo};

#[test]
fn the_zoo_round_trips() {
    assert_round_trip(&zoo());
    assert_round_trip(&vec![zoo(), zoo()]);
}

#[test]
fn structs_and_variants_have_the_counts_of_their_fields() {
    #[derive(Serialize)]
    struct Pair {
        a: u8,
        b: u8,
    }
    #[derive(Serialize)]
    struct Two(u8, u8);
    #[derive(Serialize)]
    struct One(u8);
    assert_eq!(bytes_of(&Pair { a: 7, b: 8 }), [4, 7, 8]);
    assert_eq!(bytes_of(&Two(7, 8)), [4, 7, 8]);
    assert_eq!(bytes_of(&One(7)), [7]);
    assert_eq!(bytes_of(&Animal::Ant), [0, 0, 0, 0]);
    assert_eq!(bytes_of(&Animal::Bee(Weights(vec![]))), [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes_of(&Animal::Cat(7, vec![]))[..5], [2, 0, 0, 4, 7]);
    assert_eq!(bytes_of(&Animal::Dog { age: 7, path: vec![] })[..5], [3, 0, 0, 4, 7]);
}

#[test]
fn scalars_round_trip() {
    assert_plain(&u64::MAX);
    assert_plain(&i128::MIN);
    assert_plain(&usize::MAX);
    assert_plain(&());
    assert_plain(&['a', 'ß', '水', '🦀']);
    assert_plain(&(true, false, 1.5_f32, Some(Some(3_u8)), None::<u8>));
}

#[test]
fn every_plain_number_round_trips_in_bulk() {
    macro_rules! check {
        ($($number:ty)*) => {$(
            assert_plain(&(0..5).map(|x| x as $number).collect::<Vec<_>>());
            assert_plain(&Vec::<$number>::new());
            assert_plain(&(1_u8, Some(vec![<$number>::MAX, <$number>::MIN]), 2_u8));
        )*};
    }
    check! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64 }
}

#[test]
fn every_owner_of_a_slice_has_the_same_bytes() {
    let vec = vec![1.0_f64, f64::NAN];
    let expected = plain_bytes_of(&vec);
    assert_eq!(bytes_of(&vec), expected);
    assert_eq!(bytes_of(&vec[..]), expected);
    assert_eq!(bytes_of(&&vec[..]), expected);
    assert_eq!(bytes_of(&Cow::Borrowed(&vec[..])), expected);
    assert_eq!(bytes_of(&VecDeque::from(vec.clone())), expected);
    assert_eq!(bytes_of(&vec.clone().into_boxed_slice()), expected);

    let ints: Vec<u16> = vec![1, 2, 3];
    let bytes = bytes_of(&ints);
    assert_eq!(value_of::<Box<[u16]>>(&bytes).unwrap()[..], ints);
    assert_eq!(value_of::<Cow<'_, [u16]>>(&bytes).unwrap()[..], ints);
    assert_eq!(value_of::<VecDeque<u16>>(&bytes).unwrap(), ints);
}

#[test]
fn borrowed_values_decode_as_owned_ones() {
    assert_eq!(value_of::<String>(&bytes_of("ab")).unwrap(), "ab");
    assert_eq!(value_of::<Vec<f64>>(&bytes_of(&[1.0, 2.0][..])).unwrap(), [1.0, 2.0]);
    let (text, number): (String, u32) = value_of(&bytes_of(&("ab", 7_u32))).unwrap();
    assert_eq!((text.as_str(), number), ("ab", 7));
    let (a, b): (Vec<u8>, Vec<String>) =
        value_of(&bytes_of(&(&b"ab"[..], &["x", "y"][..]))).unwrap();
    assert_eq!((&a[..], &b[..]), (&b"ab"[..], &["x".into(), "y".into()][..]));
}

#[test]
fn newtypes_and_nan_bits_keep() {
    let odd = f32::from_bits(0x7fc0_1234);
    let Weights(back) = value_of(&bytes_of(&Weights(vec![odd]))).unwrap();
    assert_eq!(back[0].to_bits(), odd.to_bits());
}

/// A sequence that does not know its length, and claims a wrong one if requested.
struct Odd(Option<usize>);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(self.0)?;
        [1_u8, 3, 5].iter().try_for_each(|odd| seq.serialize_element(odd))?;
        seq.end()
    }
}

#[test]
fn lengths_are_those_of_what_was_written() {
    for claimed in [None, Some(0), Some(3), Some(9)] {
        let bytes = bytes_of(&(7_u8, Odd(claimed), 9_u8));
        assert_eq!(value_of::<(u8, Vec<u8>, u8)>(&bytes).unwrap(), (7, vec![1, 3, 5], 9));
    }
}

/// A type that serializes by its `Display`, like addresses and dates.
struct Shown(u32);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("<{}>", self.0))
    }
}

#[test]
fn shown_values_are_strings() {
    let bytes = bytes_of(&[Shown(12), Shown(3)]);
    assert_eq!(bytes, plain_bytes_of(&["<12>", "<3>"]));
}

/// A type that reads a `Vec<u8>`, but not in the way of `Vec<u8>`.
#[derive(Debug, PartialEq)]
struct Doubled(Vec<u8>);

impl<'de> Deserialize<'de> for Doubled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Doubling;
        impl<'de> Visitor<'de> for Doubling {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut doubled = Vec::new();
                while let Some(x) = seq.next_element::<u8>()? {
                    doubled.push(2 * x);
                }
                Ok(doubled)
            }
        }
        deserializer.deserialize_seq(Doubling).map(Doubled)
    }
}

#[test]
fn a_visitor_of_its_own_is_called() {
    assert_eq!(value_of::<Doubled>(&bytes_of(&[1_u8, 2][..])).unwrap(), Doubled(vec![2, 4]));
}
