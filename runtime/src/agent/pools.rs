//! The pools of an agent, one for each setup that programs ask for.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::cluster::PoolSetup;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// The number of pools that are kept.
const MOST: usize = 4;

/// A pool, and when it was last used, as a count of uses.
struct KeptPool {
    pool: Arc<Pool>,
    used: u64,
}

/// The pools by the hashes of their setups.
pub(super) struct Pools {
    workers: usize,
    kept: Mutex<(HashMap<u64, KeptPool>, u64)>,
}

impl Pools {
    /// Starts the pool of programs that have no special settings.
    ///
    /// # Errors
    ///
    /// Returns the errors of starting a pool.
    pub(super) fn new(workers: usize) -> Result<Self> {
        let setup = PoolSetup::default();
        let hash = setup.hash();
        let pool = Arc::new(start(workers, setup)?);
        let kept = HashMap::from([(hash, KeptPool { pool, used: 0 })]);
        Ok(Pools { workers, kept: Mutex::new((kept, 0)) })
    }

    /// Returns the pool of a setup. If it does not run, starts it with the setup that `ask` gets.
    ///
    /// # Errors
    ///
    /// Returns the errors of starting a pool, and those of `ask`.
    pub(super) async fn get(
        &self,
        hash: u64,
        ask: impl Future<Output = Result<PoolSetup>>,
    ) -> Result<Arc<Pool>> {
        let mut kept = self.kept.lock().await;
        let (pools, uses) = &mut *kept;
        *uses += 1;
        if let Some(kept) = pools.get_mut(&hash) {
            kept.used = *uses;
            return Ok(Arc::clone(&kept.pool));
        }
        let (setup, workers) = (ask.await?, self.workers);
        let started = tokio::task::spawn_blocking(move || start(workers, setup)).await;
        let pool = started
            .map_err(|error| Error::start(format!("starting a pool has panicked: {error}")))??;
        let pool = Arc::new(pool);
        pools.insert(hash, KeptPool { pool: Arc::clone(&pool), used: *uses });
        if pools.len() > MOST
            && let Some(oldest) =
                pools.iter().min_by_key(|(_, kept)| kept.used).map(|(hash, _)| *hash)
        {
            let oldest = pools.remove(&oldest);
            // Waits for its workers, if no chunk uses it any more.
            tokio::task::spawn_blocking(move || drop(oldest));
        }
        Ok(pool)
    }
}

fn start(workers: usize, setup: PoolSetup) -> Result<Pool> {
    Pool::builder().workers(workers).name("agent").with_setup(setup)?.build()
}
