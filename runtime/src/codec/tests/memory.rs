//! Sinks over separate memory, and sources over memory that changes.
#![allow(unsafe_code, reason = "stands in for shared memory")]

use std::io;
use std::ptr::NonNull;

use super::super::{Backing, Sink, Source, decode, encode};
use super::{bytes_of, value_of, zoo};

/// Provides regions that grow by exactly the requested amount, never in place, up to a limit.
struct Regions {
    given: Vec<Box<[u8]>>,
    calls: usize,
    limit: usize,
    settled: usize,
}

impl Regions {
    fn up_to(limit: usize) -> Self {
        Regions { given: Vec::new(), calls: 0, limit, settled: 0 }
    }
}

// SAFETY: a region starts with a copy of `filled`, has the requested length, and is kept until the next
// one is provided.
unsafe impl Backing for Regions {
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>> {
        if filled.len() + more > self.limit {
            return Err(io::Error::other("no more pages"));
        }
        // SAFETY: the sink reports that these bytes were written.
        let mut region = unsafe { filled.as_ref() }.to_vec();
        region.resize(filled.len() + more, 0);
        self.calls += 1;
        self.given.clear();
        self.given.push(region.into_boxed_slice());
        Ok(NonNull::from(&mut *self.given[0]))
    }

    unsafe fn settle(&mut self, len: usize) {
        self.settled = len;
    }
}

#[test]
fn a_sink_moves_to_the_next_region_with_what_it_has() {
    let mut regions = Regions::up_to(1 << 20);
    let mut first = [0_u8; 11];
    // SAFETY: `first` outlives the sink and is not used in the meantime.
    let mut sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut first[..])) };
    encode(&1_u8, &mut sink).unwrap();
    encode(&zoo(), &mut sink).unwrap();
    encode(&"end", &mut sink).unwrap();
    let expected = [bytes_of(&1_u8), bytes_of(&zoo()), bytes_of("end")].concat();
    assert_eq!(sink.bytes(), expected);
    assert_eq!(sink.len(), expected.len());
    drop(sink);
    assert_eq!(regions.settled, expected.len());
}

#[test]
fn a_sink_that_cannot_grow_keeps_what_it_had() {
    let mut regions = Regions::up_to(40);
    // SAFETY: the region is empty.
    let mut sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut [])) };
    encode(&1_u64, &mut sink).unwrap();
    let error = encode(&(2_u64, "x".repeat(100)), &mut sink).unwrap_err();
    assert!(error.to_string().ends_with("no more pages"), "{error}");
    assert_eq!(sink.bytes(), bytes_of(&1_u64));
    encode(&3_u64, &mut sink).unwrap();
    assert_eq!(sink.bytes(), bytes_of(&(1_u64, 3_u64)));
}

/// Encodes the value into a region of `room` bytes that cannot grow.
fn encode_into<T: serde::Serialize>(value: &T, room: usize) -> Result<Vec<u8>, String> {
    let mut regions = Regions::up_to(0);
    let mut first = vec![0_u8; room];
    // SAFETY: `first` outlives the sink and is not used in the meantime.
    let mut sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut first[..])) };
    encode(value, &mut sink).map_err(|error| error.to_string())?;
    Ok(sink.bytes().to_vec())
}

#[test]
fn a_region_is_filled_to_its_end_before_it_grows() {
    /// It writes its text in two parts.
    struct Shown;
    impl serde::Serialize for Shown {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_str(&format_args!("{}-{}", "first", "second"))
        }
    }
    macro_rules! check {
        ($($value:expr,)*) => {$(
            let bytes = bytes_of(&$value);
            assert_eq!(encode_into(&$value, bytes.len()), Ok(bytes.clone()));
            for room in 0..bytes.len() {
                let error = "there is no room for the value: no more pages".to_owned();
                assert_eq!(encode_into(&$value, room), Err(error), "room for {room} bytes");
            }
        )*};
    }
    check! { 7_u64, 'ß', u128::MAX, "text", vec![1.5_f64, 2.5], ["a", "b"], Some(7_u16), Shown, }
}

#[test]
fn aligned_numbers_are_written_alike_however_much_room_there_is() {
    for numbers in [vec![], vec![1_u64], vec![1, 2, 3]] {
        let value = (7_u8, &numbers, 9_u8, &numbers);
        let encoded = |room: usize| {
            let mut regions = Regions::up_to(1 << 20);
            let mut first = vec![0_u8; room];
            // SAFETY: `first` outlives the sink and is not used in the meantime.
            let sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut first[..])) };
            let mut sink = sink.aligned();
            encode(&value, &mut sink).unwrap();
            sink.bytes().to_vec()
        };
        let expected = encoded(1 << 10);
        for room in 0..expected.len() {
            assert_eq!(encoded(room), expected, "with room for {room} bytes at first");
        }
    }
}

#[test]
fn plain_slices_are_written_in_one_go() {
    let floats = vec![0.5_f64; 1000];
    let mut regions = Regions::up_to(1 << 20);
    // SAFETY: the region is empty.
    let mut sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut [])) };
    encode(&Some((&floats, &floats[1..])), &mut sink).unwrap();
    drop(sink);
    // One call for the tag, and one for each count together with its copy.
    assert_eq!(regions.calls, 3);
}

