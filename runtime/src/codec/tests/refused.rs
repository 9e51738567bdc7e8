//! Types that this format cannot carry, and the reason that is given.

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
    assert_eq!(bytes_of(&all), [1, 1, 2]);
    let error = try_bytes_of(&Sparse { note: None, ..all }).unwrap_err();
    assert!(error.to_string().contains("`note`"), "{error}");
}

/// Writes a part of itself and then fails or panics.
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
