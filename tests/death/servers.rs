//! The cost of the death of a server or of a template.

use nix::sys::signal::Signal;
use procession_tests::{SERVED, StartMethod, conformance, pool, processes, wait};
use runtime::ErrorKind;

use super::{pids, square};

conformance! {
    SERVED => [a_server_that_is_killed_is_replaced];
    &[StartMethod::Fork] => [a_template_killed_with_its_standby_is_told];
}

/// FS-01.
fn a_server_that_is_killed_is_replaced(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..2 {
        let server = processes::children(std::process::id())
            .into_iter()
            .find(|entry| !entry.is_zombie() && !pids(&pool).contains(&entry.pid));
        let Some(server) = server else {
            // The parent of a standby that has replaced its template is not a process of this test.
            break;
        };
        processes::signal(server.pid, Signal::SIGINT);
        assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401, "it hears no interrupt");
        processes::signal(server.pid, Signal::SIGKILL);
        wait::for_it("it is gone", || !processes::is_alive(server.pid));
        let outcomes = pool.map_all(square, 0..200);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!(value, x * x),
                // Workers end with their server.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Signaled, "{error}"),
            }
        }
        wait::for_it("it serves again", || {
            pool.workers().len() == 2 && pool.map(square, 0..3).is_ok()
        });
    }
}

fn a_template_killed_with_its_standby_is_told(method: StartMethod) {
    let pool = pool(method, 2);
    assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    let workers = pids(&pool);
    let servers = || -> Vec<u32> {
        let below = processes::descendants(std::process::id()).into_iter();
        below.map(|entry| entry.pid).filter(|pid| !workers.contains(pid)).collect()
    };
    wait::for_it("there is a standby", || servers().len() == 2);
    let servers = servers();
    // Neither of the two notices the end of the other.
    servers.iter().for_each(|pid| processes::signal(*pid, Signal::SIGSTOP));
    servers.iter().for_each(|pid| processes::signal(*pid, Signal::SIGKILL));
    wait::for_it("its workers end", || workers.iter().all(|pid| !processes::is_alive(*pid)));
    for _ in 0..2 {
        let error = pool.map(square, 0..50).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Start, "{error}");
        assert!(error.to_string().ends_with("build another pool"), "{error}");
    }
}
