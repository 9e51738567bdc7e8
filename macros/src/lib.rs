//! The attribute macros of `procession`.
