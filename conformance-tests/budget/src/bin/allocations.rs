//! Prints, for each case: its name, allocations and bytes allocated by one request.

#![expect(clippy::expect_used, reason = "it is run by grantor-budget, which tells what went wrong")]

use std::io::Write as _;

use grantor_budget::{Ready, WARM_UP, World, cases};

fn main() {
    for case in cases() {
        let world = World::new();
        let mut ready: Vec<Ready<'_>> = (0..2 * WARM_UP).map(|_| case.prepare(&world)).collect();
        for request in ready.drain(..WARM_UP) {
            request();
        }
        // The median: now and then one request more pays for the growth of the store.
        let mut counted: Vec<(u64, u64)> = ready
            .into_iter()
            .map(allocation_counter::measure)
            .map(|info| (info.count_total, info.bytes_total))
            .collect();
        counted.sort_unstable();
        let (count, bytes) = counted.get(counted.len() / 2).expect("there were requests");
        writeln!(std::io::stdout(), "{}\t{count}\t{bytes}", case.name).expect("standard output");
    }
}
