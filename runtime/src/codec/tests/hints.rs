//! The number of elements or fields that a visitor is told in advance, and the stored counts of fields.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::Form;
use super::{bytes_of, value_of};

/// Reads a sequence, map, tuple or struct of `u8`, and returns what it was told before each one.
struct Hints;

impl<'de> Visitor<'de> for Hints {
    type Value = Vec<Option<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut hints = vec![seq.size_hint()];
        while hints.last() != Some(&Some(0)) && seq.next_element::<u8>()?.is_some() {
            hints.push(seq.size_hint());
        }
        Ok(hints)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut hints = vec![map.size_hint()];
        while map.next_entry::<u8, u8>()?.is_some() {
            hints.push(map.size_hint());
        }
        Ok(hints)
    }
}

macro_rules! hinted {
    ($($name:ident: $method:ident($($argument:expr),*),)*) => {$(
        struct $name(Vec<Option<usize>>);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.$method($($argument,)* Hints).map($name)
            }
        }
    )*};
}

hinted! {
    Sequence: deserialize_seq(),
    Map: deserialize_map(),
    Tuple: deserialize_tuple(3),
    Struct: deserialize_struct("Struct", &["a", "b", "c"]),
    Aliased: deserialize_struct("Aliased", &["a", "b", "c", "alias"]),
}

#[test]
fn a_visitor_is_told_how_many_values_are_left() {
    let left = [Some(3), Some(2), Some(1), Some(0)];
    assert_eq!(value_of::<Tuple>(&[1, 2, 3]).unwrap().0, left);
    let fields = [Form::record(3), 1, 2, 3];
    assert_eq!(value_of::<Struct>(&fields).unwrap().0, left);
    assert_eq!(value_of::<Aliased>(&fields).unwrap().0, left);
    assert_eq!(value_of::<Sequence>(&bytes_of(&[1_u8, 2, 3][..])).unwrap().0, left);
    let map: std::collections::BTreeMap<u8, u8> = [(1, 2), (3, 4), (5, 6)].into();
    assert_eq!(value_of::<Map>(&bytes_of(&map)).unwrap().0, left);
}

#[test]
fn a_visitor_is_not_told_more_elements_than_there_are_bytes() {
    let corrupt = [[200, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat();
    let told = |error: super::DecodeError| error.to_string();
    assert!(told(value_of::<Strict>(&corrupt).err().unwrap()).contains("told 8"));
    assert!(told(value_of::<StrictMap>(&corrupt).err().unwrap()).contains("told 8"));
}

/// Fails with the number of elements that it was told.
struct Told;

impl<'de> Visitor<'de> for Told {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Err(serde::de::Error::custom(format_args!("told {}", seq.size_hint().unwrap_or(0))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Err(serde::de::Error::custom(format_args!("told {}", map.size_hint().unwrap_or(0))))
    }
}

struct Strict;
struct StrictMap;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Told).map(|()| Strict)
    }
}

impl<'de> Deserialize<'de> for StrictMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Told).map(|()| StrictMap)
    }
}

#[test]
fn counts_of_fields_are_kept_modulo_254() {
    for count in 0..600 {
        let form = Form::fields(count);
        assert_eq!(form.count(), count % 254);
        assert_eq!(Form::of_record(Form::record(count)), form);
        assert_eq!(form.count_among(count), Some(count));
        // Up to 253 of the names may be aliases.
        for aliases in [1, 2, 253] {
            assert_eq!(form.count_among(count + aliases), Some(count), "{aliases} aliases");
        }
    }
    assert_eq!(Form::fields(3).count_among(2), None);
    assert_eq!((Form::UNIT.count(), Form::NEWTYPE.count()), (0, 1));
    assert_eq!((Form::UNIT.count_among(5), Form::NEWTYPE.count_among(5)), (None, None));
}

#[test]
fn a_tag_has_the_index_of_a_variant_and_its_form() {
    for form in [Form::UNIT, Form::NEWTYPE, Form::fields(0), Form::fields(253)] {
        for index in [0, 1, 0x12_3456, 0xff_ffff] {
            assert_eq!(Form::of_tag(form.tag(index).unwrap()), (index, form));
        }
        assert_eq!(form.tag(0x100_0000), None);
    }
}
