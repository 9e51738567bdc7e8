//! How a program chooses a start method, and how it can query it.

use procession_tests::{ONCE, StartMethod, caller, conformance};
use runtime::{ErrorKind, Pool};

use super::{bin, output_of};

conformance! {
    ONCE => [
        methods_have_names_and_an_order,
        tasks_are_listed,
        the_method_is_chosen_once,
        a_variable_that_is_no_method_is_told,
        cpus_are_counted,
    ];
}

/// CTX-04.
fn methods_have_names_and_an_order(_: StartMethod) {
    let names: Vec<&str> = StartMethod::available().iter().map(|m| m.name()).collect();
    assert_eq!(names, ["forkserver", "spawn", "fork", "thread"]);
    assert_eq!(StartMethod::default(), StartMethod::available()[0]);
    for method in StartMethod::available() {
        assert_eq!(method.to_string().parse(), Ok(*method));
    }
    let error = "telepathy".parse::<StartMethod>().unwrap_err();
    assert!(error.to_string().contains("`telepathy`"), "{error}");
}

fn tasks_are_listed(_: StartMethod) {
    let listed = runtime::registered();
    assert!(listed.is_sorted());
    assert!(listed.iter().any(|name| name.contains("start::ids")), "{listed:?}");
    assert!(!listed.iter().any(|name| name.contains("output_of")), "{listed:?}");
}

/// CTX-01.
fn the_method_is_chosen_once(_: StartMethod) {
    assert_eq!(runtime::start_method().unwrap(), StartMethod::ForkServer);
    runtime::set_start_method(StartMethod::Fork).unwrap();
    assert_eq!(runtime::start_method().unwrap(), StartMethod::Fork);
    let error = runtime::set_start_method(StartMethod::Spawn).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("already fork"), "{error}");
    let pool = Pool::builder().workers(1).build().unwrap();
    assert_eq!(pool.start_method().unwrap(), StartMethod::Fork);
}

/// PROC-13.
fn cpus_are_counted(_: StartMethod) {
    let cpus = runtime::usable_cpus();
    assert!(cpus >= 1);
    let pool = Pool::builder().start_method(StartMethod::Thread).build().unwrap();
    assert_eq!(pool.workers().len(), cpus);
}

fn a_variable_that_is_no_method_is_told(_: StartMethod) {
    let mut command = caller(bin(), "default", StartMethod::Spawn);
    let output = output_of(command.env("PROCESSION_START_METHOD", "telepathy"));
    for line in output.lines() {
        assert!(line.contains("PROCESSION_START_METHOD"), "{line}");
        assert!(line.contains("`telepathy`"), "{line}");
    }
    assert_eq!(output.lines().count(), 2);
    // Without the variable, the default applies.
    let mut command = caller(bin(), "default", StartMethod::Spawn);
    let output = output_of(command.env_remove("PROCESSION_START_METHOD"));
    assert_eq!(output, "forkserver\nforkserver\n");
}
