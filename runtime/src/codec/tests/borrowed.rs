//! Values that refer to the encoded bytes, the padding that aligns them, and handles.
#![allow(unsafe_code, reason = "stands in for shared memory")]

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::NonNull;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::{DecodedSlice, Sink, Source, decode, decode_slice, encode, mark};
use super::{Weights, bytes_of, value_of};

/// Memory with the alignment of every number.
#[repr(C, align(16))]
struct Aligned([u8; 256]);

impl Aligned {
    fn of(bytes: &[u8]) -> Self {
        let mut memory = Aligned([0; 256]);
        memory.0[..bytes.len()].copy_from_slice(bytes);
        memory
    }
}

/// Returns the bytes of `before` small values and of a value in a sink that aligns numbers.
fn aligned_bytes_of(before: u8, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes).aligned();
    (0..before).for_each(|number| encode(&number, &mut sink).unwrap());
    encode(value, &mut sink).unwrap();
    drop(sink);
    bytes
}

#[test]
fn padding_aligns_numbers_so_that_a_slice_can_refer_to_them() {
    macro_rules! check {
        ($($number:ty)*) => {$(
            let numbers: Vec<$number> = (0..5).map(|x| x as $number).collect();
            for before in 0..17 {
                let bytes = aligned_bytes_of(before, &numbers);
                let align = align_of::<$number>();
                let padding = (before as usize + 8).next_multiple_of(align) - before as usize - 8;
                assert_eq!(bytes.len(), before as usize + 8 + padding + size_of_val(&numbers[..]));
                let memory = Aligned::of(&bytes);
                let mut source = Source::new(&memory.0[..bytes.len()]);
                (0..before).for_each(|at| assert_eq!(decode::<u8>(&mut source).unwrap(), at));
                assert_eq!(decode::<Vec<$number>>(&mut source.again()).unwrap(), numbers);
                let slice = decode_slice::<$number>(&mut source).unwrap();
                assert!(matches!(slice, DecodedSlice::Borrowed(_)), "{} bytes before", before);
                assert_eq!(slice[..], numbers);
                source.finish().unwrap();
            }
        )*};
    }
    check! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64 }
}

