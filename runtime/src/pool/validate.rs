//! The validation of the settings of a pool.

use super::PoolBuilder;
use crate::config::{self, StartMethod};
use crate::engine::Settings;
use crate::error::{Error, ErrorKind, Result};

/// Variables by which libraries are told how many threads to start.
const NUMBERS_OF_THREADS: [&str; 9] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
];

impl PoolBuilder {
    pub(super) fn validate(self) -> Result<Settings> {
        if let Some(error) = self.error {
            return Err(error);
        }
        #[cfg(feature = "cluster")]
        let this = self.with_cluster_settings();
        #[cfg(not(feature = "cluster"))]
        let this = self;
        let PoolBuilder { mut settings, method, inner_threads, .. } = this;
        settings.method = match method {
            // The workers of this process are threads that forward their chunks.
            _ if settings.uses_hosts() => StartMethod::Thread,
            Some(method) => method,
            None => config::fix_start_method()?,
        };
        let bad = |text: String| Err(Error::new(ErrorKind::Configuration, text));
        if settings.limits.workers == 0 {
            return bad("a pool needs at least one worker; give workers(n) with n > 0".to_owned());
        }
        if settings.limits.workers > crate::queue::MAX_WORKERS {
            return bad(format!(
                "a pool has at most {} workers; {} were asked for",
                crate::queue::MAX_WORKERS,
                settings.limits.workers
            ));
        }
        match settings.concurrency {
            0 => {
                let text = "concurrency(0) lets no worker run a task; give 1 or more";
                return bad(text.to_owned());
            }
            tasks => match settings.limits.workers.checked_mul(tasks) {
                Some(lanes) if lanes <= crate::queue::MAX_WORKERS => {
                    settings.limits.workers = lanes
                }
                _ => {
                    return bad(format!(
                        "a pool runs at most {} tasks at the same time; {} workers with \
                         concurrency({tasks}) were asked for",
                        crate::queue::MAX_WORKERS,
                        settings.limits.workers
                    ));
                }
            },
        }
        if settings.name.contains('\0') {
            return bad(format!(
                "the name {:?} has a NUL, which no thread or process can have in its name",
                settings.name
            ));
        }
        if let Some(threads) = inner_threads {
            if threads == 0 {
                return bad(
                    "inner_threads(0) would leave a library no thread; give 1 or more".to_owned()
                );
            }
            if settings.method == StartMethod::Thread && !settings.uses_hosts() {
                return bad(Settings::for_processes("inner_threads(..)"));
            }
            // If a variable has two values, the later one counts.
            let variables =
                NUMBERS_OF_THREADS.map(|name| (name.into(), threads.to_string().into()));
            settings.env.splice(0..0, variables);
        }
        if let Some(text) = settings.unreasonable() {
            return bad(text);
        }
        if crate::worker::depth() >= super::MOST_NESTED {
            return Err(Error::new(
                ErrorKind::NestedTooDeep,
                format!(
                    "pools are nested {} deep, which is the limit; let the outer pool do the inner one's work",
                    super::MOST_NESTED
                ),
            ));
        }
        Ok(settings)
    }
}
