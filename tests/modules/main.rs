//! The modules of the library and of its macros have no dependency cycles.
//!
//! The tests read the `use`s and the paths of each file, without code that is compiled only for tests.
//! The rules are:
//!
//! 1. The modules that `lib.rs` declares form no cycle. An item that `lib.rs` re-exports belongs to the
//!    module in which it is defined.
//! 2. The same applies to the files of a folder, and to the items that its `mod.rs` re-exports.
//! 3. A file may use the types, traits and constants that its `mod.rs` defines, which are the common
//!    ground of the folder. A function in `mod.rs` may use the files, but no file that it uses may use
//!    the function.
//! 4. `#[path]` is refused: a module has the name of its file.
//! 5. The crates `libc` and `nix` are used only in `sys/`.
//!
//! Further tests check [limits] for the files, types and names of the library, and the files that pages
//! [name](named).
//!
//! Methods of types that are passed as parameters are not followed.

mod graph;
mod limits;
mod named;
mod system_calls;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use graph::{Graph, circles, told, uses};
use tree::Modules;

static LIBRARY: LazyLock<Modules> = LazyLock::new(|| modules_of("../runtime/src"));

#[test]
fn the_library() {
    check(&uses(&LIBRARY));
}

#[test]
fn the_macros() {
    check(&uses(&modules_of("../macros/src")));
}

#[test]
fn system_calls_stand_in_one_folder() {
    assert_none(&system_calls::outside(&LIBRARY));
}

#[test]
fn a_system_call_elsewhere_is_found() {
    let text = "use libc::c_int; fn f() { unsafe { ::libc::abort() } } fn g(_: nix::Error) {} \
                #[cfg(test)] mod tests { use libc::c_char; }";
    let files = [("", "mod a; mod sys;"), ("a", text), ("sys", "use nix::unistd;")];
    let outside = system_calls::outside(&modules(&files));
    assert_eq!(outside, ["a.rs:1: libc::c_int", "a.rs:1: ::libc::abort", "a.rs:1: nix::Error"]);
}

#[test]
fn the_scheduler_only_decides() {
    assert_none(&limits::impure(&LIBRARY));
    let text = fs::read_to_string("../runtime/src/scheduler/mod.rs").expect("it is there");
    let parsed = syn::parse_file(&text).expect("it compiles");
    let forbids = parsed.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && attribute.parse_args::<syn::Path>().is_ok_and(|lint| lint.is_ident("unsafe_code"))
    });
    assert!(forbids, "the scheduler may hold unsafe code");
}

#[test]
fn no_type_of_pool_or_scheduler_is_wide() {
    assert_none(&limits::wide(&LIBRARY));
}

#[test]
fn the_names_of_types_are_unique() {
    assert_none(&limits::ambiguous(&LIBRARY));
}

#[test]
fn no_file_is_long() {
    assert_none(&limits::long(Path::new("..")));
}

#[test]
fn what_breaks_a_limit_is_found() {
    let fields: String = (0..16).map(|at| format!("f{at}: u8,")).collect();
    let wide = format!("pub struct Wide {{ {fields} }} enum E {{ V {{ {fields} }} }} struct Two;");
    let files = [
        ("", "mod scheduler; mod engine;"),
        ("scheduler", &wide),
        ("engine", "use std::sync::Arc; struct Two; #[cfg(test)] struct Wide;"),
    ];
    let found = limits::wide(&modules(&files));
    assert_eq!(found, ["scheduler.rs:1: Wide has 16 fields", "scheduler.rs:1: E has 16 fields"]);
    let found = limits::ambiguous(&modules(&files));
    assert_eq!(found, ["Two: engine.rs:1, scheduler.rs:1"]);
    let impure = "use std::sync::Arc; fn f() { crate::sys::g() } fn g(_: ::std::thread::Thread) {}";
    let files = [("", "mod scheduler;"), ("scheduler", impure)];
    let found = limits::impure(&modules(&files));
    let places = ["std::sync::Arc", "crate::sys::g", "::std::thread::Thread"];
    assert_eq!(found, places.map(|path| format!("scheduler.rs:1: {path}")));
}

#[test]
fn the_files_that_pages_name_are_there() {
    let pages = ["../runtime/DESIGN.md", "../runtime/src/queue/PROTOCOL.md", "../CONTRIBUTING.md"];
    for page in pages.map(Path::new) {
        let text = fs::read_to_string(page).expect("the page is there");
        assert_none(&named::missing(page, &text));
    }
    let text = "`engine/drain.rs`, `engine/gone.rs`, `queue/`, `a/b`, [that](src/gone.rs#here)";
    let missing = named::missing(Path::new("../runtime/PAGE.md"), text);
    let gone = ["engine/gone.rs", "src/gone.rs"].map(|name| format!("../runtime/PAGE.md: {name}"));
    assert_eq!(missing, gone);
}

