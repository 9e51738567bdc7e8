//! A host in a network namespace, whose link is cut. Needs root and the command `ip`.

use std::process::Command;

use procession_tests::{ONCE, StartMethod, conformance, wait};

use crate::hosts::{Server, is_skipped};
use crate::losses::{lines, note};

conformance! {
    ONCE => [a_cut_link_costs_no_task];
}

/// A network namespace that is connected to this one, until this is dropped.
struct Namespace {
    name: String,
    link: String,
    network: String,
}

fn ip(arguments: &[&str]) -> bool {
    let status = Command::new("ip").args(arguments).status();
    status.is_ok_and(|status| status.success())
}

impl Namespace {
    /// Returns `None` if this user may not create one.
    fn new() -> Option<Self> {
        let number = std::process::id() % 60_000;
        let name = format!("procession{number}");
        let link = format!("pr{number}");
        let network = format!("10.{}.{}", 200 + number / 256 % 50, number % 256);
        let peer = format!("{link}b");
        if !ip(&["netns", "add", &name]) {
            return None;
        }
        let namespace = Namespace { name, link, network };
        let Namespace { name, link, network } = &namespace;
        let works =
            ip(&["link", "add", link, "type", "veth", "peer", "name", &peer, "netns", name])
                && ip(&["addr", "add", &format!("{network}.1/24"), "dev", link])
                && ip(&["link", "set", link, "up"])
                && ip(&["-n", name, "addr", "add", &format!("{network}.2/24"), "dev", &peer])
                && ip(&["-n", name, "link", "set", &peer, "up"])
                && ip(&["-n", name, "link", "set", "lo", "up"]);
        works.then_some(namespace)
    }

    fn set_link(&self, state: &str) {
        assert!(ip(&["link", "set", &self.link, state]));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.link]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn a_cut_link_costs_no_task(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let Some(namespace) = Namespace::new() else {
        println!("skipped: this user may not create a network namespace, so that NO link was cut");
        return;
    };
    let server = Server::on(&format!("{}.1", namespace.network), &[]);
    let near = server.agent(1);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.name]);
    let far = server.agent_by(command, &std::env::current_exe().unwrap(), 1);
    let pool = server.pool(2);
    let path = server.path().join("notes");
    for state in ["down", "up"] {
        let inputs: Vec<_> = (0..150).map(|n| (path.clone(), n)).collect();
        let before = lines(&path);
        let call = pool.map_async(note, inputs);
        wait::for_it("the tasks run", || lines(&path) > before + 10);
        namespace.set_link(state);
        assert!(call.wait().unwrap().into_iter().eq(0..150));
    }
    drop((near, far));
}
