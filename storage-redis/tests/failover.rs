//! Failover under load: what was answered stays true.
//!
//! Users and clients of several servers, whose stores are in processes of their own, go on while the
//! Redis under them is killed, frozen, failed over, resharded and started again. Every answer is checked
//! against all answers before it, when it comes and again afterwards; see [`campaign::witness`] and
//! [`campaign::clients`]. With `replicas(1)` nothing is lost that was answered; with `local` only what
//! the report of the store says, and it is counted.
//!
//! `GRANTOR_ROUNDS=50 cargo test -p grantor-redis --release --test failover`
//!
//! ATTACKS A09, B02.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use campaign::clients::{Load, Violation};
use campaign::faults::Fault;
use campaign::stage::{Processes, Stage, open};
use campaign::witness::{Books, Loss};
use campaign::{Random, is_long, rounds, runtime};
use grantor::storage::{Key, Storage};
use grantor_conformance::storage::serve_if_asked;
use grantor_redis::Confirmation;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const SERVERS: usize = 2;
/// For what takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many more acknowledgements there must be before something happens again.
const BETWEEN: u64 = 60;

/// What one campaign came to.
struct Figures {
    title: String,
    rounds: u64,
    requests: u64,
    acknowledged: u64,
    unavailable: u64,
    lost: usize,
    /// How long before it was missed the oldest change was acknowledged that was lost.
    oldest: Duration,
    begun_again: u64,
    /// For each round: how long until writes were acknowledged again, and how many requests were not
    /// answered.
    faults: BTreeMap<Fault, Vec<(Duration, u64)>>,
    wrong: Vec<String>,
}

/// A campaign under way.
struct Campaign {
    stage: Stage,
    confirmation: Confirmation,
    runtime: Runtime,
    random: Arc<Random>,
    books: Arc<Books>,
    load: Arc<Load>,
    /// All who use the servers.
    busy: Vec<JoinHandle<()>>,
    processes: Processes,
    looks: Arc<dyn Storage>,
    /// Before this, all replicas had all.
    safe: Instant,
    lost_keys: BTreeSet<Key>,
    violations: Vec<Violation>,
    figures: Figures,
}

impl Campaign {
    fn start(stage: Stage, confirmation: Confirmation, random: Arc<Random>) -> Self {
        let runtime = runtime();
        let address = stage.address(confirmation);
        let store = open(&runtime, &address);
        let title = format!("{}, {confirmation}", stage.name());
        println!("\n=== {title}: {}", store.report().can_lose());
        let books = Arc::new(Books::default());
        let processes = runtime.block_on(Processes::start(&address, SERVERS));
        let load = Load::new(processes.stores(), Arc::clone(&books), Arc::clone(&random));
        let load = Arc::new(runtime.block_on(load));
        // Who the client is does not get lost, whatever else does.
        stage.wait_healthy();
        let actors = if is_long() { 10 } else { 6 };
        let mut busy: Vec<_> =
            (0..actors).map(|actor| runtime.spawn(Arc::clone(&load).act(actor))).collect();
        busy.push(runtime.spawn(Arc::clone(&load).sweep()));
        let figures = Figures {
            title,
            rounds: 0,
            requests: 0,
            acknowledged: 0,
            unavailable: 0,
            lost: 0,
            oldest: Duration::ZERO,
            begun_again: 0,
            faults: BTreeMap::new(),
            wrong: Vec::new(),
        };
        Self {
            stage,
            confirmation,
            runtime,
            random,
            books,
            load,
            busy,
            processes,
            looks: store,
            safe: Instant::now(),
            lost_keys: BTreeSet::new(),
            violations: Vec::new(),
            figures,
        }
    }

    fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > until {
                for server in self.stage.servers() {
                    println!("{}", server.log_tail());
                }
                for (n, store) in self.processes.stores().iter().enumerate() {
                    let ready = async { tokio::time::timeout(PATIENCE, store.ready()).await };
                    println!("store {n} is ready: {:?}", self.runtime.block_on(ready));
                }
                let wrong = self.load.take_violations();
                println!("{:?}; {}; {wrong:#?}", self.load.tally, self.load.last_refusal());
                panic!("{}: {what}: not within {PATIENCE:?}", self.figures.title);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn acknowledged(&self) -> u64 {
        self.books.acknowledged.load(Ordering::Relaxed)
    }

    fn round(&mut self, fault: Fault) {
        let before = self.acknowledged();
        self.wait_for("requests are answered", || self.acknowledged() >= before + BETWEEN);
        let began = Instant::now();
        let unavailable = || self.load.tally.unavailable.load(Ordering::Relaxed);
        let unavailable_before = unavailable();
        let primaries = self.stage.primaries();
        let (books, stage) = (&self.books, &self.stage);
        let recovered =
            || self.wait_for("writes are acknowledged again", || books.recovered().is_some());
        fault.strike(stage, &self.random, |slots| books.begin_recovery(slots), recovered);
        recovered();
        let recovery = self.books.recovered().unwrap_or_default();
        let healthy_from = Instant::now();
        self.stage.wait_healthy();
        let missing = self.audit(false);
        let mut may_lose = fault.may_lose(&self.stage, self.confirmation);
        if fault.changes_no_primary() && self.stage.primaries() != primaries {
            println!(
                "{}: this machine is so busy that a primary was taken for dead",
                self.figures.title
            );
            may_lose = self.confirmation == Confirmation::Local;
        }
        let lost = self.judge(missing, may_lose, &fault.to_string());
        self.safe = healthy_from;
        let unavailable = self.load.tally.unavailable.load(Ordering::Relaxed) - unavailable_before;
        self.figures.faults.entry(fault).or_default().push((recovery, unavailable));
        self.figures.rounds += 1;
        let load = Arc::clone(&self.load);
        self.runtime.block_on(self.processes.renew(|n, store| load.replace(n, store)));
        println!(
            "{}: {fault}: writes again after {recovery:.2?}, {lost} lost, {} acknowledged, round took \
             {:.1?}",
            self.figures.title,
            self.acknowledged(),
            began.elapsed()
        );
    }

    /// Looks at what was written. It may take a moment until everything answers again.
    fn audit(&self, all: bool) -> Vec<Loss> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.runtime.block_on(self.books.audit(&self.looks, all)) {
                Ok(missing) => return missing,
                Err(error) if Instant::now() > until => {
                    panic!("{}: the store does not answer: {error}", self.figures.title)
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// What was lost, and whether it may have been.
    fn judge(&mut self, missing: Vec<Loss>, may_lose: bool, after: &str) -> usize {
        let losses: Vec<_> = self.books.take_losses().into_iter().chain(missing).collect();
        for loss in &losses {
            self.lost_keys.insert(loss.key.clone());
            let age = loss.missed_at.saturating_duration_since(loss.known_at);
            self.figures.oldest = self.figures.oldest.max(age);
            if !may_lose {
                self.figures.wrong.push(format!("after {after}: {loss}"));
            } else if loss.known_at < self.safe {
                let what = format!("after {after}, and all replicas had had it: {loss}");
                self.figures.wrong.push(what);
            }
        }
        let wrong =
            self.books.take_wrong().into_iter().map(|what| format!("after {after}: {what}"));
        // What was lost can come to be applied twice.
        self.figures.wrong.extend(wrong.filter(|_| !may_lose));
        let violations = self.load.take_violations().into_iter();
        self.violations.extend(
            violations.map(|it| Violation { what: format!("after {after}: {}", it.what), ..it }),
        );
        self.figures.lost += losses.len();
        losses.len()
    }

    /// All comes to rest, and everything is looked at once more.
    fn finish(mut self) -> Figures {
        let before = self.acknowledged();
        self.wait_for("requests are answered", || self.acknowledged() >= before + BETWEEN);
        self.load.stop();
        let busy = std::mem::take(&mut self.busy);
        self.wait_for("everybody has stopped", || busy.iter().all(JoinHandle::is_finished));
        for one in busy {
            self.runtime.block_on(one).expect("nobody panics");
        }
        self.stage.wait_healthy();
        let missing = self.audit(true);
        self.judge(missing, false, "all");
        // Who looks has seen nothing of all this.
        let fresh = open(&self.runtime, &self.stage.address(self.confirmation));
        for server in 0..SERVERS {
            let fresh = Arc::clone(&fresh);
            self.load.replace(server, fresh);
        }
        let load = Arc::clone(&self.load);
        let look = async { tokio::time::timeout(PATIENCE * 5, load.look_at_all()).await };
        self.runtime.block_on(look).expect("a healthy store answers");
        let missing = self.audit(true);
        self.judge(missing, false, "all");

        // A client whose grant was lost, or taken back to what it was, has seen that.
        let lost = std::mem::take(&mut self.lost_keys);
        for violation in std::mem::take(&mut self.violations) {
            if !violation.keys.iter().any(|key| lost.contains(key)) {
                self.figures.wrong.push(violation.what);
            }
        }
        let (alive, over) = self.load.watched();
        let tally = &self.load.tally;
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{}: {} records; {} codes redeemed, {} refreshes, {} ends, {} looks; {alive} alive and {over} \
             over to the end",
            self.figures.title,
            self.books.records(),
            of(&tally.redeemed),
            of(&tally.refreshed),
            of(&tally.ended),
            of(&tally.looked_at),
        );
        self.figures.requests = of(&tally.requests);
        self.figures.unavailable = of(&tally.unavailable);
        self.figures.begun_again = of(&tally.begun_again);
        self.figures.acknowledged = self.acknowledged();
        self.figures
    }
}

fn campaign(stage: Stage, confirmation: Confirmation, short: u64, random: &Arc<Random>) -> Figures {
    let faults = Fault::all(&stage);
    let mut campaign = Campaign::start(stage, confirmation, Arc::clone(random));
    for (fault, _) in faults.iter().cycle().zip(0..rounds(short)) {
        campaign.round(*fault);
    }
    campaign.finish()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn report(figures: &[Figures]) -> bool {
    println!(
        "\n| topology, durability | rounds | requests | acknowledged commits | answered 503 | lost | codes \
         to ask for again |\n|---|---|---|---|---|---|---|"
    );
    for it in figures {
        println!(
            "| {} | {} | {} | {} | {} | {}{} | {} |",
            it.title,
            it.rounds,
            it.requests,
            it.acknowledged,
            it.unavailable,
            it.lost,
            match it.lost {
                0 => String::new(),
                _ => format!(" (missed at most {} later)", seconds(it.oldest)),
            },
            it.begun_again
        );
    }
    println!(
        "\n| topology, durability | fault | rounds | answered 503 | writes again after: median | at most |"
    );
    println!("|---|---|---|---|---|---|");
    for it in figures {
        for (fault, rounds) in &it.faults {
            let unavailable: u64 = rounds.iter().map(|(_, unavailable)| unavailable).sum();
            let mut times: Vec<_> = rounds.iter().map(|(time, _)| *time).collect();
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let most = times.last().copied().unwrap_or_default();
            println!(
                "| {} | {fault} | {} | {unavailable} | {} | {} |",
                it.title,
                times.len(),
                seconds(median),
                seconds(most)
            );
        }
    }
    let mut well = true;
    for it in figures {
        for what in it.wrong.iter().take(10) {
            println!("WRONG: {}: {what}", it.title);
        }
        if it.wrong.len() > 10 {
            println!("WRONG: {}: and {} more", it.title, it.wrong.len() - 10);
        }
        well &= it.wrong.is_empty();
    }
    well
}

/// A name, the servers, what is asked of them, and how many rounds there are by default.
type Choice = (&'static str, fn() -> Option<Stage>, Confirmation, u64);

fn main() -> ExitCode {
    serve_if_asked::<campaign::Anywhere>();
    let random = Arc::new(Random::new());
    let replicas = Confirmation::Replicas(1);
    let all: [Choice; 7] = [
        ("single-local", Stage::single, Confirmation::Local, 4),
        ("cluster-replicas", Stage::cluster, replicas, 4),
        ("sentinel-replicas", Stage::sentinel, replicas, 3),
        ("cluster-local", Stage::cluster, Confirmation::Local, 0),
        ("sentinel-local", Stage::sentinel, Confirmation::Local, 1),
        ("partition-replicas", Stage::parted, replicas, 2),
        ("partition-local", Stage::parted, Confirmation::Local, 0),
    ];
    let only = std::env::var("GRANTOR_ONLY").unwrap_or_default();
    let chosen = all
        .into_iter()
        .filter(|(name, _, _, short)| name.contains(&only) && (*short > 0 || is_long()));
    let run = |(_, stage, confirmation, short): Choice| {
        Some(campaign(stage()?, confirmation, short, &random))
    };
    let figures: Vec<_> = match is_long() {
        true => chosen.filter_map(run).collect(),
        // They mostly wait for somebody to be taken for dead.
        false => std::thread::scope(|scope| {
            let started: Vec<_> = chosen.map(|one| scope.spawn(move || run(one))).collect();
            started.into_iter().filter_map(|one| one.join().expect("a campaign")).collect()
        }),
    };
    match report(&figures) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
