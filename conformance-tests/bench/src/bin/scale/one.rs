//! One store at one size, in a process of its own.

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use grantor::AuthorizationServer;
use grantor::resource::Guard;
use grantor::storage::{MemoryStorage, Storage};
use grantor_bench::contender::Fatal;
use grantor_bench::embedded::{self, StoppedClock};
use grantor_bench::process::{Process, redis};
use grantor_redis::RedisStorage;
use grantor_sled::SledConfig;
use http::Request;
use serde::{Deserialize, Serialize};

use crate::cost::{Cost, Target, measure, send};
use crate::space::Space;
use crate::sweeping::{Sweeping, walk};
use grantor_bench::fill::{
    FEW, Template, access_token, fill, issue_what_expires, made_in, refresh_token, user,
};
use grantor_bench::flow::{self, Client, Tokens, tokens_of};

/// How many requests of a kind are measured, where there are tokens for so many.
const REQUESTS: u64 = 20_000;
/// The request that makes most records in the least time.
pub(crate) const ISSUED: &str = "client_credentials";
/// So many are under way when a store is filled by requests: what is needed for them is in no figure.
const BATCH: usize = 500;
/// Longer than an access token and its record last, shorter than a refresh token does.
const LATER: Duration = Duration::from_secs(3 * 3600);

/// Where the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    Memory,
    Sled,
    Redis,
}

impl Store {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Sled, Self::Redis];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Redis => "redis",
        }
    }

    /// How many requests are under way at once; the memory store never waits.
    const fn at_once(self) -> usize {
        match self {
            Self::Memory => 1,
            Self::Sled | Self::Redis => 32,
        }
    }

    /// The same while it is filled.
    const fn writers(self) -> usize {
        match self {
            Self::Memory => 1,
            Self::Sled | Self::Redis => 256,
        }
    }
}

/// How the grants come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Made {
    /// Each of a user of its own.
    Own,
    /// Of a thousand users.
    Few,
    /// Each of a user of its own, by the requests of the flow. With each comes the memory of what was allowed.
    Flow,
}

impl Made {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Few => "few",
            Self::Flow => "flow",
        }
    }
}

/// What came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) store: Store,
    pub(crate) grants: u64,
    pub(crate) made: Made,
    pub(crate) fill_seconds: f64,
    /// Bytes of each grant: in the memory of the process, on the disk, in the memory of Redis.
    pub(crate) memory: f64,
    pub(crate) disk: f64,
    pub(crate) redis: f64,
    pub(crate) redis_keys: f64,
    pub(crate) costs: Vec<Cost>,
    pub(crate) sweeping: Option<Sweeping>,
    /// Processor time of a walk that finds nothing, seconds.
    pub(crate) idle_sweep: f64,
}

/// A store and what it needs.
struct Opened {
    storage: Arc<dyn Storage>,
    /// The process of Redis, and its address.
    redis: Option<(Process, String)>,
}

async fn open(store: Store, directory: &Path, sled_cache: Option<u64>) -> Result<Opened, Fatal> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(match store {
        Store::Memory => Opened { storage: Arc::new(MemoryStorage::new()), redis: None },
        Store::Sled => {
            let config = SledConfig::new();
            let config = sled_cache.map_or(config.clone(), |bytes| config.cache_capacity(bytes));
            Opened { storage: Arc::new(config.open(directory)?), redis: None }
        }
        Store::Redis => {
            // A rewrite of its file would be somewhere in the figures, and nobody would know where.
            let (process, url) = redis(directory, &["--auto-aof-rewrite-percentage", "0"])?;
            let storage = Arc::new(RedisStorage::open(&url).await?);
            Opened { storage, redis: Some((process, url)) }
        }
    })
}

/// A server, its client, and how many people have been there.
struct Run {
    store: Store,
    grants: u64,
    server: AuthorizationServer,
    client: Client,
    clock: StoppedClock,
    redis: Option<u32>,
}

impl Run {
    /// Codes for people who were never there before.
    async fn codes(&self, from: u64, count: u64) -> Result<Vec<String>, Fatal> {
        let mut people = tokio::task::JoinSet::new();
        let at_once = self.store.at_once() as u64;
        for first in from..from + at_once {
            let server = self.server.clone();
            people.spawn(async move {
                let mut codes = Vec::new();
                for number in (first..from + count).step_by(usize::try_from(at_once)?) {
                    codes.push(flow::first_code(&server, &user(number)).await?);
                }
                Ok::<_, Fatal>(codes)
            });
        }
        let mut codes = Vec::new();
        while let Some(some) = people.join_next().await {
            codes.extend(some??);
        }
        Ok(codes)
    }

    async fn exchange(&self, codes: &[String]) -> Result<Vec<Tokens>, Fatal> {
        let requests = codes.iter().map(|code| self.client.exchange(code));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let target = Target::Server(self.server.clone());
        let answers = send(&target, requests, self.store.at_once()).await?;
        answers.iter().map(tokens_of).collect()
    }

    /// Grants by the flow, of people who were never there before.
    async fn flow(&self) -> Result<(), Fatal> {
        for first in (0..self.grants).step_by(BATCH) {
            let count = (self.grants - first).min(BATCH as u64);
            self.exchange(&self.codes(first, count).await?).await?;
        }
        Ok(())
    }

    async fn measure(
        &self,
        name: &str,
        requests: impl Iterator<Item = Result<Request<Bytes>, Fatal>>,
        right: &[u8],
    ) -> Result<(Cost, Vec<http::Response<Bytes>>), Fatal> {
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let target = match name {
            "protected resource" => Target::Resource(Guard::from(&self.server)),
            _ => Target::Server(self.server.clone()),
        };
        measure(name, &target, requests, self.store.at_once(), self.redis, (200, right)).await
    }

