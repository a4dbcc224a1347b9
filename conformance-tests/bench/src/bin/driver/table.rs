//! The results in Markdown.

use crate::contest::{BARE, HYPER, MANY, MEMORY, NODE_REDIS, REDIS, SLED};
use crate::results::{Results, Sample};
use crate::targets::{p99, reference, target};
use grantor_bench::requests::Request;

const MARK: &str = " **short**";

/// Everything: what was reached of the targets, then each request.
pub(crate) fn report(results: &Results, machine: &str) -> String {
    let mut text = format!("{machine}\n\n{}\n", goals(results));
    for request in Request::ALL.into_iter().filter(|&request| results.has(request)) {
        text.push_str(&details(results, request));
    }
    for failure in &results.failures {
        text.push_str(&format!(
            "\nFailed: {}, {}, {} connections, round {}: {}\n",
            failure.contender,
            failure.request.name(),
            failure.connections,
            failure.round,
            failure.error
        ));
    }
    text
}

fn short(reached: bool) -> &'static str {
    if reached { "" } else { MARK }
}

const fn rate(sample: &Sample) -> f64 {
    sample.per_second
}

const fn cpu(sample: &Sample) -> f64 {
    sample.cpu_microseconds
}

/// What was reached of the targets. Where the driver is the limit, or other work has its core, requests per second
/// flatter the slower server; where the disk is, CPU time does. So the lower counts.
fn goals(results: &Results) -> String {
    let mut text = format!(
        "Measured / target at {MANY} connections: memory, which is held against it on axum, and sled as shares of the bare handler, Redis as a multiple of \
         node-oidc-provider on Redis, by requests per second and by CPU time, of which the lower counts (reuse detection on Redis as a multiple of its \
         revocation); then the milliseconds in which 99 of 100 answers were there.\n\n\
         | request | {MEMORY} | {HYPER} | {SLED} | {REDIS} | p99 memory / 0.6 | p99 sled / 3 | p99 Redis / 2 |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for request in Request::ALL.into_iter().filter(|&request| results.has(request)) {
        text.push_str(&format!("| {} ", request.name()));
        for contender in [MEMORY, HYPER, SLED, REDIS] {
            let (us, them) = ((contender, request), reference(contender, request));
            let decimals = if contender == REDIS { 1 } else { 2 };
            let (rate, cpu) = (results.ratio(us, them, rate), results.ratio(them, us, cpu));
            let cell = rate.zip(cpu).map_or("-".to_owned(), |(rate, cpu)| {
                let both = format!("{rate:.decimals$}, {cpu:.decimals$}");
                // What it is on hyper alone is told beside the target; what it is on axum is held against it.
                let (whose, held) =
                    if contender == HYPER { (MEMORY, false) } else { (contender, true) };
                target(whose, request).map_or(both.clone(), |times| {
                    let reached = !held || rate.min(cpu) >= times;
                    format!("{both} / {times:.decimals$}{}", short(reached))
                })
            });
            text.push_str(&format!("| {cell} "));
        }
        for contender in [MEMORY, SLED, REDIS] {
            let measured = results.median(contender, request, MANY).map(|median| median.p99 / 1e3);
            let cell = measured.zip(p99(contender)).map_or("-".to_owned(), |(measured, limit)| {
                format!("{measured:.2}{}", short(measured < limit))
            });
            text.push_str(&format!("| {cell} "));
        }
        text.push_str("|\n");
    }
    text
}

fn details(results: &Results, request: Request) -> String {
    let mut text = format!(
        "\n### {}\n\n| | requests/s | of bare | busy | server CPU, us | Redis CPU, us | bare's share | of node on Redis | p50, us | p99 | p99.9 | \
         one connection: p50, us | p99 | CPU, us |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        request.name()
    );
    for contender in results.contenders() {
        text.push_str(&format!("| {contender} "));
        let Some(many) = results.median(contender, request, MANY) else {
            text.push_str("| - | - | - | - | - | - | - | - | - | - | - | - | - |\n");
            continue;
        };
        let (this, bare, node) = ((contender, request), (BARE, request), (NODE_REDIS, request));
        let of_bare = results.ratio(this, bare, rate);
        let of_bare_cpu = results.ratio(bare, this, cpu);
        let of_node = results.ratio(this, node, rate);
        let ratio =
            |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        text.push_str(&format!(
            "| {:.0} | {} | {:.0} % | {:.1} | {} | {} | {} | {:.0} | {:.0} | {:.0} ",
            many.per_second,
            ratio(of_bare),
            many.per_second * many.cpu / 1e4,
            many.cpu,
            if many.redis_cpu > 0.0 { format!("{:.1}", many.redis_cpu) } else { String::new() },
            ratio(of_bare_cpu),
            ratio(of_node),
            many.p50,
            many.p99,
            many.p999
        ));
        match results.median(contender, request, 1) {
            None => text.push_str("| - | - | - |\n"),
            Some(one) => {
                text.push_str(&format!("| {:.0} | {:.0} | {:.1} |\n", one.p50, one.p99, one.cpu));
            }
        }
    }
    text
}
