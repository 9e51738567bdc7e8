//! Numbers that an actor adds without knowing their types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::EncodedValue;
use crate::error::{Error, ErrorKind};

/// A number that [`Dict::update`](crate::Dict::update) and [`Value::update`](crate::Value::update) can add
/// to: the primitive integers and floats.
///
/// This trait is sealed and cannot be implemented for other types.
pub trait Number: Tagged + Serialize + DeserializeOwned {}

#[doc(hidden)]
pub trait Tagged {
    const TAG: u8;
}

/// Returns zero, or the sum of two encoded numbers if it fits the type.
pub(super) fn sum(
    tag: u8,
    before: Option<&EncodedValue>,
    by: &EncodedValue,
) -> Option<Result<EncodedValue, String>> {
    let before = before.map(|before| before.bytes.as_slice());
    let sum = add(tag, before, &by.bytes)?;
    Some(sum.map(EncodedValue::of_bytes))
}

/// Converts the answer of an actor to an addition into the result of the method.
pub(super) fn checked(
    sum: Result<EncodedValue, String>,
    of: &'static str,
) -> Result<EncodedValue, Error> {
    sum.map_err(|text| Error::new(ErrorKind::Failed, text).on_task(of))
}

macro_rules! numbers {
    ($($tag:literal $number:ident $wire:ident $add:expr;)*) => {
        $(
            impl Number for $number {}

            impl Tagged for $number {
                const TAG: u8 = $tag;
            }
        )*

        /// Adds numbers in the encoding of the codec: their width, little endian.
        fn add(tag: u8, before: Option<&[u8]>, by: &[u8]) -> Option<Result<Vec<u8>, String>> {
            match tag {
                $($tag => {
                    let read = |bytes: &[u8]| bytes.try_into().ok().map($wire::from_le_bytes);
                    let before = match before {
                        Some(bytes) => read(bytes)?,
                        None => $wire::default(),
                    };
                    let by = read(by)?;
                    let add: fn($wire, $wire) -> Option<$wire> = $add;
                    Some(add(before, by).map(|sum| sum.to_le_bytes().to_vec()).ok_or_else(|| {
                        format!("{before} + {by} is more than a {} can hold", stringify!($number))
                    }))
                })*
                _ => None,
            }
        }
    };
}

numbers! {
    0 u8 u8 u8::checked_add;
    1 u16 u16 u16::checked_add;
    2 u32 u32 u32::checked_add;
    3 u64 u64 u64::checked_add;
    4 u128 u128 u128::checked_add;
    5 usize u64 u64::checked_add;
    6 i8 i8 i8::checked_add;
    7 i16 i16 i16::checked_add;
    8 i32 i32 i32::checked_add;
    9 i64 i64 i64::checked_add;
    10 i128 i128 i128::checked_add;
    11 isize i64 i64::checked_add;
    12 f32 f32 |a, b| Some(a + b);
    13 f64 f64 |a, b| Some(a + b);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<N: Number + PartialEq + std::fmt::Debug>(before: Option<N>, by: N) -> Result<N, String> {
        let before = before.map(|before| EncodedValue::new(&before).unwrap());
        let sum = sum(N::TAG, before.as_ref(), &EncodedValue::new(&by).unwrap()).expect("a number");
        sum.map(|sum| sum.decode().unwrap())
    }

    #[test]
    fn numbers_are_added_in_their_own_types() {
        assert_eq!(of(None, 7_u8), Ok(7));
        assert_eq!(of(Some(3_u16), 7), Ok(10));
        assert_eq!(of(Some(usize::MAX - 1), 1), Ok(usize::MAX));
        assert_eq!(of(Some(-3_i128), 1), Ok(-2));
        assert_eq!(of(Some(0.5_f64), 0.25), Ok(0.75));
        assert_eq!(of(Some(1.5_f32), -0.5), Ok(1.0));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_told() {
        let text = of(Some(250_u8), 7).unwrap_err();
        assert_eq!(text, "250 + 7 is more than a u8 can hold");
        assert!(of(Some(i64::MIN), -1).is_err());
    }

    #[test]
    fn other_bytes_are_no_numbers() {
        let text = EncodedValue::new("text").unwrap();
        assert!(sum(u64::TAG, Some(&text), &text).is_none());
        assert!(sum(200, None, &text).is_none());
    }
}
