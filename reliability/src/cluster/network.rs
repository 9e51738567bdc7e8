//! Hosts as network namespaces, each connected to that of the server.

use std::io;
use std::process::{Command, Stdio};

/// The namespace of the server, and those that are connected to it.
pub(super) struct Network {
    name: String,
    number: u32,
}

/// A namespace besides that of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    HostA,
    HostB,
    Program,
}

impl Place {
    pub(super) const ALL: [Place; 3] = [Place::HostA, Place::HostB, Place::Program];

    /// Returns the name of the host.
    pub(super) fn name(self) -> &'static str {
        match self {
            Place::HostA => "host-a",
            Place::HostB => "host-b",
            Place::Program => "program",
        }
    }
}

fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("`ip {arguments}`: {}", why.trim())))
        }
    }
}

impl Network {
    pub(super) fn new() -> io::Result<Self> {
        let number = std::process::id() % 60_000;
        let network = Network { name: format!("procession{number}"), number };
        let hub = network.hub();
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        for place in Place::ALL {
            let (namespace, link) = (network.namespace(place), place as u32);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {hub} link add v{link} type veth peer name eth0 netns {namespace}"))?;
            let subnet = network.subnet(place);
            ip(&format!("-n {hub} addr add {subnet}.1/24 dev v{link}"))?;
            ip(&format!("-n {hub} link set v{link} up"))?;
            ip(&format!("-n {namespace} addr add {subnet}.2/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(network)
    }

    /// Returns the namespace of the server.
    pub(super) fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    pub(super) fn namespace(&self, place: Place) -> String {
        format!("{}-{}", self.name, place.name())
    }

    fn subnet(&self, place: Place) -> String {
        format!("10.{}.{}", 200 + self.number % 50, self.number / 50 % 80 * 3 + place as u32)
    }

    /// Returns the address at which a namespace reaches the server.
    pub(super) fn server_for(&self, place: Place) -> String {
        format!("{}.1", self.subnet(place))
    }

    /// Cuts or restores the link of a namespace.
    pub(super) fn set_link(&self, place: Place, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        ip(&format!("-n {} link set v{} {state}", self.hub(), place as u32))
            .expect("the link is there");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in Place::ALL {
            let _ = ip(&format!("netns del {}", self.namespace(place)));
        }
        let _ = ip(&format!("netns del {}", self.hub()));
    }
}