#[test]
fn only_a_sink_for_inputs_aligns_numbers() {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    encode(&1_u8, &mut sink).unwrap();
    encode(&vec![7_u32], &mut sink).unwrap();
    drop(sink);
    assert_eq!(bytes, [1, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
    assert_eq!(aligned_bytes_of(1, &vec![7_u32]), [0, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0]);
}

#[test]
fn a_slice_is_copied_if_it_cannot_refer_to_the_bytes() {
    let numbers = [1_u32, 2, 3];
    let bytes = bytes_of(&numbers[..]);
    let memory = Aligned::of(&[&[0], &bytes[..]].concat());
    let misaligned = decode_slice::<u32>(&mut Source::new(&memory.0[1..=bytes.len()])).unwrap();
    assert!(matches!(misaligned, DecodedSlice::Owned(_)));
    assert_eq!(misaligned[..], numbers);

    let memory = Aligned::of(&bytes);
    // SAFETY: the memory is initialized and outlives the source.
    let mut source = unsafe { Source::from_raw(NonNull::from(&memory.0).cast(), bytes.len()) };
    let unstable = decode_slice::<u32>(&mut source).unwrap();
    assert!(matches!(unstable, DecodedSlice::Owned(_)), "others may write the bytes");
    assert_eq!(unstable[..], numbers);
    source.finish().unwrap();

    let encoded_texts = bytes_of(&["a", "b"][..]);
    let texts = decode_slice::<String>(&mut Source::new(&encoded_texts)).unwrap();
    assert_eq!(texts[..], ["a", "b"]);
    let truncated = decode_slice::<u32>(&mut Source::new(&memory.0[..bytes.len() - 1]));
    assert!(truncated.is_err());
    let huge = [[0xff; 7], [0; 7]].concat();
    assert!(decode_slice::<u64>(&mut Source::new(&huge)).is_err());
    let padded_beyond_the_end = [1, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0];
    assert!(decode_slice::<u32>(&mut Source::new(&padded_beyond_the_end)).is_err());
    assert!(value_of::<Vec<u32>>(&padded_beyond_the_end).is_err());
}

#[test]
fn strings_and_bytes_refer_to_bytes_that_nobody_writes() {
    let bytes = bytes_of(&("text", 7_u8));
    let (text, number): (&str, u8) = decode(&mut Source::new(&bytes)).unwrap();
    assert_eq!((text, number, text.as_ptr()), ("text", 7, bytes[8..].as_ptr()));
    let bytes = bytes_of(&(&b"data"[..], 7_u8));
    let (data, number): (&[u8], u8) = decode(&mut Source::new(&bytes)).unwrap();
    assert_eq!((data, number, data.as_ptr()), (&b"data"[..], 7, bytes[8..].as_ptr()));

    let error = decode::<&[u8]>(&mut Source::new(&bytes[..11])).unwrap_err();
    let text = "the bytes announce 4 bytes, but only 3 bytes are left";
    assert_eq!(error.to_string(), text);
    let error = decode::<&str>(&mut Source::new(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff])).unwrap_err();
    assert!(error.to_string().starts_with("not UTF-8: "), "{error}");
}

#[test]
fn strings_and_bytes_do_not_refer_to_bytes_that_others_may_write() {
    let bytes = bytes_of("text");
    // SAFETY: the bytes are initialized and outlive the source.
    let source = unsafe { Source::from_raw(NonNull::from(&bytes[..]).cast(), bytes.len()) };
    assert!(decode::<&str>(&mut source.again()).is_err());
    assert!(decode::<&[u8]>(&mut source.again()).is_err());
    assert_eq!(decode::<String>(&mut source.again()).unwrap(), "text");
    let mut source = source;
    assert_eq!(decode::<Data>(&mut source).unwrap(), Data(b"text".to_vec()));
    source.finish().unwrap();
}

/// Bytes that are written and read as such, and not as a sequence.
#[derive(Debug, PartialEq)]
struct Data(Vec<u8>);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyBytes;
        impl Visitor<'_> for AnyBytes {
            type Value = Data;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Data, E> {
                Ok(Data(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(AnyBytes)
    }
}

#[test]
fn bytes_are_those_of_a_sequence() {
    let text = CString::new("text").unwrap();
    let bytes = bytes_of(&(&text, 7_u8));
    assert_eq!(bytes, bytes_of(&(&b"text"[..], 7_u8)));
    assert_eq!(value_of::<(CString, u8)>(&bytes).unwrap(), (text, 7));
    assert_eq!(value_of::<(Data, u8)>(&bytes).unwrap(), (Data(b"text".to_vec()), 7));
    let text: &CStr = c"text";
    assert_eq!(bytes_of(text), bytes[..12]);
}

#[test]
fn a_sink_knows_its_region_and_copies_within_it() {
    let mut bytes = Vec::with_capacity(16);
    let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
    let mut sink = Sink::over(&mut bytes);
    assert!(sink.is_in(start) && sink.start() == start);
    sink.write(&[1, 2, 3, 4, 5, 6]).unwrap();
    sink.copy_within(0, 3, 3);
    assert_eq!(sink.bytes(), [1, 2, 3, 1, 2, 3]);
    sink.copy_within(3, 0, 2);
    sink.copy_within(1, 2, 4);
    assert_eq!(sink.bytes(), [1, 2, 2, 3, 1, 2]);
    assert!(sink.is_in(start));
    assert!(!sink.is_in(start.map_addr(|addr| addr.saturating_add(1))));
}

#[test]
#[should_panic(expected = "a copy past the end of the sink")]
fn a_copy_stays_within_what_was_written() {
    let mut bytes = Vec::with_capacity(16);
    let mut sink = Sink::over(&mut bytes);
    sink.write(&[1, 2, 3, 4]).unwrap();
    sink.copy_within(0, 2, 3);
}

/// Writes whether the codec has marked it as a handle, and reads whether it does.
#[derive(Debug, PartialEq)]
struct Seen(bool);

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        mark::take().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seen = mark::take();
        Ok(Seen(bool::deserialize(deserializer)? && seen))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "$procession::Handle")]
struct Handle<T>(T);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[test]
fn only_a_handle_is_marked() {
    let written = bytes_of(&(Seen(false), Handle(Seen(false)), Newtype(Seen(false))));
    assert_eq!(written, [0, 1, 0]);
    let read = value_of::<(Seen, Handle<Seen>, Newtype<Seen>)>(&[1, 1, 1]).unwrap();
    assert_eq!(read, (Seen(false), Handle(Seen(true)), Newtype(Seen(false))));

    let unread = bytes_of(&Handle(7_u8));
    assert!(!mark::take(), "the mark ends with the handle that has not taken it");
    assert_eq!(value_of::<Handle<u8>>(&unread).unwrap(), Handle(7));
    assert!(!mark::take());
    assert_eq!(bytes_of(&Handle(Weights(vec![1.0]))), bytes_of(&Weights(vec![1.0])));
}
