//! The server goes away and comes back.

use std::time::Duration;

use procession_tests::tasks::{nap, square};
use procession_tests::{ONCE, StartMethod, conformance};
use runtime::ErrorKind;

use crate::hosts::{Server, is_skipped};

conformance! {
    ONCE => [
        calls_go_on_after_a_restart,
        calls_go_on_after_the_server_has_lost_everything,
        an_outage_that_lasts_is_an_error,
        without_agents_calls_fail,
    ];
}

fn restart(mut server: Server, lose: bool) {
    let _agents = [server.agent(1), server.agent(1)];
    let pool = server.pool(2);
    let call = pool.map_async(nap, vec![20; 150]);
    std::thread::sleep(Duration::from_millis(700));
    server.kill();
    if lose {
        std::fs::remove_dir_all(server.path().join("store")).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    server.start_again();
    assert_eq!(call.wait().unwrap(), [20; 150]);
    assert_eq!(pool.map(square, 0..1000).unwrap().len(), 1000);
}

fn calls_go_on_after_a_restart(_: StartMethod) {
    if !is_skipped() {
        restart(Server::start(), false);
    }
}

fn calls_go_on_after_the_server_has_lost_everything(_: StartMethod) {
    if !is_skipped() {
        restart(Server::start(), true);
    }
}

fn an_outage_that_lasts_is_an_error(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let mut server = Server::start();
    let _agent = server.agent(1);
    let pool = server.builder().agents_timeout(Duration::from_secs(5)).build().unwrap();
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
    server.kill();
    let error = pool.apply(square, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    assert!(error.to_string().contains("was not reachable for 5s"), "{error}");
    server.start_again();
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn without_agents_calls_fail(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent(1);
    let pool = server.builder().agents_timeout(Duration::from_secs(5)).build().unwrap();
    drop(agent);
    let error = pool.apply(square, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    assert!(error.to_string().contains("no agent of this program has answered for 5s"), "{error}");
    let _agent = server.agent(1);
    let come = || pool.apply(square, 4).is_ok();
    procession_tests::wait::for_it("another agent serves", come);
}
