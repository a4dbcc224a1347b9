//! What callgrind wrote, function by function.

use std::collections::{BTreeMap, HashMap};

/// What a function took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// By itself.
    pub own: u64,
    /// With all that it called.
    pub inclusive: u64,
}

/// Instructions, by function.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// In all.
    pub total: u64,
    /// By the names of functions; one that calls itself has more names, with `'2` and so on behind.
    pub functions: BTreeMap<String, Taken>,
}

impl Profile {
    /// Reads a profile; `None`: nothing was counted, or it cannot be read.
    ///
    /// The format is that of the manual of valgrind, "Callgrind Format Specification".
    pub fn read(text: &str) -> Option<Self> {
        let mut profile = Self::default();
        // Names stand behind their number the first time only.
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut caller, mut callee, mut called) = ("", "", false);
        for line in text.lines() {
            if let Some(sum) = line.strip_prefix("summary: ") {
                profile.total = sum.trim().parse().ok()?;
            } else if let Some((kind, name)) = line.split_once('=') {
                if matches!(kind, "fn" | "cfn") {
                    let (number, text) = name.split_once(' ').unwrap_or((name, ""));
                    let name = *names.entry(number).or_insert(text);
                    *(if kind == "fn" { &mut caller } else { &mut callee }) = name;
                }
                called = kind == "calls";
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost: u64 = line.split(' ').nth(1)?.parse().ok()?;
                let taken = profile.functions.entry(caller.to_owned()).or_default();
                // The line after `calls=` has what the callee took with all that it called.
                if !called {
                    taken.own += cost;
                    taken.inclusive += cost;
                } else if caller != callee {
                    taken.inclusive += cost;
                }
                called = false;
            }
        }
        Some(profile).filter(|profile| profile.total > 0)
    }

    /// In the functions whose names have this in them, and in nothing that they call.
    pub fn within(&self, name: &str) -> u64 {
        let these = self.functions.iter().filter(|(function, _)| function.contains(name));
        these.map(|(_, taken)| taken.own).sum()
    }

    /// The functions that took most of `requests` requests, of what `part` says; not those that only
    /// surround all of it.
    pub fn most(&self, requests: u64, part: fn(&Taken) -> u64, how_many: usize) -> String {
        let mut all: Vec<(&String, u64)> =
            self.functions.iter().map(|(name, taken)| (name, part(taken))).collect();
        all.sort_unstable_by_key(|(name, cost)| (u64::MAX - cost, *name));
        let line = |(name, cost): (&String, u64)| {
            let percent = 100 * cost / self.total.max(1);
            format!("{:10} {percent:3} %  {name}\n", cost / requests)
        };
        let within = all.into_iter().filter(|(_, cost)| *cost < self.total);
        within.take(how_many).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "events: Ir\nsummary: 147\n\nfl=(1) a\nfn=(1) outer\n5 10\ncfn=(2) sha256_block_data_order_avx\n\
                        calls=3 0\n6 77\n+1 3\n\nfn=(2)\n1 40\n* 20\ncfn=(3) inner\ncalls=1 0\n-1 17\n\n\
                        fn=(3)\n9 17\nfn=(4) sha256_block_data_order\n2 13\ncfn=(4)\ncalls=1 0\n9 13\n";

    #[test]
    fn what_a_function_took_is_told_without_and_with_what_it_called() {
        let profile = Profile::read(TEXT).expect("a profile");
        let taken = |name: &str| profile.functions.get(name).map(|t| (t.own, t.inclusive));
        assert_eq!(taken("outer"), Some((13, 90)));
        assert_eq!(taken("sha256_block_data_order_avx"), Some((60, 77)));
        assert_eq!(taken("inner"), Some((17, 17)));
        assert_eq!(taken("sha256_block_data_order"), Some((13, 13)), "it calls itself");
        assert_eq!(profile.within("sha256_block_data_order_"), 60);
    }

    #[test]
    fn the_dearest_come_first() {
        let profile = Profile::read(TEXT).expect("a profile");
        assert_eq!(
            profile.most(10, |taken| taken.inclusive, 2),
            "         9  61 %  outer\n         7  52 %  sha256_block_data_order_avx\n"
        );
    }

    #[test]
    fn a_profile_of_nothing_is_none() {
        assert_eq!(Profile::read("events: Ir\nsummary: 0\n"), None);
        assert_eq!(Profile::read("fn=(1) outer\n5\n"), None, "damaged");
    }
}
