//! The budget: how it is kept, what is held against it, and how it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What one request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Instructions, without those of the next field.
    pub instructions: u64,
    /// Instructions in the block function of SHA-256. Processors of today have instructions for that and
    /// take a small part of these; the one that valgrind shows has none.
    pub hashing: u64,
    /// Calls to the allocator for memory, or for more of it.
    pub allocations: u64,
    /// The bytes that were asked for by these.
    pub bytes: u64,
}

impl Cost {
    fn columns(&self) -> [(&'static str, u64); 4] {
        [
            ("instructions", self.instructions),
            ("SHA-256", self.hashing),
            ("allocations", self.allocations),
            ("bytes", self.bytes),
        ]
    }
}

/// What else the figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The compiler and its target. All figures depend on it.
    pub compiler: String,
    /// Valgrind, the C library, the processor that valgrind shows. The instructions depend on them.
    pub machine: String,
}

/// What requests may cost, by the names of their cases, and where that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Where.
    pub surroundings: Surroundings,
    /// How much.
    pub costs: BTreeMap<String, Cost>,
}

const ABOUT: &str = "# What a request costs. Written by `conformance-tests/budget/run --accept`.";
const COLUMNS: &str = "case\tinstructions\tsha256\tallocations\tbytes";

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{ABOUT}")?;
        writeln!(f, "# compiler: {}", self.surroundings.compiler)?;
        writeln!(f, "# machine: {}", self.surroundings.machine)?;
        writeln!(f, "{COLUMNS}")?;
        for (case, cost) in &self.costs {
            let Cost { instructions, hashing, allocations, bytes } = cost;
            writeln!(f, "{case}\t{instructions}\t{hashing}\t{allocations}\t{bytes}")?;
        }
        Ok(())
    }
}

/// A budget that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this line of the budget cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl std::str::FromStr for Budget {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut budget = Self::default();
        for line in text.lines().filter(|line| ![ABOUT, COLUMNS].contains(line)) {
            let unreadable = || Unreadable(line.to_owned());
            if let Some(compiler) = line.strip_prefix("# compiler: ") {
                compiler.clone_into(&mut budget.surroundings.compiler);
            } else if let Some(machine) = line.strip_prefix("# machine: ") {
                machine.clone_into(&mut budget.surroundings.machine);
            } else {
                let (case, figures) = line.split_once('\t').ok_or_else(unreadable)?;
                let figures: Result<Vec<u64>, _> = figures.split('\t').map(str::parse).collect();
                let figures = figures.map_err(|_| unreadable())?;
                let &[instructions, hashing, allocations, bytes] = figures.as_slice() else {
                    return Err(unreadable());
                };
                let cost = Cost { instructions, hashing, allocations, bytes };
                budget.costs.insert(case.to_owned(), cost);
            }
        }
        Ok(budget)
    }
}

/// By how many hundredths of the budget a figure may differ from it. Two runs of one binary differ by
/// nothing at all; what is left is how the compiler lays out code that is not the cause.
const TOLERANCE: u64 = 2;

fn differs(budget: u64, found: u64) -> bool {
    budget.abs_diff(found) * 100 > budget * TOLERANCE
}

/// What of a measurement can be held against a budget.
#[derive(Clone, Copy, Debug)]
pub struct Comparable {
    /// The counts of instructions.
    pub instructions: bool,
    /// Those of allocations.
    pub allocations: bool,
}

impl Comparable {
    /// What surroundings leave of it.
    pub fn of(budget: &Surroundings, found: &Surroundings) -> Self {
        let compiler = budget.compiler == found.compiler;
        Self { instructions: compiler && budget.machine == found.machine, allocations: compiler }
    }
}

/// Where the measured costs are not those of the budget, in sentences; `whole`: all cases were measured.
pub fn compare(budget: &Budget, found: &Budget, whole: bool) -> Vec<String> {
    let comparable = Comparable::of(&budget.surroundings, &found.surroundings);
    let mut all = Vec::new();
    for (case, cost) in &found.costs {
        let Some(before) = budget.costs.get(case) else {
            all.push(format!("{case} is not in the budget"));
            continue;
        };
        for ((what, before), (_, now)) in before.columns().into_iter().zip(cost.columns()) {
            let (compared, different) = match what {
                "instructions" | "SHA-256" => (comparable.instructions, differs(before, now)),
                _ => (comparable.allocations, before != now),
            };
            if compared && different {
                let how = if now > before { "worse" } else { "better" };
                let change = change(before, now);
                let (before, now) = (grouped(before), grouped(now));
                all.push(format!("{case} is {how}: {what} {before} -> {now} ({change})"));
            }
        }
    }
    let gone = budget.costs.keys().filter(|case| whole && !found.costs.contains_key(*case));
    all.extend(gone.map(|case| format!("{case} is in the budget, and there is no such case")));
    all
}

