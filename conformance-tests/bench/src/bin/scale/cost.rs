//! What a request costs: processor time of this process, in which the server and its store are, and of Redis.

use std::time::Duration;

use bytes::Bytes;
use grantor::AuthorizationServer;
use grantor::resource::Guard;
use grantor_bench::contender::Fatal;
use grantor_bench::embedded::Read;
use grantor_bench::process::scheduled;
use http::{Request, Response};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use grantor_bench::flow::wrong;

/// Requests are sent in so many parts; what is told is the median of them.
const PARTS: usize = 5;

/// The processor time of one request, in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) request: String,
    pub(crate) requests: usize,
    pub(crate) server: f64,
    pub(crate) redis: f64,
}

/// All threads of this process.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Who answers: the server, or the guard of a resource.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Server(AuthorizationServer),
    Resource(Guard),
}

impl Target {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self {
            Self::Server(server) => server.handle(request).await,
            Self::Resource(guard) => {
                let checked = guard.check_for::<Read>(request.headers(), request.uri()).await;
                checked.map_or_else(|refused| refused, |_| Response::new(Bytes::new()))
            }
        }
    }
}

/// Sends requests, so many at once, and returns the answers.
pub(crate) async fn send(
    target: &Target,
    requests: Vec<Request<Bytes>>,
    at_once: usize,
) -> Result<Vec<Response<Bytes>>, Fatal> {
    let mut shares: Vec<Vec<_>> = (0..at_once).map(|_| Vec::new()).collect();
    for (share, request) in (0..at_once).cycle().zip(requests) {
        shares.get_mut(share).ok_or("no share")?.push(request);
    }
    let mut senders = JoinSet::new();
    for share in shares {
        let target = target.clone();
        senders.spawn(async move {
            let mut answers = Vec::with_capacity(share.len());
            for request in share {
                answers.push(target.answer(request).await);
            }
            answers
        });
    }
    let mut answers = Vec::new();
    while let Some(share) = senders.join_next().await {
        answers.extend(share?);
    }
    Ok(answers)
}

/// Measures requests of one kind. Each answer is to have this status and this text in it.
pub(crate) async fn measure(
    name: &str,
    target: &Target,
    mut requests: Vec<Request<Bytes>>,
    at_once: usize,
    redis: Option<u32>,
    right: (u16, &[u8]),
) -> Result<(Cost, Vec<Response<Bytes>>), Fatal> {
    let count = requests.len();
    let (mut server, mut others, mut all) = (Vec::new(), Vec::new(), Vec::with_capacity(count));
    let redis_time =
        || redis.map_or(Ok(Duration::ZERO), |pid| scheduled(pid).map(|scheduled| scheduled.ran));
    for part in (1..=PARTS).rev() {
        let rest = requests.split_off(requests.len() / part);
        let sent = std::mem::replace(&mut requests, rest);
        let each = 1e6 / f64::from(u32::try_from(sent.len())?);
        let before = (processor_time(), redis_time()?);
        let answers = send(target, sent, at_once).await?;
        server.push((processor_time() - before.0).as_secs_f64() * each);
        others.push((redis_time()? - before.1).as_secs_f64() * each);
        for answer in &answers {
            if answer.status() != right.0 || memchr::memmem::find(answer.body(), right.1).is_none()
            {
                return Err(format!("{name}: {}", wrong(answer)).into());
            }
        }
        all.extend(answers);
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(PARTS / 2).copied().unwrap_or_default()
    };
    let (server, redis) = (middle(server), middle(others));
    Ok((Cost { request: name.to_owned(), requests: count, server, redis }, all))
}
