//! Nothing: the examples are the files next to this folder.
