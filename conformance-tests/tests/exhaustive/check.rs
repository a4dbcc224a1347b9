//! Running the checker: progress, figures, and the shortest story.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::rules::Rule;
use crate::scenes::Scene;
use crate::sights::Sight;
use crate::story;
use crate::world::{Action, State, World};

/// A world, as the checker explores it.
#[derive(Clone)]
struct Explored(Arc<World>);

impl Model for Explored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.0.start().clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.0.possible(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        self.0.after(before, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! rules {
            ($($rule:ident),+) => {
                vec![$(Property::always(stringify!($rule), |world: &Self, state: &State| {
                    !world.0.watches(Rule::$rule) || state.memory.holds(Rule::$rule)
                })),+]
            };
        }
        rules![
            OneCodeOneTokenSet,
            OneTokenOneSuccessor,
            AnsweredIsStored,
            EndedStaysEnded,
            ToldIsDead,
            ReuseIsNoticed,
            ThiefGetsNothing,
            NoEndWithoutCause,
            RetryIsNotPunished,
            WithinConsent,
            WithdrawnIsDead,
            EverybodyIsAnswered
        ]
    }
}

/// What a run of the checker did.
struct Figures {
    transitions: usize,
    states: usize,
    depth: usize,
    time: Duration,
}

/// A broken rule and how it came to that, as actions from the beginning.
type Found = (Rule, Vec<Action>);

/// Explores a scene completely. `Err`: the story of a broken rule.
pub(crate) fn explore(scene: Scene, threads: usize, deadline: Duration) -> Result<(), String> {
    let world = Arc::new(World::new(scene, None));
    let (figures, found) = run(&world, threads, deadline, None);
    report(&world, &figures);
    match found {
        None => {
            let unseen = scene.shows.iter().filter(|sight| world.seen(**sight) == 0);
            let unseen: Vec<&str> = unseen.map(|sight| sight.words()).collect();
            if unseen.is_empty() {
                return Ok(());
            }
            Err(format!("this scene shows nothing of: {}", unseen.join(", ")))
        }
        Some(found) => Err(shortest_story(&world, found, deadline)),
    }
}

/// Looks for the shortest story in which a seeded bug breaks its rule.
pub(crate) fn find(world: World, deadline: Duration) -> Option<(Rule, String)> {
    let world = Arc::new(world);
    let (figures, found) = run(&world, 1, deadline, None);
    let found = found?;
    let rule = found.0;
    let story = shortest_story(&world, found, deadline);
    println!("  {} states, {:.1?}", figures.states, figures.time);
    Some((rule, story))
}

/// The checker looks at a few more states once it has found something, and may report one of those. So
/// it is asked again, each time for something shorter.
fn shortest_story(world: &Arc<World>, mut found: Found, deadline: Duration) -> String {
    while let (_, Some(shorter)) = run(world, 1, deadline, Some(found.1.len() + 1)) {
        found = shorter;
    }
    story::tell(world, found.0, &found.1)
}

fn run(
    world: &Arc<World>,
    threads: usize,
    deadline: Duration,
    max_depth: Option<usize>,
) -> (Figures, Option<Found>) {
    let began = Instant::now();
    let mut checker = Explored(Arc::clone(world))
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(deadline);
    if let Some(depth) = max_depth {
        checker = checker.target_max_depth(depth);
    }
    let mut progress = Progress { said: Instant::now(), states: 0 };
    let checker = checker.spawn_bfs().join_and_report(&mut progress);
    let time = began.elapsed();
    assert!(
        time < deadline,
        "{}: not explored within {deadline:.0?}; {} states so far, at depth {}: bound the scene more \
         tightly or give it more time",
        world.scene.name,
        checker.unique_state_count(),
        checker.max_depth(),
    );
    let figures = Figures {
        transitions: checker.state_count(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        time,
    };
    let found = checker.discoveries().into_iter().map(|(name, path)| {
        let rule = Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == name);
        (rule.expect("a rule"), path.into_actions())
    });
    (figures, found.min_by_key(|(_, actions)| actions.len()))
}

/// Says every two seconds how far the checker is.
struct Progress {
    said: Instant,
    states: usize,
}

impl Reporter<Explored> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        let since = self.said.elapsed();
        if data.done || since < Duration::from_secs(2) {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (data.unique_states - self.states) as f64 / since.as_secs_f64();
        println!(
            "  {:>11} transitions {:>10} states  depth {:>3}  {rate:>8.0} states/s",
            data.total_states, data.unique_states, data.max_depth,
        );
        (self.said, self.states) = (Instant::now(), data.unique_states);
    }

    fn report_discoveries(
        &mut self,
        _model: &Explored,
        _discoveries: BTreeMap<&'static str, ReportDiscovery<Explored>>,
    ) {
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(50)
    }
}

fn report(world: &World, figures: &Figures) {
    let Figures { transitions, states, depth, time } = figures;
    let mut sights = String::new();
    for sight in Sight::ALL {
        match world.seen(sight) {
            0 => {}
            times => write!(
                sights,
                "{}{times} {}",
                if sights.is_empty() { "" } else { ", " },
                sight.words()
            )
            .expect("a string"),
        }
    }
    println!(
        "  {transitions} transitions, {states} states, depth {depth}, {:.1} s, {} histories of a \
         request, {} MiB of memory at most\n  seen: {sights}",
        time.as_secs_f64(),
        world.server.histories(),
        peak_memory().unwrap_or_default(),
    );
}

/// The most memory that this process has used, in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
