//! `counted CASE REQUESTS`: makes so many requests, after a warm-up, for valgrind to count. The case `machine`
//! prints what of the processor decides which instructions are taken.

#![expect(clippy::expect_used, reason = "it is run by grantor-budget, which tells what went wrong")]

use std::io::Write as _;

use grantor_budget::{Ready, WARM_UP, World, cases, count_this};

/// What `ring` and the C library look at, as far as valgrind shows it.
fn processor() -> String {
    let mut found: Vec<&str> = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("ssse3", std::arch::is_x86_feature_detected!("ssse3")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("adx", std::arch::is_x86_feature_detected!("adx")),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
    ] {
        if there {
            found.push(name);
        }
    }
    found.join(" ")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("the name of a case");
    if name == "machine" {
        writeln!(std::io::stdout(), "{}", processor()).expect("standard output");
        return;
    }
    let requests: usize = arguments.next().and_then(|n| n.parse().ok()).expect("how many requests");
    let case = cases().find(|case| case.name == name).expect("there is no such case");
    let world = World::new();
    let mut ready: Vec<Ready<'_>> = (0..WARM_UP + requests).map(|_| case.prepare(&world)).collect();
    for request in ready.drain(..WARM_UP) {
        request();
    }
    count_this(ready);
}
