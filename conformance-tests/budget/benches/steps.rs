//! What a request costs in time, case by case: the pure decision, the engine around it on the store in
//! memory, the whole server from request to response.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use grantor_budget::{World, cases};

fn steps(criterion: &mut Criterion) {
    for case in cases() {
        let world = World::new();
        criterion.bench_function(case.name, |bencher| {
            let size = BatchSize::NumIterations(64);
            bencher.iter_batched(|| case.prepare(&world), |request| request(), size);
        });
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
