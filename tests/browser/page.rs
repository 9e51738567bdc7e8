//! What people see and do.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::square;
use procession_tests::{ONCE, StartMethod, conformance, processes};
use runtime::{ErrorKind, Pool, dashboard, initializer, worker};

use crate::driver::{Browser, skip};

conformance! {
    ONCE => [
        a_map_runs_and_its_bar_moves,
        a_killed_worker_says_by_what,
        a_cut_stream_reconnects,
        a_call_is_cancelled_with_the_keyboard,
        a_pool_is_resized,
        axe_finds_nothing_serious,
    ];
}

/// Waits until there is a file.
#[worker]
fn gate(path: PathBuf) -> u64 {
    while !path.exists() && path.parent().is_some_and(Path::exists) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn render(frame: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(40 + frame % 7 * 20));
    assert!(frame % 61 != 60, "frame {frame} has no pixels");
    frame
}

#[worker]
fn encode(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

#[initializer]
fn load_scene() {
    std::thread::sleep(Duration::from_millis(5));
}

fn pool(method: StartMethod, workers: usize) -> Pool {
    let builder = Pool::builder().start_method(method).workers(workers).name("frames");
    builder.build().expect("the pool starts")
}

/// The value of the bar of the call that was made first.
const BAR: &str =
    "Number(document.querySelector('.calls li:last-child [role=progressbar]')?.ariaValueNow ?? -1)";

fn a_map_runs_and_its_bar_moves(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let pool = pool(method, 2);
    let Some(browser) = Browser::start(false) else { return };
    browser.open(dashboard.url());
    browser.until("document.querySelector('#status').dataset.state === 'live'");
    browser.until("document.querySelector('h2').textContent === 'Pool frames'");
    let files: Vec<PathBuf> = (0..4).map(|at| folder.path().join(at.to_string())).collect();
    let handle = pool.task(gate).chunk_size(1).progress("All frames").map_async(&files);
    for (at, file) in files.iter().enumerate() {
        browser.until(&format!("{BAR} === {}", at * 25));
        fs::write(file, "").unwrap();
    }
    browser.until(&format!("{BAR} === 100"));
    assert_eq!(handle.wait().unwrap().len(), 4);
    let text = browser.run("return document.querySelector('.calls li').innerText");
    let text = text.as_str().unwrap();
    assert!(text.contains("All frames") && text.contains("4 of 4"), "{text}");
    browser.until("document.querySelector('.calls .bar.over')");
    browser.until(
        "[...document.querySelectorAll('td.function')].some(it => it.innerText.endsWith('::gate'))",
    );
    let busy =
        "[...document.querySelectorAll('canvas')].some(it => /busy for [1-9]/.test(it.ariaLabel))";
    browser.until(busy);
}

fn a_killed_worker_says_by_what(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let pool = pool(method, 1);
    let Some(browser) = Browser::start(false) else { return };
    browser.open(dashboard.url());
    let handle = pool.submit(gate, folder.path().join("never"));
    browser.until("document.querySelector('td.doing')?.textContent.endsWith('::gate')");
    let pid = browser.run("return document.querySelector('td[data-label=Pid]').textContent");
    let pid: u32 = pid.as_str().unwrap().parse().unwrap();
    assert_eq!(pid, pool.workers()[0].pid());
    processes::signal(pid, Signal::SIGKILL);
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Signaled);
    browser.until(
        "document.querySelector('td.death').textContent === 'was killed by signal 9 (SIGKILL)'",
    );
    browser.until(&format!("document.querySelector('td[data-label=Pid]').textContent !== '{pid}'"));
    browser.until("document.querySelector('.warnings').textContent.includes('SIGKILL')");
}

