//! What was measured, and the medians of it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::contest::{BARE, MANY};
use grantor_bench::load::Measured;
use grantor_bench::requests::Request;

/// One contender, one request, one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) contender: &'static str,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// Of the server, a request.
    pub(crate) cpu_microseconds: f64,
    /// The share of the time in which the server was ready and something else had its core.
    pub(crate) kept_waiting: f64,
    /// Of its Redis, a request.
    pub(crate) redis_cpu_microseconds: f64,
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    pub(crate) p999_microseconds: f64,
}

/// What was answered wrongly, or not at all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) round: u32,
    pub(crate) contender: &'static str,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    pub(crate) error: String,
}

/// All that came out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<Failure>,
}

/// The middle of these values; of an even number of them, the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The medians of all rounds, each by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Median {
    pub(crate) per_second: f64,
    pub(crate) cpu: f64,
    pub(crate) redis_cpu: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) fn new(
        round: u32,
        contender: &'static str,
        request: Request,
        connections: usize,
        measured: &Measured,
    ) -> Self {
        let (requests, seconds) = (measured.requests as f64, measured.elapsed.as_secs_f64());
        let percentile = |of| measured.latency.value_at_quantile(of) as f64 / 1e3;
        Self {
            round,
            contender,
            request,
            connections,
            requests: measured.requests,
            seconds,
            per_second: requests / seconds,
            cpu_microseconds: measured.server.ran.as_secs_f64() * 1e6 / requests,
            kept_waiting: measured.server.waited.as_secs_f64() / seconds,
            redis_cpu_microseconds: measured.redis.ran.as_secs_f64() * 1e6 / requests,
            p50_microseconds: percentile(0.5),
            p99_microseconds: percentile(0.99),
            p999_microseconds: percentile(0.999),
        }
    }
}

impl Results {
    /// Who has taken part, in the order in which they did.
    pub(crate) fn contenders(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for sample in &self.samples {
            if !names.contains(&sample.contender) {
                names.push(sample.contender);
            }
        }
        names
    }

    /// Whether anybody was measured with this request.
    pub(crate) fn has(&self, request: Request) -> bool {
        self.samples.iter().any(|sample| sample.request == request)
    }

    /// Whether one answer was wrong, or did not come.
    pub(crate) fn failed(&self, contender: &str, request: Request, connections: usize) -> bool {
        self.failures.iter().any(|failure| {
            (failure.contender, failure.request, failure.connections)
                == (contender, request, connections)
        })
    }

    /// Of all rounds; `None` where one answer was wrong.
    fn samples<'a>(
        &'a self,
        contender: &'a str,
        request: Request,
        connections: usize,
    ) -> Option<impl Iterator<Item = &'a Sample> + Clone> {
        let samples = self.samples.iter().filter(move |sample| {
            (sample.contender, sample.request, sample.connections)
                == (contender, request, connections)
        });
        (!self.failed(contender, request, connections)).then_some(samples)
    }

    /// `None` where it was not measured, or where one answer was wrong.
    pub(crate) fn median(
        &self,
        contender: &str,
        request: Request,
        connections: usize,
    ) -> Option<Median> {
        let samples = self.samples(contender, request, connections)?;
        let of = |part: fn(&Sample) -> f64| median(samples.clone().map(part));
        Some(Median {
            per_second: of(|sample| sample.per_second)?,
            cpu: of(|sample| sample.cpu_microseconds)?,
            redis_cpu: of(|sample| sample.redis_cpu_microseconds)?,
            p50: of(|sample| sample.p50_microseconds)?,
            p99: of(|sample| sample.p99_microseconds)?,
            p999: of(|sample| sample.p999_microseconds)?,
        })
    }

    /// The median of the ratios of each round, of one contender's figure to that of another, each at its request: the
    /// speed of the machine changes from minute to minute, for all of them.
    pub(crate) fn ratio(
        &self,
        ours: (&str, Request),
        theirs: (&str, Request),
        figure: fn(&Sample) -> f64,
    ) -> Option<f64> {
        let samples = |(who, request)| self.samples(who, request, MANY);
        let (ours, theirs) = (samples(ours)?, samples(theirs)?);
        median(ours.filter_map(|ours| {
            let same = theirs.clone().find(|theirs| theirs.round == ours.round)?;
            Some(figure(ours) / figure(same))
        }))
    }

    /// The mean share of the time in which something that is not part of this had the servers' core. Only the bare
    /// handler is asked: it has one thread, others wait for themselves.
    pub(crate) fn disturbance(&self) -> f64 {
        let alone = self.samples.iter().filter(|sample| sample.contender == BARE);
        let shares: Vec<f64> = alone.map(|sample| sample.kept_waiting).collect();
        shares.iter().sum::<f64>() / f64::from(u32::try_from(shares.len().max(1)).unwrap_or(1))
    }

    pub(crate) fn to_json(&self, machine: &str) -> Value {
        json!({"machine": machine, "samples": self.samples, "failures": self.failures})
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        for (values, middle) in [
            (vec![], None),
            (vec![7.0], Some(7.0)),
            (vec![4.0, 1.0], Some(2.5)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![9.0, 1.0, 2.0, 4.0], Some(3.0)),
        ] {
            assert_eq!(median(values.into_iter()), middle);
        }
    }
}