/// serde reserves a mebibyte at first and then doubles it; a copy reserves the exact length.
#[test]
fn plain_vectors_are_read_in_one_go() {
    let floats = vec![0.5_f64; 200_000];
    let bytes = bytes_of(&(&floats, Some(&floats), &floats));
    let (a, b, c): (Vec<f64>, Option<Vec<f64>>, Weights64) = value_of(&bytes).unwrap();
    for read in [a, b.unwrap(), c.0] {
        assert_eq!(read.len(), floats.len());
        assert_eq!(read.capacity(), floats.len());
    }
}

#[derive(serde::Deserialize)]
struct Weights64(Vec<f64>);

#[test]
fn a_sink_can_be_written_patched_and_cut() {
    let mut bytes = vec![9];
    let mut sink = Sink::over(&mut bytes);
    sink.write(&[0; 4]).unwrap();
    sink.patch(1, &[1, 2]);
    sink.truncate(3);
    sink.truncate(100);
    assert_eq!(sink.bytes(), [9, 1, 2]);
    drop(sink);
    assert_eq!(bytes, [9, 1, 2]);
}

#[test]
#[should_panic(expected = "patch past the end")]
fn a_patch_stays_within_what_was_written() {
    let mut bytes = vec![0; 8];
    Sink::over(&mut bytes).patch(usize::MAX, &[1]);
}

#[test]
fn values_stand_back_to_back_at_any_alignment() {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    encode(&1_u8, &mut sink).unwrap();
    encode(&vec![1.5_f64, 2.5], &mut sink).unwrap();
    encode(&u64::MAX, &mut sink).unwrap();
    drop(sink);
    let mut source = Source::new(&bytes);
    assert_eq!(decode::<u8>(&mut source).unwrap(), 1);
    assert_eq!(decode::<Vec<f64>>(&mut source).unwrap(), [1.5, 2.5]);
    assert_eq!(decode::<u64>(&mut source).unwrap(), u64::MAX);
    source.finish().unwrap();
}

/// Another process overwrites a string while it is decoded. The result must be a valid string.
#[test]
#[cfg_attr(miri, ignore = "maps memory")]
fn bytes_that_change_meanwhile_give_a_value_or_an_error() {
    const TEXT: usize = 64 << 10;
    let bytes = bytes_of(&"x".repeat(TEXT));
    // SAFETY: a new anonymous mapping, written before the fork and unmapped at the end. The child only
    // makes volatile writes and system calls, and is killed and reaped here.
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            bytes.len(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let start = NonNull::new(map.cast::<u8>()).unwrap();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len());
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            for round in 0..u32::MAX {
                let at = start.as_ptr().add(round as usize * 7919 % bytes.len());
                at.write_volatile(if round % 2 == 0 { 0xff } else { b'x' });
                start.as_ptr().write_volatile(round as u8);
            }
            libc::_exit(0);
        }
        for _ in 0..2000 {
            let mut source = Source::from_raw(start, bytes.len());
            if let Ok(text) = decode::<String>(&mut source) {
                std::str::from_utf8(text.as_bytes()).unwrap();
            }
        }
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::munmap(map, bytes.len());
    }
    value_of::<String>(&bytes).unwrap();
}

/// A struct reserves room for its fields before it writes the first one. The bytes must not depend on
/// the actual lengths of the fields.
#[test]
fn structs_are_written_alike_however_much_room_there_is() {
    #[derive(serde::Serialize, Clone, Copy)]
    struct Two(u8, u8);
    #[derive(serde::Serialize)]
    struct Wide {
        numbers: (u64, f64, bool),
        small: [Two; 2],
        first: Two,
        second: Two,
        long: u128,
        text: &'static str,
        none: Option<u8>,
        unit: (),
        a: u64,
        b: u64,
        c: f32,
        last: Tag,
    }
    #[derive(serde::Serialize)]
    enum Tag {
        New(u64),
        Tuple(u64, Two, u64),
    }
    /// Announces one field, and writes four.
    struct Understated;
    impl serde::Serialize for Understated {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut fields = to.serialize_struct("Understated", 1)?;
            for number in 0..4_u64 {
                fields.serialize_field("number", &number)?;
            }
            fields.end()
        }
    }
    let two = Two(1, 2);
    let wide = |last| Wide {
        numbers: (1, 2.5, true),
        small: [two; 2],
        first: two,
        second: two,
        long: u128::MAX / 3,
        text: "a text that takes more than all of the room that was made for the fields of the struct around it, and so grows it",
        none: None,
        unit: (),
        a: 3,
        b: 4,
        c: 5.5,
        last,
    };
    let value = (wide(Tag::New(6)), wide(Tag::Tuple(7, two, 8)), Understated);
    let expected = bytes_of(&value);
    for room in 0..expected.len() + 200 {
        let mut regions = Regions::up_to(1 << 20);
        let mut first = vec![0_u8; room];
        // SAFETY: `first` outlives the sink and is not used in the meantime.
        let mut sink = unsafe { Sink::new(&mut regions, NonNull::from(&mut first[..])) };
        encode(&value, &mut sink).unwrap();
        assert_eq!(sink.bytes(), expected, "with room for {room} bytes at first");
    }
}
