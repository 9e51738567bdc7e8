//! Mistakes of users, each of which has one sentence.

use std::time::{Duration, Instant};

use procession_tests::{ONCE, StartMethod, conformance, wait};
use runtime::{Error, ErrorKind, Pool, PoolBuilder};

use crate::hosts::{Server, free_port, is_skipped};

conformance! {
    ONCE => [
        no_server_answers,
        addresses_that_are_none,
        a_server_without_jetstream,
        a_wrong_token,
        no_agent,
        too_few_agents,
        agents_of_another_program,
        settings_that_do_not_reach_other_hosts,
        an_agent_with_bad_settings,
    ];
}

/// Returns the error of a pool that cannot be built, which has to come in a few seconds.
#[track_caller]
fn refused(builder: PoolBuilder, kind: ErrorKind) -> String {
    let begun = Instant::now();
    let error: Error = builder.build().expect_err("the pool cannot be built");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    text
}

fn no_server_answers(_: StartMethod) {
    let url = format!("nats://name:secret@127.0.0.1:{}", free_port());
    let text = refused(Pool::builder().cluster(url), ErrorKind::Cluster);
    assert!(text.contains("cannot be reached") && text.contains("nats-server -js"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

fn addresses_that_are_none(_: StartMethod) {
    for url in ["http://127.0.0.1", "nats://a b", "nats://h:99999999", "::"] {
        let text = refused(Pool::builder().cluster(url), ErrorKind::Configuration);
        assert!(text.contains("is no address of a NATS server"), "{url}: {text}");
    }
}

fn a_server_without_jetstream(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::with(&["no JetStream"]);
    let text = refused(server.builder(), ErrorKind::Cluster);
    assert!(text.contains("JetStream must be enabled"), "{text}");
}

fn a_wrong_token(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::with(&["authorization { token: right }"]);
    let at = server.url().replace("nats://", "");
    for url in [format!("nats://{at}"), format!("nats://wrong@{at}")] {
        let text = refused(Pool::builder().cluster(url), ErrorKind::Configuration);
        assert!(text.contains("refuses this user") && !text.contains("wrong"), "{text}");
    }
    let builder = Pool::builder().cluster(format!("nats://right@{at}"));
    let text = refused(builder.agents_timeout(Duration::from_millis(300)), ErrorKind::Cluster);
    assert!(text.contains("no agent answered") && !text.contains("right@"), "{text}");
    let server = Server::with(&["authorization { user: ann, password: right }"]);
    let at = server.url().replace("nats://", "");
    let builder = Pool::builder().cluster(format!("nats://ann:right@{at}"));
    refused(builder.agents_timeout(Duration::from_millis(300)), ErrorKind::Cluster);
    refused(Pool::builder().cluster(format!("nats://ann:wrong@{at}")), ErrorKind::Configuration);
}

fn no_agent(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let builder = server.builder().agents_timeout(Duration::from_millis(500));
    let text = refused(builder, ErrorKind::Cluster);
    assert!(text.contains("no agent answered") && text.contains("PROCESSION_AGENT"), "{text}");
}

fn too_few_agents(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent(2);
    drop(server.pool(2));
    let builder = server.builder().workers(3).agents_timeout(Duration::from_millis(1500));
    let text = refused(builder, ErrorKind::Cluster);
    assert!(text.contains("3 workers were asked for"), "{text}");
    assert!(
        text.contains(&format!("(pid {}", agent.pid())) && text.contains("2 workers)"),
        "{text}"
    );
}

fn agents_of_another_program(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let agent = server.agent_of(env!("CARGO_BIN_EXE_caller").as_ref(), 2);
    wait::for_it("the agent serves", || server.said().contains("serves the server"));
    let builder = server.builder().agents_timeout(Duration::from_secs(1));
    let text = refused(builder, ErrorKind::Cluster);
    assert!(text.contains("another build of the program, or another program"), "{text}");
    assert!(text.contains(&format!("(pid {}, program `caller`", agent.pid())), "{text}");
}

fn settings_that_do_not_reach_other_hosts(_: StartMethod) {
    let builder = || Pool::builder().cluster("nats://127.0.0.1:1");
    for builder in [builder().ordered(true), builder().capture_output(true)] {
        let text = refused(builder, ErrorKind::Configuration);
        assert!(text.contains("has no effect on other hosts"), "{text}");
    }
}

fn an_agent_with_bad_settings(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let mut agent = server.agent(0);
    wait::for_it("the agent ends", || agent.0.try_wait().unwrap().is_some());
    assert_eq!(agent.0.try_wait().unwrap().unwrap().code(), Some(1));
    assert!(server.said().contains("PROCESSION_WORKERS is `0`"), "{}", server.said());
}