#[test]
fn deliberate_faults_fit_the_code() {
    let list = fs::read_to_string("../reliability/mutants.txt").expect("the list is there");
    let read = |file: &str| fs::read_to_string(Path::new("..").join(file)).unwrap_or_default();
    assert_none(&named::misplaced_faults(&list, read));
    let list =
        "name: fits\nfile: f\nfind: a\nfind: b\nreplace: c\n\nname: is stale\nfile: f\nfind: ab\n";
    let found = named::misplaced_faults(list, |_| "a\nb".to_owned());
    assert_eq!(found, ["is stale: its code is in f 0 times"]);
}

#[test]
fn one_input_passes_few_files_each_once() {
    let design = fs::read_to_string("../runtime/DESIGN.md").expect("the page is there");
    let path = named::path_of_an_input(&design);
    assert!((5..=15).contains(&path.len()), "{path:?}");
    let once: BTreeSet<&String> = path.iter().collect();
    assert_eq!(once.len(), path.len(), "{path:?}");
    for file in &path {
        assert!(Path::new("../runtime/src").join(file).is_file(), "{file} is not there");
    }
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn modules_of(folder: &str) -> Modules {
    tree::read(&|module| {
        let stem = if module.is_empty() { "lib".to_owned() } else { module.join("/") };
        [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find_map(|file| {
            let text = fs::read_to_string(Path::new(folder).join(&file)).ok()?;
            Some((file, text))
        })
    })
}

/// Panics with all cycles.
fn check(graph: &Graph) {
    let wrong: String = circles(graph).iter().map(|circle| told(graph, circle)).collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Creates a crate from the given files: the path of each module and its text.
fn modules(files: &[(&str, &str)]) -> Modules {
    tree::read(&|module| {
        let name = module.join("::");
        let (_, text) = files.iter().find(|(file, _)| *file == name)?;
        Some((format!("{name}.rs"), (*text).to_owned()))
    })
}

fn sample(files: &[(&str, &str)]) -> Graph {
    uses(&modules(files))
}

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    circles(&sample(files)).iter().map(|circle| circle.join(" ")).collect()
}

#[test]
fn a_circle_is_found_and_named() {
    let files = [
        ("", "mod a; mod b; mod c;"),
        ("a", "use crate::b::Thing;"),
        ("b", "pub struct Thing; fn f() { crate::c::g() }"),
        ("c", "pub fn g() { println!(\"{}\", super::a::NAME) }"),
    ];
    assert_eq!(circles_of(&files), ["a b c"]);
    let graph = sample(&files);
    let text = told(&graph, &["a", "b", "c"].map(String::from));
    assert!(text.contains("a -> b -> c -> a"), "{text}");
    assert!(text.contains("b.rs:1: crate::c::g"), "{text}");
    assert!(text.contains("c.rs:1: super::a::NAME"), "{text}");
    assert!(std::panic::catch_unwind(|| check(&graph)).is_err());
}

#[test]
fn what_is_re_exported_belongs_to_its_module() {
    let files = [
        ("", "mod a; mod b; pub use a::Thing;"),
        ("a", "use crate::b::name; pub struct Thing;"),
        ("b", "pub(crate) fn name(_: crate::Thing) {}"),
    ];
    assert_eq!(circles_of(&files), ["a b"]);
    let folder = [
        ("", "mod a;"),
        ("a", "mod one; mod two; pub(crate) use one::First; pub(crate) use two::*;"),
        ("a::one", "use super::Second; pub struct First;"),
        ("a::two", "use super::First; pub struct Second;"),
    ];
    assert_eq!(circles_of(&folder), ["a::one a::two"]);
}

#[test]
fn a_file_may_use_the_types_of_its_folder_but_no_function_that_uses_it() {
    let types = [
        ("", "mod a;"),
        ("a", "mod one; pub struct Shared; fn f() { one::g() }"),
        ("a::one", "use super::Shared; pub(super) fn g() {}"),
    ];
    assert!(circles_of(&types).is_empty());
    let function = [
        ("", "mod a;"),
        ("a", "mod one; fn f() { one::g() } fn h() {}"),
        ("a::one", "use super::h; pub(super) fn g() { h() }"),
    ];
    assert_eq!(circles_of(&function), ["a::mod.rs a::one"]);
}

#[test]
fn tests_and_docs_do_not_count() {
    let files = [
        ("", "mod a; mod b;"),
        (
            "a",
            "#[cfg(test)] mod tests { use crate::b::B; } \
             #[cfg(all(test, miri))] use crate::b::B; \
             /// See [`B`](crate::b::B). \n pub struct A;",
        ),
        ("b", "#[cfg(not(test))] use crate::a::A; pub struct B;"),
    ];
    assert!(circles_of(&files).is_empty());
    let feature = [
        ("", "mod a; mod b;"),
        ("a", "#[cfg(any(test, feature = \"f\"))] use crate::b::B; pub struct A;"),
        ("b", "use crate::a::A; pub struct B;"),
    ];
    assert_eq!(circles_of(&feature), ["a b"]);
}
