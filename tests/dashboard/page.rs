//! Who may ask, and what is answered.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use procession_tests::http::{request, send};
use procession_tests::tasks::square;
use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, dashboard};

use crate::watched::{Watched, ask, parts, serve};

conformance! {
    ONCE => [
        a_request_needs_the_token_and_the_host,
        a_page_stands_alone,
        an_address_that_is_none_is_refused,
        a_port_in_use_is_named,
        there_is_a_limit_to_streams,
    ];
    EVERY => [downloads_are_complete, a_dropped_dashboard_ends_its_streams];
}

fn a_request_needs_the_token_and_the_host(_: StartMethod) {
    let dashboard = serve();
    let (address, token) = parts(dashboard.url());
    let good = format!("token={token}");
    let paths = ["/", "/events", "/report", "/pools/1/trace", "/nothing"];
    let ask = |method: &str, path: &str, query: &str, headers: &[(&str, &str)]| {
        send(address, method, &format!("{path}?{query}"), headers, "").status
    };
    let other = format!("evil.example:{}", address.port());
    for path in paths {
        for query in
            ["", "token=", "token=0123456789abcdef0123456789abcdef", &good[..good.len() - 1]]
        {
            assert_eq!(ask("GET", path, query, &[]), 403, "{path}?{query}");
        }
        for host in ["evil.example", &other, "127.0.0.1:1", ""] {
            assert_eq!(ask("GET", path, &good, &[("host", host)]), 403, "{path} of {host}");
        }
    }
    for path in ["/pools/1/workers", "/pools/1/calls/1/cancel"] {
        assert_eq!(ask("POST", path, "count=3", &[]), 403);
        let foreign = [("origin", "http://evil.example")];
        assert_eq!(ask("POST", path, &good, &foreign), 403);
        assert_eq!(ask("POST", path, &good, &[("host", &other)]), 403);
        assert_eq!(ask("GET", path, &good, &[]), 405, "an action is no link");
    }
    assert_eq!(ask("GET", "/", &good, &[]), 200);
    let local = format!("localhost:{}", address.port());
    assert_eq!(ask("GET", "/", &good, &[("host", &local)]), 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(ask("GET", "/", "", &[("authorization", &bearer)]), 200);
    assert_eq!(ask("GET", "/nothing", &good, &[]), 404);
}

fn a_page_stands_alone(_: StartMethod) {
    let dashboard = serve();
    let answer = ask(&dashboard, "GET", "/");
    let page = answer.text();
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(!page.contains("{{"), "everything is filled in");
    for outside in ["http://", "https://", "src=\"", "@import", "url("] {
        assert!(!page.contains(outside), "it needs {outside}");
    }
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'nonce-"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(ask(&dashboard, "GET", "/").header("content-security-policy"), Some(policy));
    assert!(!format!("{dashboard:?}").contains("token"));
}

fn an_address_that_is_none_is_refused(_: StartMethod) {
    for address in ["", "here", "127.0.0.1", "127.0.0.1:99999", "300.0.0.1:80", "127.0.0.1:0/path"]
    {
        let error = dashboard::serve(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = error.to_string();
        assert!(
            text.contains(&format!("{address:?}")) && text.contains("127.0.0.1:8080"),
            "{text}"
        );
    }
    assert!(dashboard::serve("localhost:0").unwrap().url().starts_with("http://127.0.0.1:"));
    assert!(dashboard::serve("[::1]:0").is_ok_and(|it| it.address().is_ipv6()));
}

fn a_port_in_use_is_named(_: StartMethod) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = dashboard::serve(&address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
}

fn there_is_a_limit_to_streams(_: StartMethod) {
    let dashboard = serve();
    let (address, token) = parts(dashboard.url());
    let open = || send(address, "GET", &format!("/events?token={token}"), &[], "");
    let mut streams: Vec<_> = (0..16).map(|_| open()).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));
    assert_eq!(open().status, 503);
    assert_eq!(ask(&dashboard, "GET", "/").status, 200, "other requests are answered");
    streams.pop();
    assert!(wait::until(Duration::from_secs(10), || open().status == 200));
}

fn downloads_are_complete(method: StartMethod) {
    let dashboard = serve();
    let pool = pool(method, 2);
    pool.map(square, 0..10_000).unwrap();
    let mut watched = Watched::new(&dashboard);
    watched.until(|it| !it.all("pool/").is_empty());
    let id = watched.all("pool/")[0]["id"].as_u64().unwrap();
    let get = |path: &str| {
        let answer = ask(&dashboard, "GET", &format!("/pools/{id}/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    };
    let report = get("report");
    assert!(report.header("content-disposition").is_some_and(|it| it.starts_with("attachment")));
    let report = report.text();
    assert!(
        report.contains("<svg ")
            && report.contains("tasks::square")
            && report.ends_with("</html>\n")
    );
    assert!(!report.contains("<script") && !report.contains("https://"), "it stands alone");
    assert!(get("timeline.svg").text().starts_with("<svg "));
    let trace = get("trace").body;
    assert!(trace.windows(8).any(|bytes| bytes == b"worker 0"));
    assert!(ask(&dashboard, "GET", "/report").text().contains("tasks::square"));
    for path in ["/pools/9999/trace", "/pools/9999/report", "/pools/9999/timeline.svg"] {
        assert_eq!(ask(&dashboard, "GET", path).status, 404);
    }
    assert_eq!(ask(&dashboard, "GET", "/pools/x/trace").status, 400);
}

fn a_dropped_dashboard_ends_its_streams(method: StartMethod) {
    let dashboard = serve();
    let address: SocketAddr = dashboard.address();
    // Under `Fork` its processes begin as copies of this one, with its sockets.
    let before = pool(method, 2);
    let mut watched = Watched::new(&dashboard);
    let after = pool(method, 1);
    drop(dashboard);
    while watched.next() {}
    assert!(TcpListener::bind(address).is_ok(), "nobody has the port any more");
    let squares = |pool: &runtime::Pool| pool.map(square, 0..100).unwrap();
    assert_eq!(squares(&before), squares(&after), "pools go on");
    let again = dashboard::serve(&address.to_string()).unwrap();
    assert_eq!(request(address, "GET", "/", &[], "").status, 403);
    assert_eq!(ask(&again, "GET", "/").status, 200);
}
