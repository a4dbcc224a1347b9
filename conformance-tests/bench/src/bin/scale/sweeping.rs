//! The sweep of a large store, of which a tenth is past its time.
//!
//! Above that share the rounds of the ready server's sweep get shorter: so a tenth is where a busy store settles.

use std::time::{Duration, Instant};

use grantor::AuthorizationServer;
use grantor_bench::contender::Fatal;
use grantor_bench::process::scheduled;
use serde::{Deserialize, Serialize};

use crate::cost::processor_time;

/// A walk is cut after so many steps: what is due is spread over the whole store, so a part says as much as the whole.
const STEPS: usize = 500;
/// And after so long.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// What a walk through the store took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sweeping {
    /// How many a step looks at.
    pub(crate) budget: usize,
    pub(crate) examined: usize,
    pub(crate) removed: usize,
    /// Whether it came to the end of the store.
    pub(crate) whole: bool,
    /// Processor time, of the server and of Redis, seconds.
    pub(crate) cpu: f64,
    /// Processor time of the server for one that was removed, with all that were looked at for it; microseconds.
    pub(crate) cpu_per_removed: f64,
    /// The same of Redis.
    pub(crate) redis_per_removed: f64,
    /// How long steps took, in milliseconds.
    pub(crate) step_p50: f64,
    pub(crate) step_p99: f64,
    pub(crate) step_longest: f64,
}

impl Sweeping {
    /// Processor time of a walk through a store of so many records, seconds.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) fn cpu_of_all(&self, records: u64) -> f64 {
        if self.whole { self.cpu } else { self.cpu * records as f64 / self.examined.max(1) as f64 }
    }
}

/// Walks through the store.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) async fn walk(
    server: &AuthorizationServer,
    redis: Option<u32>,
) -> Result<Sweeping, Fatal> {
    let budget = grantor_server::sweep::Sweeper::default().budget;
    let redis_time =
        || redis.map_or(Ok(Duration::ZERO), |pid| scheduled(pid).map(|scheduled| scheduled.ran));
    let (before, redis_before, began) = (processor_time(), redis_time()?, Instant::now());
    let (mut cursor, mut examined, mut removed) = (None, 0, 0);
    let mut steps = Vec::new();
    loop {
        let step = Instant::now();
        let swept = server.sweep(cursor.as_ref(), budget).await?;
        steps.push(step.elapsed());
        examined += swept.examined;
        removed += swept.removed;
        cursor = swept.next;
        if cursor.is_none() || steps.len() == STEPS || began.elapsed() > LONG_ENOUGH {
            break;
        }
    }
    let took = processor_time() - before;
    let redis_took = redis_time()? - redis_before;
    steps.sort_unstable();
    let step = |of_hundred: usize| {
        let step = steps.get(steps.len() * of_hundred / 100).or(steps.last());
        step.map_or(0.0, |step| step.as_secs_f64() * 1e3)
    };
    let each = 1e6 / removed.max(1) as f64;
    Ok(Sweeping {
        budget,
        examined,
        removed,
        whole: cursor.is_none(),
        cpu: (took + redis_took).as_secs_f64(),
        cpu_per_removed: took.as_secs_f64() * each,
        redis_per_removed: redis_took.as_secs_f64() * each,
        step_p50: step(50),
        step_p99: step(99),
        step_longest: step(100),
    })
}
