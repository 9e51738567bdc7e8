//! A dashboard, and what its stream has told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use procession_tests::http::{self, Answer, Reading};
use runtime::dashboard::{self, Dashboard};
use serde_json::Value;

/// A dashboard on a free port.
pub(crate) fn serve() -> Dashboard {
    dashboard::serve("127.0.0.1:0").expect("the dashboard starts")
}

/// The address and the token in a URL.
pub(crate) fn parts(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").expect("a URL");
    let (address, token) = rest.split_once("/?token=").expect("a token");
    (address.parse().expect("an address"), token.trim().to_owned())
}

/// Asks with the token.
pub(crate) fn ask(dashboard: &Dashboard, method: &str, path: &str) -> Answer {
    let (address, token) = parts(dashboard.url());
    let separator = if path.contains('?') { '&' } else { '?' };
    http::request(address, method, &format!("{path}{separator}token={token}"), &[], "")
}

/// The stream of a dashboard.
pub(crate) struct Watched {
    stream: Reading,
    pub(crate) things: BTreeMap<String, Value>,
    pub(crate) logs: Vec<String>,
    pub(crate) last: Value,
}

impl Watched {
    pub(crate) fn new(dashboard: &Dashboard) -> Self {
        let (address, token) = parts(dashboard.url());
        let stream = http::send(address, "GET", &format!("/events?token={token}"), &[], "");
        assert_eq!(stream.status, 200);
        let (things, logs) = (BTreeMap::new(), Vec::new());
        let mut watched = Watched { stream, things, logs, last: Value::Null };
        assert!(watched.next());
        assert_eq!(watched.last["reset"], true);
        watched
    }

    /// Takes the next message; false at the end of the stream.
    pub(crate) fn next(&mut self) -> bool {
        let Some(data) = self.stream.event() else { return false };
        let message: Value = serde_json::from_str(&data).expect("a message is JSON");
        if message["reset"] == true {
            self.things.clear();
        }
        for (name, value) in message["set"].as_object().expect("things") {
            self.things.insert(name.clone(), value.clone());
        }
        for name in message["gone"].as_array().expect("names") {
            self.things.remove(name.as_str().expect("a name"));
        }
        let lines = message["logs"].as_array().expect("records").iter();
        self.logs.extend(lines.map(|record| record["line"].as_str().expect("text").to_owned()));
        self.last = message;
        true
    }

    /// Takes messages until something is so.
    ///
    /// # Panics
    ///
    /// If it is not so after a hundred messages.
    pub(crate) fn until(&mut self, is_so: impl Fn(&Watched) -> bool) {
        for _ in 0..100 {
            if is_so(self) {
                return;
            }
            assert!(self.next(), "the stream goes on");
        }
        panic!("it did not become so: {:#?}", self.things);
    }

    /// The things of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        let of_kind = |(name, _): &(&String, &Value)| name.starts_with(kind);
        self.things.iter().filter(of_kind).map(|(_, value)| value).collect()
    }
}
