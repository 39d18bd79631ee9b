//! The whole path of 10,000 messages of 200 bytes from one engine to an empty one, and its parts.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hedgerow_benches::Pair;
use hedgerow_sync_core::MemoryStore;
use hedgerow_sync_sqlite::SqliteStore;

const COUNT: u64 = 10_000;
const SIZE: usize = 200;

fn memory() -> Pair<MemoryStore> {
    Pair::new(MemoryStore::new(), MemoryStore::new()).unwrap()
}

fn file(folder: &tempfile::TempDir) -> Pair<SqliteStore> {
    let open = |name| SqliteStore::open(&folder.path().join(name), Default::default()).unwrap();
    Pair::new(open("a.db"), open("b.db")).unwrap()
}

fn sync(c: &mut Criterion) {
    let mut group = c.benchmark_group("10,000 messages of 200 bytes");
    group.throughput(Throughput::Elements(COUNT)).sample_size(10);
    group.bench_function("publish, memory", |b| {
        b.iter_batched(memory, |mut pair| pair.publish(COUNT, SIZE, 100).unwrap(), BatchSize::PerIteration);
    });
    let written = || {
        let mut pair = memory();
        pair.publish(COUNT, SIZE, 1000).unwrap();
        pair
    };
    group.bench_function("sync to an empty peer, memory", |b| {
        b.iter_batched(
            written,
            |mut pair| {
                assert_eq!(pair.sync(&mut |_| {}).unwrap().delivered, COUNT);
                pair
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("sync to an empty peer, SQLite", |b| {
        b.iter_batched(
            || {
                let folder = tempfile::tempdir().unwrap();
                let mut pair = file(&folder);
                pair.publish(COUNT, SIZE, 1000).unwrap();
                (folder, pair)
            },
            |(folder, mut pair)| {
                assert_eq!(pair.sync(&mut |_| {}).unwrap().delivered, COUNT);
                (folder, pair)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, sync);
criterion_main!(benches);
