//! Servers that require TLS or an NKey.

use std::process::{Command, Stdio};

use procession_tests::tasks::square;
use procession_tests::{ONCE, StartMethod, conformance};
use runtime::{ErrorKind, Pool};
use tempfile::TempDir;

use crate::hosts::{Server, is_skipped};

conformance! {
    ONCE => [tls_is_used_and_checked, an_nkey_is_used];
}

/// Sets a variable for this process and for the agents of a server.
fn set(server: &mut Server, name: &'static str, value: String) {
    #[allow(unsafe_code, reason = "this process has one thread")]
    // SAFETY: no other thread reads the environment.
    unsafe {
        std::env::set_var(name, &value);
    }
    server.env.push((name, value));
}

fn tls_is_used_and_checked(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: openssl makes no certificate, so that TLS is NOT tested");
        return;
    }
    let tls =
        format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", path("cert.pem"), path("key.pem"));
    let mut server = Server::on("localhost", &[&tls]);
    server.scheme = "tls";
    let error = server.builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    set(&mut server, "PROCESSION_NATS_CA", path("cert.pem"));
    let _agent = server.agent(1);
    assert_eq!(server.pool(1).apply(square, 3).unwrap(), 9);
}

/// A key that exists for this test only.
const SEED: &str = "SUAAAL7AG6QBIQVRIPA4VELGU24AKV7K7DXUWUTXPKVGR6L5IZHZZF5R6A";
const KEY: &str = "UC7R7UPVVYAGKVYCV4AD23AJHPAX2FG6NPPY37ICHURCNXK5MYMTBAD4";

fn an_nkey_is_used(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let mut server = Server::with(&[&format!("authorization {{ users: [ {{ nkey: {KEY} }} ] }}")]);
    let error = server.builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("PROCESSION_NATS_NKEY"), "{error}");
    let path = server.path().join("seed");
    let text = path.display().to_string();
    set(&mut server, "PROCESSION_NATS_NKEY", text);
    let error = Pool::builder().cluster(server.url()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("cannot be used"), "{error}");
    std::fs::write(path, format!("{SEED}\n")).unwrap();
    let _agent = server.agent(1);
    assert_eq!(server.pool(1).apply(square, 3).unwrap(), 9);
}
