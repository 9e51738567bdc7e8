//! An empty library: the examples are the files next to this folder.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]