/// What the budget is from now on. An instruction more or less, which any build may make, is not written down.
pub fn accepted(budget: &Budget, found: Budget) -> Budget {
    let same = Comparable::of(&budget.surroundings, &found.surroundings).instructions;
    let keep = |before: u64, now: u64| {
        if same && before.abs_diff(now) * 1000 < before { before } else { now }
    };
    let mut new = found;
    for (case, cost) in &mut new.costs {
        if let Some(before) = budget.costs.get(case) {
            cost.instructions = keep(before.instructions, cost.instructions);
        }
    }
    new
}

fn change(before: u64, now: u64) -> String {
    if before == 0 {
        return if now == 0 { String::new() } else { "new".to_owned() };
    }
    let permille = (now.abs_diff(before) * 1000 + before / 2) / before;
    let sign = if now < before { "-" } else { "+" };
    format!("{sign}{}.{} %", permille / 10, permille % 10)
}

/// 12345 as 12,345.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The measured costs beside the budget, for a terminal.
pub fn table(budget: &Budget, found: &Budget) -> String {
    let mut text = format!("{:30}", "case");
    for (what, _) in Cost::default().columns() {
        text.push_str(&format!("{what:>14} {:>8}", ""));
    }
    text.push('\n');
    for (case, cost) in &found.costs {
        text.push_str(&format!("{case:30}"));
        let before = budget.costs.get(case).copied().unwrap_or_default();
        for ((_, before), (_, now)) in before.columns().into_iter().zip(cost.columns()) {
            let change = if before == now { String::new() } else { change(before, now) };
            text.push_str(&format!("{:>14} {change:>8}", grouped(now)));
        }
        text.push('\n');
    }
    text
}