    /// Numbers of grants from all over the store, each once: grants lie in the order in which they were made.
    fn anywhere(&self, numbers: Range<u64>) -> impl Iterator<Item = u64> {
        numbers.map(|n| n.wrapping_mul(7_368_787) % self.grants)
    }

    /// Requests that change nothing.
    async fn costs_of_reading(&self) -> Result<Vec<Cost>, Fatal> {
        let client = &self.client;
        // Others for each request: what was read a moment ago is in a cache.
        let any = |from: u64| self.anywhere(from..from + REQUESTS);
        let mut costs = Vec::new();
        let requests = any(0).map(|n| client.introspection(access_token(n).expose()));
        costs.push(self.measure("introspection", requests, b"\"active\":true").await?.0);
        let requests = any(REQUESTS).map(|n| flow::resource(access_token(n).expose()));
        costs.push(self.measure("protected resource", requests, b"").await?.0);
        Ok(costs)
    }

    /// The others, which change the store.
    async fn costs_of_changes(&self) -> Result<Vec<Cost>, Fatal> {
        let client = &self.client;
        let some = REQUESTS.min(self.grants / 4);
        let mut costs = Vec::new();
        let requests = (0..REQUESTS).map(|_| client.client_credentials());
        costs.push(self.measure(ISSUED, requests, b"\"access_token\":\"").await?.0);
        let requests = self.anywhere(0..some).map(|n| client.refresh(refresh_token(n).expose()));
        costs.push(self.measure("refresh rotation", requests, b"\"refresh_token\":\"").await?.0);
        let requests =
            self.anywhere(some..2 * some).map(|n| client.revocation(refresh_token(n).expose()));
        costs.push(self.measure("revocation", requests, b"").await?.0);
        self.check_revoked(some).await?;
        let codes = self.codes(self.grants * 3, some).await?;
        let requests = codes.iter().map(|code| client.exchange(code));
        costs.push(self.measure("code exchange", requests, b"\"refresh_token\":\"").await?.0);
        Ok(costs)
    }

    async fn check_revoked(&self, some: u64) -> Result<(), Fatal> {
        let some = self.anywhere(some..2 * some).step_by(usize::try_from(some / 50)?.max(1));
        let requests = some.map(|n| self.client.introspection(refresh_token(n).expose()));
        self.measure("a revoked grant", requests, b"\"active\":false").await?;
        Ok(())
    }

    /// One record in eleven is past its time, the grants are not. And before that: what a walk takes where
    /// nothing is, in seconds.
    async fn sweep(&self) -> Result<(Sweeping, f64), Fatal> {
        let idle = walk(&self.server, self.redis).await?;
        if idle.removed > 0 {
            return Err(format!("{} removed of none", idle.removed).into());
        }
        let idle = idle.cpu_of_all(self.grants);
        let time = made_in(self.grants);
        let due =
            issue_what_expires(&self.server, &self.client, &self.clock, self.grants, time).await?;
        self.clock.advance(LATER);
        let swept = walk(&self.server, self.redis).await?;
        let due = usize::try_from(due)?;
        if swept.removed < if swept.whole { due } else { 1 } {
            return Err(format!("{} removed of {due}", swept.removed).into());
        }
        Ok((swept, idle))
    }
}

/// Fills a store, and measures it.
pub(crate) async fn run(
    store: Store,
    grants: u64,
    made: Made,
    place: &Path,
    sled_cache: Option<u64>,
) -> Result<Outcome, Fatal> {
    let directory = place.join(format!("{}-{grants}-{}", store.name(), made.name()));
    let opened = open(store, &directory, sled_cache).await?;
    let clock = StoppedClock::new();
    let (server, secret) = embedded::server(Arc::clone(&opened.storage), clock.clone()).await?;
    let redis = opened.redis.as_ref().map(|(process, _)| process.pid());
    let client = Client::new(&secret);
    let run = Run { store, grants, server, client, clock, redis };
    let space = || {
        let directory = (store == Store::Sled).then_some(directory.as_path());
        Space::now(directory, opened.redis.as_ref().map(|(_, url)| url.as_str()))
    };
    let template = Template::new(&run.server, &run.client).await?;
    let (before, began) = (space()?, Instant::now());
    match made {
        Made::Own => fill(&opened.storage, template, grants, grants, store.writers()).await?,
        Made::Few => fill(&opened.storage, template, grants, FEW, store.writers()).await?,
        Made::Flow => run.flow().await?,
    }
    let (after, fill_seconds) = (space()?, began.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "bytes of this machine")]
    let each = |part: fn(Space) -> u64| {
        part(after).saturating_sub(part(before)) as f64 / grants.max(1) as f64
    };
    let mut outcome = Outcome {
        store,
        grants,
        made,
        fill_seconds,
        memory: each(|space| space.memory),
        disk: each(|space| space.disk),
        redis: each(|space| space.redis),
        redis_keys: each(|space| space.redis_keys),
        costs: Vec::new(),
        sweeping: None,
        idle_sweep: 0.0,
    };
    writeln!(std::io::stderr(), "{} {grants} {}: filled", store.name(), made.name())?;
    if made == Made::Own {
        outcome.costs = run.costs_of_reading().await?;
        let (sweeping, idle) = run.sweep().await?;
        (outcome.sweeping, outcome.idle_sweep) = (Some(sweeping), idle);
        // Each of these grants is still there.
        outcome.costs.extend(run.costs_of_changes().await?);
    }
    drop((run, opened));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    Ok(outcome)
}
