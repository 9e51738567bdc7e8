//! Programs for the compiler, which the test `ui` compiles: those that the attributes accept and those that they refuse.
