//! The parts of workers: threads, stacks and descriptors, and tasks that change them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use procession_tests::tasks::square;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, Pool, Process, initializer, worker};

conformance! {
    EVERY => [
        a_worker_has_the_stack_of_a_main_thread,
        nothing_is_opened_where_standard_streams_are_closed,
    ];
    PROCESSES => [
        a_main_thread_that_ends_by_itself_is_told,
        a_main_thread_that_ends_by_itself_in_an_initializer_is_told,
        a_main_thread_that_ends_by_itself_is_told_whatever_its_name_is,
        a_task_may_close_all_fds_and_open_files,
    ];
    &[StartMethod::Thread] => [a_worker_thread_that_ends_by_itself_is_told];
}

/// Uses `kib` KiB of the stack.
#[worker]
fn deep(kib: usize) -> u64 {
    fn descend(left: usize) -> u64 {
        let here = std::hint::black_box([left as u8; 1024]);
        if left == 0 { 0 } else { descend(left - 1) + u64::from(here[left % 1024]) }
    }
    descend(kib)
}

#[allow(unsafe_code, reason = "what is tested")]
fn end_this_thread() -> ! {
    // SAFETY: none; the thread ends without unwinding.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// Ends its thread, while another one continues.
#[worker]
fn end_thread(x: u64) -> u64 {
    if x == 3 {
        std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
        end_this_thread()
    }
    x * x
}

/// The same, after its thread got a name that is no text.
#[allow(unsafe_code, reason = "names the process")]
#[worker]
fn end_unreadable(x: u64) -> u64 {
    // SAFETY: the name is a string of C.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"\xC3".as_ptr()) };
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
    if x == 3 { end_this_thread() } else { x * x }
}

/// Ends its thread, which is the only one.
#[worker]
fn end_only_thread() {
    end_this_thread()
}

#[initializer]
fn end_in_it() -> u64 {
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
    end_this_thread()
}

/// Closes all descriptors except the standard streams, and opens as many files as were open. Returns
/// their contents after a while.
#[worker]
#[allow(unsafe_code, reason = "what is tested")]
fn close_all(round: u64) -> u64 {
    thread_local! {
        static FILES: std::cell::RefCell<Vec<File>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    FILES.with_borrow_mut(|files| {
        if files.is_empty() {
            // SAFETY: none; the descriptors do not belong to this task.
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
            files.extend((0..20).map(|_| tempfile::tempfile().unwrap()));
        }
        let lens = files.iter_mut().map(|file| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes.len() as u64
        });
        assert_eq!(lens.sum::<u64>(), 0, "someone wrote to these files");
    });
    round
}

fn a_worker_has_the_stack_of_a_main_thread(method: StartMethod) {
    // Requires a limit of 8 MiB, which nearly all systems have; debug builds need twice the requested
    // size.
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_STACK);
    if limit.unwrap().0 < 8 << 20 {
        return;
    }
    assert!(pool(method, 1).apply(deep, 2 << 10).unwrap() > 0);
}

fn a_main_thread_that_ends_by_itself_is_told_whatever_its_name_is(method: StartMethod) {
    let error = pool(method, 1).apply(end_unreadable, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exited, "{error}");
    assert!(error.to_string().contains("main thread"), "{error}");
}

fn a_main_thread_that_ends_by_itself_is_told(method: StartMethod) {
    let pool = pool(method, 2);
    let outcomes = pool.map_all(end_thread, 0..6);
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!(value, x * x),
            Err(error) => {
                assert_eq!((x, error.kind()), (3, ErrorKind::Exited), "{error}");
                assert!(error.to_string().contains("main thread"), "{error}");
            }
        }
    }
    let handle = pool.submit(end_thread, 3);
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Exited);
    // Without other threads the kernel reports the end immediately.
    assert_eq!(pool.apply(end_only_thread, ()).unwrap_err().exit_code(), Some(0));
    assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
    let child = Process::builder().start_method(method).spawn(end_thread, 3).unwrap();
    assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Exited);
}

fn a_main_thread_that_ends_by_itself_in_an_initializer_is_told(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2);
    let error = builder.initializer(end_in_it, ()).build().unwrap_err();
    assert!(error.to_string().contains("main thread"), "{error}");
}

fn a_worker_thread_that_ends_by_itself_is_told(method: StartMethod) {
    let pool = pool(method, 2);
    let error = pool.apply(end_only_thread, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exited, "{error}");
    assert_eq!(pool.map(square, 0..50).unwrap()[49], 2401);
    drop(pool);
    // Resources of such a thread are lost, so this test does not check what is left.
    println!("the test is through and left nothing");
    std::process::exit(0)
}

fn a_task_may_close_all_fds_and_open_files(method: StartMethod) {
    let pool = pool(method, 2);
    for round in 0..50 {
        // No thread waits in a call, so the dispatcher has to be woken.
        let handles: Vec<_> = (0..4).map(|_| pool.submit(close_all, round)).collect();
        let done = wait::until(Duration::from_secs(20), || handles.iter().all(|h| h.is_done()));
        assert!(done, "round {round}");
        for handle in handles {
            assert_eq!(handle.wait().unwrap(), round);
        }
    }
    pool.join();
}

/// The standard streams, which are closed until this value is dropped.
struct Away([OwnedFd; 3]);

#[allow(unsafe_code, reason = "standard streams are closed and put back")]
impl Away {
    fn put() -> Self {
        Away([0, 1, 2].map(|number| {
            // SAFETY: the streams have no owner, and this value owns the copies.
            unsafe {
                let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
                assert!(copy >= 3);
                libc::close(number);
                OwnedFd::from_raw_fd(copy)
            }
        }))
    }
}

#[allow(unsafe_code, reason = "standard streams are put back")]
impl Drop for Away {
    fn drop(&mut self) {
        for (number, copy) in (0..).zip(&self.0) {
            // SAFETY: as above.
            unsafe { libc::dup2(copy.as_raw_fd(), number) };
        }
    }
}

fn nothing_is_opened_where_standard_streams_are_closed(method: StartMethod) {
    let away = Away::put();
    let open = || -> Vec<String> {
        let link = |number| std::fs::read_link(format!("/proc/self/fd/{number}"));
        (0..3).filter_map(|number| Some(link(number).ok()?.display().to_string())).collect()
    };
    let begun = Instant::now();
    let pool = Pool::builder().start_method(method).workers(2).build();
    let mut seen = open();
    let squares = pool.as_ref().ok().map(|pool| {
        let squares = pool.map(square, 0..50);
        let handle = pool.submit(square, 3);
        seen.extend(open());
        let other = pool.resize(3);
        while pool.workers().len() < 3 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        seen.extend(open());
        (squares, handle.wait(), other)
    });
    let error = pool.as_ref().err().map(ToString::to_string);
    drop(pool);
    drop(away);
    assert_eq!(error, None);
    // Descriptors of directories or files that are being read are ignored.
    seen.retain(|file| !file.starts_with("/proc"));
    assert_eq!(seen, [] as [&str; 0]);
    let (squares, one, resized) = squares.unwrap();
    assert_eq!((squares.unwrap()[49], one.unwrap()), (2401, 9));
    resized.unwrap();
}
