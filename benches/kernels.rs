//! The engine's kernels one at a time, for changes to one: compares with the run before.
//!
//!     cargo bench --bench kernels                     all of them
//!     cargo bench --bench kernels -- 'depthwise 5x5'  some of them
//!
//! Throughput is counted in floating-point operations: Gelem/s are GFLOP/s of one core. `CANDLEWICK_SIMD` chooses the
//! instruction set. The kernels and their planes are those of `candlewick bench primitives`.

use candlewick::bench::primitives;
use candlewick::engine::Isa;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

fn kernels(criterion: &mut Criterion) {
    let isa = Isa::choose().expect("CANDLEWICK_SIMD names an instruction set that this processor has");
    let mut group = criterion.benchmark_group(isa.name());
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for mut primitive in primitives(isa) {
        let (flops, bytes) = primitive.work();
        group.throughput(match flops {
            0 => Throughput::Bytes(bytes as u64),
            flops => Throughput::Elements(flops as u64),
        });
        let name = format!("{}, {} channels at {}", primitive.name, primitive.channels, primitive.size);
        group.bench_function(name, |bencher| bencher.iter(|| primitive.run()));
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