/// The budget as a table for the documentation: a row for each request, its levels side by side.
pub fn page(budget: &Budget) -> String {
    let mut text = String::from(
        "| request | decision | allocations | engine | allocations | server | allocations | axum | allocations | bytes | SHA-256 |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let names: BTreeSet<&str> =
        budget.costs.keys().filter_map(|case| Some(case.split_once('/')?.1)).collect();
    for name in names {
        let cost = |level: &str| budget.costs.get(&format!("{level}/{name}"));
        text.push_str(&format!("| `{name}` |"));
        for level in ["decision", "engine", "wire", "axum"] {
            let Some(cost) = cost(level) else {
                text.push_str("  |  |");
                continue;
            };
            let (instructions, allocations) = (grouped(cost.instructions), cost.allocations);
            text.push_str(&format!(" {instructions} | {allocations} |"));
        }
        match cost("wire") {
            Some(Cost { bytes, hashing, .. }) => {
                text.push_str(&format!(" {} | {} |\n", grouped(*bytes), grouped(*hashing)));
            }
            None => text.push_str("  |  |\n"),
        }
    }
    text
}

const BEGIN: &str = "<!-- the table begins: written by conformance-tests/budget/run --accept -->\n";
const END: &str = "<!-- the table ends -->";

/// A page of the documentation with the table of this budget in its place; `None`: it has no place for one.
pub fn written(document: &str, budget: &Budget) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", page(budget)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(costs: &[(&str, [u64; 4])]) -> Budget {
        let cost = |&(case, [instructions, hashing, allocations, bytes]): &(&str, [u64; 4])| {
            (case.to_owned(), Cost { instructions, hashing, allocations, bytes })
        };
        let surroundings =
            Surroundings { compiler: "rustc 1".to_owned(), machine: "valgrind".to_owned() };
        Budget { surroundings, costs: costs.iter().map(cost).collect() }
    }

    const BEFORE: [(&str, [u64; 4]); 2] =
        [("engine/code", [1000, 500, 10, 99]), ("wire/code", [20000, 0, 20, 1234])];

    #[test]
    fn a_budget_survives_its_file() {
        let before = budget(&BEFORE);
        assert_eq!(before.to_string().parse(), Ok(before));
        for damaged in ["wire/code\t1\t2\t3", "wire/code\t1\t2\t3\tx", "wire/code", "<<<<<<< HEAD"]
        {
            assert_eq!(damaged.parse::<Budget>(), Err(Unreadable(damaged.to_owned())));
        }
    }

    #[test]
    fn what_is_within_the_tolerance_is_nothing() {
        let found =
            budget(&[("engine/code", [1020, 500, 10, 99]), ("wire/code", [19600, 0, 20, 1234])]);
        assert_eq!(compare(&budget(&BEFORE), &found, true), Vec::<String>::new());
    }

    #[test]
    fn what_costs_more_is_told_with_both_figures() {
        let found =
            budget(&[("engine/code", [1021, 500, 11, 99]), ("wire/code", [20000, 1, 20, 1234])]);
        assert_eq!(
            compare(&budget(&BEFORE), &found, true),
            [
                "engine/code is worse: instructions 1,000 -> 1,021 (+2.1 %)",
                "engine/code is worse: allocations 10 -> 11 (+10.0 %)",
                "wire/code is worse: SHA-256 0 -> 1 (new)",
            ]
        );
    }

    #[test]
    fn a_budget_that_is_too_large_is_told_too() {
        let found = budget(&[("engine/code", [900, 500, 10, 98]), BEFORE[1]]);
        assert_eq!(
            compare(&budget(&BEFORE), &found, true),
            [
                "engine/code is better: instructions 1,000 -> 900 (-10.0 %)",
                "engine/code is better: bytes 99 -> 98 (-1.0 %)",
            ]
        );
    }

    #[test]
    fn a_case_that_comes_or_goes_is_told() {
        let found = budget(&[BEFORE[0], ("wire/new", [1, 1, 1, 1])]);
        assert_eq!(
            compare(&budget(&BEFORE), &found, true),
            [
                "wire/new is not in the budget",
                "wire/code is in the budget, and there is no such case"
            ]
        );
        let some = budget(&BEFORE[..1]);
        assert_eq!(compare(&budget(&BEFORE), &some, false), Vec::<String>::new());
    }

    #[test]
    fn only_what_was_measured_in_the_same_surroundings_is_compared() {
        let mut found = budget(&[("engine/code", [9, 9, 11, 99]), BEFORE[1]]);
        found.surroundings.machine = "another".to_owned();
        assert_eq!(
            compare(&budget(&BEFORE), &found, true),
            ["engine/code is worse: allocations 10 -> 11 (+10.0 %)"]
        );
        found.surroundings.compiler = "another".to_owned();
        assert_eq!(compare(&budget(&BEFORE), &found, true), Vec::<String>::new());
    }

    #[test]
    fn what_is_accepted_leaves_alone_what_has_hardly_moved() {
        let found = budget(&[
            ("engine/code", [1010, 500, 9, 99]),
            ("wire/code", [20015, 3, 20, 1230]),
            ("wire/new", [7, 0, 0, 0]),
        ]);
        let new = accepted(&budget(&BEFORE), found.clone());
        assert_eq!(
            new,
            budget(&[
                ("engine/code", [1010, 500, 9, 99]),
                ("wire/code", [20000, 3, 20, 1230]),
                ("wire/new", [7, 0, 0, 0]),
            ])
        );
        let mut elsewhere = found;
        elsewhere.surroundings.machine = "another".to_owned();
        assert_eq!(accepted(&budget(&BEFORE), elsewhere.clone()), elsewhere);
    }

    #[test]
    fn the_table_takes_its_place_in_a_page() {
        let document = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = written(&document, &budget(&BEFORE)).expect("a place");
        assert!(new.starts_with("before\n") && new.ends_with("\nafter\n"), "{new}");
        assert!(
            new.contains("| `code` |  |  | 1,000 | 10 | 20,000 | 20 |  |  | 1,234 | 0 |"),
            "{new}"
        );
        assert_eq!(written(&new, &budget(&BEFORE)), Some(new));
        assert_eq!(written("no place", &budget(&BEFORE)), None);
    }
}