/// Passes bytes on between a browser and a dashboard, until it is cut.
struct Proxy {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Proxy {
    fn start(to: std::net::SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if cut.load(Ordering::Acquire) {
                    continue;
                }
                let other = TcpStream::connect(to).unwrap();
                // The dashboard is told its own name.
                let host = (format!("127.0.0.1:{port}"), to.to_string());
                for (from, to, host) in [
                    (stream.try_clone().unwrap(), other.try_clone().unwrap(), Some(host)),
                    (other, stream, None),
                ] {
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || pass(from, to, host, &cut));
                }
            }
        });
        Proxy { port, is_cut }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, host: Option<(String, String)>, cut: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 65536];
    while !cut.load(Ordering::Acquire) {
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let written = match &host {
            // A request is short, and comes as one.
            Some((theirs, ours)) => {
                let text = String::from_utf8_lossy(&bytes[..count]).replace(theirs, ours);
                to.write_all(text.as_bytes())
            }
            None => to.write_all(&bytes[..count]),
        };
        if written.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

fn a_cut_stream_reconnects(method: StartMethod) {
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let pool = pool(method, 1);
    let Some(browser) = Browser::start(false) else { return };
    // In a process of its own, whose threads are not those of this test.
    let url = dashboard.url().to_owned();
    let address = dashboard.address();
    let proxy = std::thread::spawn(move || Proxy::start(address)).join().unwrap();
    browser.open(&url.replace(&address.port().to_string(), &proxy.port.to_string()));
    browser.until("document.querySelector('#status').dataset.state === 'live'");
    pool.map(square, 0..10).unwrap();
    browser.until("document.querySelector('.calls li')");
    proxy.is_cut.store(true, Ordering::Release);
    browser.until("document.querySelector('#status').dataset.state === 'lost'");
    assert!(
        browser
            .run("return document.querySelector('#status').textContent")
            .as_str()
            .unwrap()
            .contains("lost")
    );
    pool.map(square, 0..10).unwrap();
    proxy.is_cut.store(false, Ordering::Release);
    browser.until("document.querySelector('#status').dataset.state === 'live'");
    browser.until("document.querySelectorAll('.calls li').length === 2");
    drop(browser);
    // The threads of the proxy cannot be joined.
    drop((pool, dashboard));
    println!("the test is through and left nothing");
    std::process::exit(0);
}

fn a_call_is_cancelled_with_the_keyboard(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let pool = pool(method, 1);
    let Some(browser) = Browser::start(false) else { return };
    let file = folder.path().join("go on");
    let handle = pool.map_async(gate, vec![file.clone(); 20]);
    browser.open(dashboard.url());
    browser.until("document.querySelector('.calls button')");
    // Tab from the begin of the page until the button has the focus.
    let is_there = "return document.activeElement.textContent === 'Cancel'";
    let steps = (0..40).find(|_| {
        browser.press(&['\u{e004}']);
        browser.run(is_there) == true
    });
    assert!(steps.is_some(), "the button can be reached");
    browser.press(&['\u{e007}']);
    browser.until("document.querySelector('#notice').textContent.includes('were cancelled')");
    fs::write(&file, "").unwrap();
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    browser.until("document.querySelector('.calls .bar.bad')");
    browser.until("document.querySelector('.calls .failed').textContent.endsWith('failed')");
}

fn a_pool_is_resized(method: StartMethod) {
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let pool = pool(method, 1);
    let Some(browser) = Browser::start(false) else { return };
    browser.open(dashboard.url());
    browser.until("document.querySelectorAll('.workers tbody tr').length === 1");
    browser.run("document.querySelector('input[type=number]').value = 3; document.querySelector('form').requestSubmit()");
    browser.until("document.querySelectorAll('.workers tbody tr').length === 3");
    assert_eq!(pool.workers().len(), 3);
}

/// A pool at work, with all there is to show.
fn fill(pool: &Pool) {
    pool.map(encode, vec![3; 60]).unwrap();
    pool.map_all(render, 0..70).into_iter().for_each(drop);
    let busy = pool.submit(encode, 600_000);
    let pid = || pool.workers().iter().find(|worker| worker.task().is_some()).map(|it| it.pid());
    assert!(procession_tests::wait::until(Duration::from_secs(10), || pid().is_some()));
    processes::signal(pid().unwrap(), Signal::SIGKILL);
    assert!(busy.wait().is_err());
}

fn axe_finds_nothing_serious(method: StartMethod) {
    let Some(axe) = std::env::var_os("PROCESSION_AXE") else { return skip("axe") };
    let axe = fs::read_to_string(axe).unwrap();
    let dashboard = dashboard::serve("127.0.0.1:0").unwrap();
    let builder = Pool::builder().start_method(method).workers(4).name("frames");
    let pool = builder.initializer(load_scene, ()).build().unwrap();
    fill(&pool);
    let mut running = pool.task(render).progress("Frames of the second scene").map_async(0..40_000);
    for dark in [false, true] {
        let Some(browser) = Browser::start(dark) else { return };
        browser.open(dashboard.url());
        browser.until("document.querySelectorAll('.workers tbody tr').length === 4");
        browser.until("document.querySelectorAll('td.function').length >= 2");
        browser.until("document.querySelector('.warnings li')");
        std::thread::sleep(Duration::from_secs(3));
        for (width, height) in [(390, 1900), (900, 1300), (1500, 1100)] {
            browser.resize(width, height);
            browser.until("document.querySelector('.calls li')");
            std::thread::sleep(Duration::from_millis(600));
            browser.screenshot(&format!("{width}-{}", if dark { "dark" } else { "light" }));
            let wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
            assert_eq!(wide, false, "the page fits {width} pixels");
            browser.run(&format!("{axe}; return 1"));
            let found = browser.run_async(
                "const done = arguments[arguments.length - 1]; axe.run(document).then(it => done(it.violations.map(\
                 v => `${v.impact} ${v.id}: ${v.nodes.map(n => n.html + ' ' + n.any.map(c => c.message).join()).slice(0, 3).join(' | ')}`)))",
            );
            let found: Vec<String> = serde_json::from_value(found).unwrap();
            let is_serious = |it: &&String| it.starts_with("serious") || it.starts_with("critical");
            let serious: Vec<&String> = found.iter().filter(is_serious).collect();
            assert!(serious.is_empty(), "at {width}, dark: {dark}: {serious:#?}");
            println!("{width}, dark: {dark}: {found:?}");
        }
    }
    running.cancel();
}
