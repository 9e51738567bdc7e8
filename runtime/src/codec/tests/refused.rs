//! Types that the format cannot express, and the reasons that are given.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::super::{Sink, encode};
use super::{bytes_of, try_bytes_of, value_of};

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Point { x: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Sparse {
    id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
}

#[test]
fn types_that_ask_the_bytes_are_told_so() {
    let number = bytes_of(&Untagged::Number(1));
    let point = bytes_of(&Tagged::Point { x: 1 });
    for error in [
        value_of::<Untagged>(&number).unwrap_err(),
        value_of::<Tagged>(&point).unwrap_err(),
        value_of::<Flat>(&[1; 64]).unwrap_err(),
        value_of::<IgnoredAny>(&number).unwrap_err(),
    ] {
        assert!(error.to_string().contains("self-describing"), "{error}");
    }
}

#[test]
fn flatten_is_refused_when_encoding() {
    let flat = Flat { rest: [("a".into(), 1)].into() };
    let error = try_bytes_of(&flat).unwrap_err();
    assert!(error.to_string().contains("flatten"), "{error}");
}

#[test]
fn a_field_left_out_is_refused() {
    let all = Sparse { id: 1, note: Some(2) };
    assert_eq!(bytes_of(&all), [4, 1, 1, 2]);
    let error = try_bytes_of(&Sparse { note: None, ..all }).unwrap_err();
    assert!(error.to_string().contains("`note`"), "{error}");
}

/// Fields that are left out on one side only: the value is written with one field less than it is read
/// with, or with one more. Enough bytes follow that a reader without a check would not notice.
mod one_sided {
    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Named {
        pub(super) a: u8,
        #[serde(skip_serializing)]
        #[allow(dead_code, reason = "only decoded")]
        pub(super) b: u8,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Read {
        pub(super) a: u8,
        #[serde(skip_deserializing)]
        pub(super) b: u8,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Unnamed(
        pub(super) u8,
        #[serde(skip_serializing_if = "Option::is_none")] pub(super) Option<u8>,
    );

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) enum Event {
        Unit(#[serde(skip_serializing)] u8),
        Tuple(u8, #[serde(skip_serializing)] u8, u8),
        Struct {
            a: u8,
            #[serde(skip_serializing)]
            b: u8,
        },
    }

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(super) struct Both {
        pub(super) a: u8,
        #[serde(skip)]
        pub(super) b: u8,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum BothEvent {
        Unit(#[serde(skip)] u8),
        Tuple(u8, #[serde(skip)] u8, u8),
        Struct {
            a: u8,
            #[serde(skip)]
            b: u8,
        },
    }
}

#[track_caller]
fn assert_one_sided<T>(value: T, name: &str)
where
    T: Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let bytes = bytes_of(&(&value, [9_u8; 8]));
    let error = value_of::<(T, [u8; 8])>(&bytes).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("serde(skip)"), "{error}");
}

#[test]
fn a_field_left_out_on_one_side_is_refused() {
    use one_sided::{Event, Named, Read, Unnamed};
    assert_one_sided(
        Named { a: 1, b: 2 },
        "`Named` was written with 1 fields and is read with 2 (`a`, `b`)",
    );
    assert_one_sided(vec![Named { a: 1, b: 2 }], "`Named`");
    assert_one_sided(
        Read { a: 1, b: 2 },
        "`Read` was written with 2 fields and is read with 1 (`a`)",
    );
    assert_one_sided(Unnamed(1, None), "`Unnamed`");
    assert_one_sided(Event::Unit(1), "`Event::Unit` was written with 0 fields and is read with 1");
    assert_one_sided(Event::Tuple(1, 2, 3), "`Event::Tuple`");
    assert_one_sided(Event::Struct { a: 1, b: 2 }, "`Event::Struct`");
}

#[test]
fn a_field_left_out_on_both_sides_is_not() {
    use one_sided::{Both, BothEvent, Unnamed};
    let all = vec![Both { a: 1, b: 2 }; 3];
    assert_eq!(value_of::<Vec<Both>>(&bytes_of(&all)).unwrap(), vec![Both { a: 1, b: 0 }; 3]);
    let events =
        vec![BothEvent::Unit(1), BothEvent::Tuple(1, 2, 3), BothEvent::Struct { a: 1, b: 2 }];
    let back =
        vec![BothEvent::Unit(0), BothEvent::Tuple(1, 0, 3), BothEvent::Struct { a: 1, b: 0 }];
    assert_eq!(value_of::<Vec<BothEvent>>(&bytes_of(&events)).unwrap(), back);
    let Unnamed(a, b) = value_of(&bytes_of(&Unnamed(1, Some(2)))).unwrap();
    assert_eq!((a, b), (1, Some(2)));
}

/// An alias is one of the names that the type reads, but no value is written for it.
mod aliased {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(super) struct Named {
        #[serde(alias = "first", alias = "one")]
        pub(super) a: u8,
        #[serde(skip)]
        pub(super) hidden: u8,
        #[serde(rename = "second", alias = "b")]
        pub(super) b: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Event {
        #[serde(alias = "start")]
        Begin,
        End {
            #[serde(alias = "exit")]
            code: u8,
            at: u16,
        },
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Written {
        #[serde(alias = "first")]
        pub(super) a: u8,
        #[serde(skip_serializing)]
        #[allow(dead_code, reason = "only decoded")]
        pub(super) b: u8,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Read {
        #[serde(alias = "first")]
        pub(super) a: u8,
        #[serde(skip_deserializing)]
        pub(super) b: u8,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) enum OneSided {
        Struct {
            #[serde(alias = "first", alias = "one")]
            a: u8,
            #[serde(skip_deserializing)]
            b: u8,
        },
    }
}

#[test]
fn a_field_may_have_aliases() {
    use aliased::{Event, Named};
    let all = vec![Named { a: 1, hidden: 0, b: vec![2, 3] }; 3];
    super::assert_round_trip(&(all, 7_u8));
    super::assert_round_trip(&[Event::Begin, Event::End { code: 1, at: 2 }, Event::Begin]);
}

#[test]
fn a_field_left_out_beside_an_alias_is_refused() {
    use aliased::{OneSided, Read, Written};
    assert_one_sided(Written { a: 1, b: 2 }, "`Written` was written with 1 fields");
    assert_one_sided(Read { a: 1, b: 2 }, "`Read` was written with 2 fields");
    assert_one_sided(OneSided::Struct { a: 1, b: 2 }, "`OneSided::Struct` was written with 2");
}

#[test]
fn what_the_standard_library_has_reads_what_it_writes() {
    use std::net::{IpAddr, SocketAddr};
    use std::ops::Bound;
    use std::time::{Duration, SystemTime};
    super::assert_round_trip(&(Duration::new(7, 8), SystemTime::UNIX_EPOCH, 1..3, 4..=5));
    super::assert_round_trip(&(Bound::<u8>::Unbounded, Bound::Included(1), Bound::Excluded(2)));
    super::assert_round_trip(&["1.2.3.4", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    super::assert_round_trip(&["1.2.3.4:5", "[::1]:6"].map(|at| at.parse::<SocketAddr>().unwrap()));
    super::assert_round_trip(&std::ffi::OsString::from("os"));
    super::assert_round_trip(&(std::num::Wrapping(1), std::cmp::Reverse(2), ..3, Ok::<u8, u8>(1)));
}

/// A type that writes a part of itself and then fails or panics.
struct Broken {
    panics: bool,
}

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        assert!(!self.panics, "broken");
        Err(S::Error::custom("broken"))
    }
}

#[test]
fn nothing_stays_of_a_value_that_fails() {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    encode(&7_u8, &mut sink).unwrap();
    let long = vec![1_u64; 1000];
    let error = encode(&(&long, Broken { panics: false }), &mut sink).unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_eq!(sink.bytes(), [7]);

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        encode(&(&long, &long, Broken { panics: true }), &mut sink)
    }));
    assert!(panicked.is_err());
    encode(&8_u8, &mut sink).unwrap();
    assert_eq!(sink.finish(), 2);
    assert_eq!(bytes, [7, 8]);
}

#[test]
fn an_error_names_what_was_found() {
    fn error<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> String {
        value_of::<T>(bytes).err().unwrap().to_string()
    }
    assert_eq!(error::<u64>(&[0; 5]), "the bytes end early, at least 3 are missing");
    assert_eq!(error::<bool>(&[2]), "a bool is 0 or 1, not 2");
    assert!(error::<char>(&[0xff]).starts_with("no char starts with the bytes [255"));
    assert_eq!(error::<Option<u8>>(&[3]), "an option starts with 0 or 1, not 3");
    let more = [2, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    let text = "the bytes announce 1 elements more than the type reads";
    assert_eq!(error::<First>(&more), text);
}

/// Reads only the first element of a sequence.
struct First;

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstOf;
        impl<'de> serde::de::Visitor<'de> for FirstOf {
            type Value = First;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<First, A::Error> {
                seq.next_element::<u8>().map(|_| First)
            }
        }
        deserializer.deserialize_seq(FirstOf)
    }
}

/// A value whose implementation of `Serialize` or `Display` fails, or with too many variants.
enum Failing {
    WithoutText,
    Shown,
    FarVariant,
}

impl std::fmt::Display for Failing {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Failing::WithoutText => Err(S::Error::custom("")),
            Failing::Shown => serializer.collect_str(self),
            Failing::FarVariant => serializer.serialize_unit_variant("Far", 1 << 24, "Variant"),
        }
    }
}

#[test]
fn a_failing_value_gives_its_reason() {
    let reason = |value| try_bytes_of(&value).unwrap_err().to_string();
    assert_eq!(reason(Failing::WithoutText), "an error without a text");
    assert_eq!(reason(Failing::Shown), "a `Display` implementation returned an error");
    assert!(reason(Failing::FarVariant).contains("more than 16 million variants"));
}
