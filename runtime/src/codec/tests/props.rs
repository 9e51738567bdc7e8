//! The same guarantees for random values and bytes.
#![cfg(not(miri))]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Source, decode};
use super::{Animal, Chain, Weights, Zoo, assert_round_trip, bytes_of, plain_bytes_of, value_of};

fn animals() -> impl Strategy<Value = Animal> {
    let number = -1e9_f32..1e9;
    let leaf = prop_oneof![
        Just(Animal::Ant),
        vec(number.clone(), 0..9).prop_map(|weights| Animal::Bee(Weights(weights))),
        (any::<i8>(), vec(any::<isize>(), 0..9)).prop_map(|(a, b)| Animal::Cat(a, b)),
        (any::<u16>(), vec((any::<usize>(), number), 0..9))
            .prop_map(|(age, path)| Animal::Dog { age, path }),
    ];
    leaf.prop_recursive(4, 32, 5, |animal| vec(animal, 0..5).prop_map(Animal::Pack))
}

fn zoos() -> impl Strategy<Value = Zoo> {
    let scalars = (
        any::<u64>(),
        any::<String>(),
        any::<bool>(),
        any::<char>(),
        any::<(i128, u128)>(),
        any::<[u32; 3]>(),
    );
    let plain = (
        vec(-1e300..1e300_f64, 0..40),
        option::of(vec(any::<u32>(), 0..9)),
        vec(any::<i16>(), 0..9),
        vec(any::<u8>(), 0..40),
    );
    let nested = (
        vec(animals(), 0..5),
        btree_map(any::<String>(), option::of(animals().prop_map(Box::new)), 0..4),
        hash_map(any::<u16>(), vec(-1.0..1.0_f32, 0..5), 0..4),
    );
    (scalars, plain, nested).prop_map(|(scalars, plain, nested)| Zoo {
        id: scalars.0,
        name: scalars.1,
        flag: scalars.2,
        letter: scalars.3,
        wide: scalars.4,
        fixed: scalars.5,
        samples: plain.0,
        maybe: plain.1,
        shared: plain.2.into(),
        boxed: plain.3.into(),
        animals: nested.0,
        map: nested.1,
        lookup: nested.2,
        nothing: (),
        cache: 0,
    })
}

/// Decoding must not panic, and a decoded value must encode to bytes that decode again.
fn survive<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let mut source = Source::new(bytes);
    let value = decode::<T>(&mut source).ok()?;
    let again = bytes_of(&value);
    value_of::<T>(&again).unwrap();
    Some(value)
}

/// Arbitrary bytes. Half of them begin with a plausible count.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (0_u64..400, vec(0..4_u8, 0..300)).prop_map(|(count, rest)| [
            &count.to_le_bytes()[..],
            &rest
        ]
        .concat()),
    ]
}

proptest! {
    #[test]
    fn zoos_round_trip(zoo in zoos()) {
        assert_round_trip(&zoo);
    }

    #[test]
    fn floats_keep_their_bits(bits in vec(any::<u64>(), 0..50)) {
        let floats: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
        let bytes = bytes_of(&(1_u8, &floats));
        prop_assert_eq!(&bytes, &plain_bytes_of(&(1_u8, &floats)));
        let (_, back): (u8, Vec<f64>) = value_of(&bytes).unwrap();
        prop_assert_eq!(back.into_iter().map(f64::to_bits).collect::<Vec<_>>(), bits);
    }

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(bytes in noise()) {
        survive::<Zoo>(&bytes);
        survive::<Animal>(&bytes);
        survive::<Chain>(&bytes);
        survive::<(bool, char, Option<u8>)>(&bytes);
        survive::<BTreeMap<String, Vec<Option<String>>>>(&bytes);
        survive::<Result<Vec<(u8, char)>, String>>(&bytes);
        let room = bytes.len();
        if let Some(values) = survive::<Vec<u8>>(&bytes) { prop_assert!(values.capacity() <= room) }
        if let Some(values) = survive::<Vec<f64>>(&bytes) { prop_assert!(values.capacity() * 8 <= room) }
        if let Some(text) = survive::<String>(&bytes) { prop_assert!(text.capacity() <= room) }
        if let Some(values) = survive::<Vec<bool>>(&bytes) { prop_assert!(values.capacity() <= room) }
        if let Some(lists) = survive::<Vec<Vec<u16>>>(&bytes) {
            prop_assert!(lists.capacity() <= room && lists.iter().all(|list| list.capacity() * 2 <= room));
        }
    }

    #[test]
    fn a_changed_byte_ends_in_a_value_or_an_error(zoo in zoos(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = bytes_of(&zoo);
        let at = at.index(bytes.len());
        bytes[at] = to;
        survive::<Zoo>(&bytes);
    }

    #[test]
    fn a_truncation_is_an_error(zoo in zoos(), at in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&zoo);
        prop_assert!(value_of::<Zoo>(&bytes[..at.index(bytes.len())]).is_err());
    }
}
