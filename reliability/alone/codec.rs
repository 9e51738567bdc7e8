//! The codec and its tests without the rest of the library, as a package for cargo-mutants.

#![allow(warnings)]

mod codec;

/// Takes the place of the only part of the library that the codec uses, which has no effect on values.
mod sys {
    pub(crate) mod prefetch {
        pub(crate) const OWN_MAPPING: usize = usize::MAX;

        pub(crate) fn large(_: *mut u8, _: usize) {}
    }
}
