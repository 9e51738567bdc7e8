//! The codec and its tests without the rest of the library, as a package for cargo-mutants.

#![allow(warnings)]

mod codec;
