//! The results in Markdown.

use crate::one::{ISSUED, Made, Outcome, Store};

/// What a live grant may take: in memory, on disk with sled, in Redis.
const fn room(store: Store) -> f64 {
    match store {
        Store::Memory => 500.0,
        Store::Sled => 700.0,
        Store::Redis => 600.0,
    }
}

/// Up to here a cost is the same: less is noise.
const FLAT: f64 = 1.15;

/// 1234567 as "1 234 567".
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn find(outcomes: &[Outcome], store: Store, grants: u64, made: Made) -> Option<&Outcome> {
    outcomes.iter().find(|one| (one.store, one.grants, one.made) == (store, grants, made))
}

/// What was measured with each store by itself, in the order of `Store::ALL`.
fn stores(outcomes: &[Outcome]) -> impl Iterator<Item = (Store, Vec<u64>)> {
    Store::ALL.into_iter().filter_map(|store| {
        let mine = outcomes.iter().filter(|one| one.store == store && one.made == Made::Own);
        let mut sizes: Vec<u64> = mine.map(|one| one.grants).collect();
        sizes.sort_unstable();
        (!sizes.is_empty()).then_some((store, sizes))
    })
}

pub(crate) fn report(outcomes: &[Outcome], failures: &[String], machine: &str) -> String {
    let mut text = format!("{machine}\n");
    for (store, sizes) in stores(outcomes) {
        text.push_str(&costs(outcomes, store, &sizes));
    }
    text.push_str(&spaces(outcomes));
    text.push_str(&sweeps(outcomes));
    for failure in failures {
        text.push_str(&format!("\nFailed: {failure}\n"));
    }
    text
}

fn costs(outcomes: &[Outcome], store: Store, sizes: &[u64]) -> String {
    let mut text =
        format!("\n### Grants in {}: processor time of a request, us\n\n| |", store.name());
    for size in sizes {
        text.push_str(&format!(" {} |", grouped(*size)));
    }
    text.push_str(" last / first |\n|---|");
    text.push_str(&"--:|".repeat(sizes.len() + 1));
    text.push('\n');
    let of = |size| find(outcomes, store, size, Made::Own);
    let names = sizes.first().and_then(|&size| of(size)).map(|one| one.costs.clone());
    for name in names.unwrap_or_default().into_iter().map(|cost| cost.request) {
        text.push_str(&format!("| {name} |"));
        let mut sums = Vec::new();
        for &size in sizes {
            let cost = of(size).and_then(|one| one.costs.iter().find(|cost| cost.request == name));
            let Some(cost) = cost else {
                text.push_str(" - |");
                continue;
            };
            sums.push(cost.server + cost.redis);
            match store {
                Store::Redis => {
                    text.push_str(&format!(" {:.1} + {:.1} |", cost.server, cost.redis));
                }
                Store::Memory | Store::Sled => text.push_str(&format!(" {:.1} |", cost.server)),
            }
        }
        let ratio = sums.first().zip(sums.last()).map(|(first, last)| last / first);
        let ratio = ratio.filter(|_| sums.len() == sizes.len());
        text.push_str(&ratio.map_or(" - |\n".to_owned(), |ratio| {
            let mark = if ratio > FLAT { " **grows**" } else { "" };
            format!(" {ratio:.2}{mark} |\n")
        }));
    }
    text
}

fn spaces(outcomes: &[Outcome]) -> String {
    let mut text = "\n### Bytes of a live grant: a refresh token and an access token\n\n\
         | store | grants | users | memory of the process | disk | memory of Redis | keys of Redis | target | filled in, s |\n\
         |---|--:|---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for one in outcomes {
        let users = match one.made {
            Made::Own => "one each",
            Made::Few => "1000",
            Made::Flow => "one each, by the flow, with a consent",
        };
        let counted = match one.store {
            Store::Memory => one.memory,
            Store::Sled => one.disk,
            Store::Redis => one.redis,
        };
        let (limit, number) = (room(one.store), |value: f64| match value > 0.0 {
            true => format!("{value:.0}"),
            false => String::new(),
        });
        text.push_str(&format!(
            "| {} | {} | {users} | {} | {} | {} | {} | {} | {:.1} |\n",
            one.store.name(),
            grouped(one.grants),
            if one.store == Store::Redis { String::new() } else { number(one.memory) },
            number(one.disk),
            number(one.redis),
            if one.redis_keys > 0.0 { format!("{:.2}", one.redis_keys) } else { String::new() },
            match one.made {
                Made::Flow => String::new(),
                _ if counted > limit => format!("{limit:.0} **short**"),
                _ => format!("{limit:.0}"),
            },
            one.fill_seconds,
        ));
    }
    text
}

fn sweeps(outcomes: &[Outcome]) -> String {
    let mut text = "\n### The sweep, where one record in eleven is past its time\n\n\
         | store | grants | examined | removed | removed in a second of CPU | issued in one, by client_credentials | \
         removed / issued | a step: p50, ms | p99 | longest | where nothing is: CPU of a walk, s |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for one in outcomes {
        let Some(swept) = &one.sweeping else { continue };
        let issued = one.costs.iter().find(|cost| cost.request == ISSUED);
        let issued = issued.map_or(f64::NAN, |cost| cost.server + cost.redis);
        let removed = swept.cpu_per_removed + swept.redis_per_removed;
        let behind = removed > issued && one.store != Store::Redis;
        text.push_str(&format!(
            "| {} | {} | {} | {} | {:.0} | {:.0} | {:.2}{} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            one.store.name(),
            grouped(one.grants),
            grouped(swept.examined as u64),
            grouped(swept.removed as u64),
            1e6 / removed,
            1e6 / issued,
            issued / removed,
            if behind { " **short**" } else { "" },
            swept.step_p50,
            swept.step_p99,
            swept.step_longest,
            one.idle_sweep,
        ));
    }
    text
}
