//! Who may ask (rule D2).

use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, header};

use crate::sys::random;

/// Random bytes of a token.
const TOKEN_LEN: usize = 16;

/// Makes a new token.
pub(super) fn new_token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_LEN];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The token, and the address that requests must name.
pub(super) struct Access {
    token: String,
    address: SocketAddr,
}

impl Access {
    pub(super) fn new(token: String, address: SocketAddr) -> Self {
        Access { token, address }
    }

    /// Returns whether a text is the token. The time that this takes does not depend on where they differ.
    fn is_token(&self, text: &str) -> bool {
        let differing = text.bytes().zip(self.token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        text.len() == self.token.len() && differing == 0
    }

    /// Returns whether a `Host` is this server: a name of the loopback interface, or, if it listens on others, any
    /// address. A name could be one that an attacker has pointed here.
    fn is_host(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, "80"),
        };
        if port.parse() != Ok(self.address.port()) {
            return false;
        }
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match bare.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || !self.address.ip().is_loopback(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Why a request is refused, if it is.
    pub(super) fn refusal(
        &self,
        method: &Method,
        query: &str,
        headers: &HeaderMap,
    ) -> Option<&'static str> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(header::HOST).is_some_and(|host| self.is_host(host)) {
            return Some("the Host of this request is not this server");
        }
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let token = parameter(query, "token").or(bearer);
        if !token.is_some_and(|token| self.is_token(token)) {
            return Some("the token is missing or wrong; use the URL that the program has printed");
        }
        let origin = text(header::ORIGIN).map(|origin| origin.strip_prefix("http://"));
        let foreign = origin.is_some_and(|host| !host.is_some_and(|host| self.is_host(host)));
        (method != Method::GET && foreign).then_some("this request comes from another web site")
    }
}

/// Returns the value of a parameter of a query.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_server_is_a_host() {
        let local = Access::new("t".to_owned(), "127.0.0.1:8080".parse().expect("an address"));
        for host in
            ["127.0.0.1:8080", "localhost:8080", "LocalHost:8080", "[::1]:8080", "127.9.9.9:8080"]
        {
            assert!(local.is_host(host), "{host}");
        }
        let others = [
            "127.0.0.1",
            "127.0.0.1:80",
            "evil.example:8080",
            "localhost.evil.example:8080",
            "10.0.0.1:8080",
            "",
            ":8080",
            "[::1]",
        ];
        for host in others {
            assert!(!local.is_host(host), "{host}");
        }
        let open = Access::new("t".to_owned(), "0.0.0.0:80".parse().expect("an address"));
        assert!(
            open.is_host("10.0.0.1") && open.is_host("10.0.0.1:80") && open.is_host("[fe80::1]")
        );
        assert!(!open.is_host("evil.example"));
    }

    #[test]
    fn a_request_needs_the_whole_token() {
        let access = Access::new("abcd".to_owned(), "127.0.0.1:1".parse().expect("an address"));
        let refused =
            |query: &str, pairs: &[(header::HeaderName, &'static str)], method: &Method| {
                let host = (header::HOST, "127.0.0.1:1");
                let headers = std::iter::once(&host).chain(pairs);
                let headers = headers
                    .map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value)));
                access.refusal(method, query, &headers.collect()).is_some()
            };
        assert!(!refused("a=1&token=abcd", &[], &Method::GET));
        assert!(!refused("", &[(header::AUTHORIZATION, "Bearer abcd")], &Method::POST));
        for query in
            ["", "token=", "token=abc", "token=abcde", "token=abce", "nottoken=abcd", "token"]
        {
            assert!(refused(query, &[], &Method::GET), "{query}");
        }
        let origin = |value| [(header::ORIGIN, value)];
        assert!(refused("token=abcd", &origin("http://evil.example:1"), &Method::POST));
        assert!(refused("token=abcd", &origin("null"), &Method::POST));
        assert!(!refused("token=abcd", &origin("http://127.0.0.1:1"), &Method::POST));
    }

    #[test]
    fn tokens_differ() {
        let [a, b] = [(); 2].map(|()| new_token().expect("the kernel has random bytes"));
        assert!(a.len() == 2 * TOKEN_LEN && a != b);
    }
}
