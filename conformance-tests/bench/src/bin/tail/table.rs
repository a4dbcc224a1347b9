//! The results in Markdown.

use crate::scenario::{
    Beside, Extent, LOGINS, Latency, Outcome, RATE, Scenario, Store, WRITES, milliseconds,
};

/// A scenario, in words.
pub(crate) fn name((store, beside): Scenario) -> String {
    let store = match store {
        Store::Memory => "memory",
        Store::Sled => "sled",
        Store::Redis => "Redis",
    };
    let beside = match beside {
        Beside::Nothing => "nothing else".to_owned(),
        Beside::Logins => format!("{LOGINS:.0} logins a second"),
        Beside::Sweep => "tokens expire, the sweep".to_owned(),
        Beside::Writes => format!("{WRITES:.0} other writes a second"),
        Beside::Restart => "Redis restarts".to_owned(),
    };
    format!("{store}: {beside}")
}

fn columns(latency: Latency) -> String {
    let Latency { p50, p99, p999, longest, .. } = latency;
    format!("{p50:.2} | {p99:.2} | {p999:.2} | {longest:.2}")
}

pub(crate) fn report(
    outcomes: &[Outcome],
    failures: &[String],
    extent: Extent,
    machine: &str,
) -> String {
    let mut text = format!(
        "{machine} {} live grants for the sweep and the restart; {:.0} s each; {RATE:.0} requests a second of each kind, in milliseconds.\n\n\
         | store: beside the requests | client_credentials: p50 | p99 | p99.9 | longest | refresh: p50 | p99 | p99.9 | \
         longest | core busy | waited for it |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        extent.grants,
        milliseconds(extent.duration) / 1e3,
    );
    for outcome in outcomes {
        text.push_str(&format!(
            "| {} | {} | {} | {:.0} % | {:.0} % |\n",
            name(outcome.scenario),
            columns(outcome.issued),
            columns(outcome.refreshed),
            outcome.busy * 100.0,
            outcome.waited * 100.0,
        ));
    }
    for outcome in outcomes {
        let name = name(outcome.scenario);
        if let Some(logins) = outcome.logins {
            text.push_str(&format!(
                "\n{name}: {} logins took {:.0} ms (p50), {:.0} ms (p99), {:.0} ms at most.\n",
                logins.count, logins.p50, logins.p99, logins.longest
            ));
        }
        if let Some(restart) = &outcome.restart {
            text.push_str(&format!(
                "\n{name}: of {} requests {} were answered 503. Redis had read its file again {:.0} ms after the order \
                 to stop; for {:.0} ms nobody got a token. What is told above is of the others.\n",
                restart.asked, restart.refused, restart.away, restart.without
            ));
        }
    }
    for failure in failures {
        text.push_str(&format!("\nFailed: {failure}\n"));
    }
    text
}
