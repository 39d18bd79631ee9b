//! The parts of the path of a message, each alone: decode, id, gate, order, store, seal.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hedgerow_benches::limits::parts::{self, Waiting};
use hedgerow_proto::{Codec as _, Message, NativeCodec};
use hedgerow_sync_core::{MemoryStore, OrderKey, Store, chain};
use hedgerow_sync_sqlite::SqliteStore;
use hedgerow_transports::fuzzing::StreamPair;

const COUNT: u64 = 2_000;

fn messages() -> Vec<Message> {
    parts::line(COUNT, 200).unwrap()
}

fn decode(c: &mut Criterion) {
    let frames: Vec<Bytes> = parts::frames(&messages(), usize::MAX).unwrap();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("frames of 64 KiB, messages of 200 bytes", |b| {
        b.iter(|| {
            let mut codec = NativeCodec::new();
            let decode = |frame: &Bytes| codec.decode(frame.clone()).unwrap().batches.len();
            frames.iter().map(decode).sum::<usize>()
        });
    });
    group.finish();
}

fn id(c: &mut Criterion) {
    let messages = messages();
    let mut group = c.benchmark_group("id");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("messages of 200 bytes with one parent", |b| {
        b.iter(|| messages.iter().map(Message::id).max());
    });
    group.finish();
}

fn order(c: &mut Criterion) {
    let messages = messages();
    let ids: Vec<_> = messages.iter().map(Message::id).collect();
    let mut group = c.benchmark_group("order");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("canonical key and chain value", |b| {
        b.iter(|| {
            let (mut value, mut last) = (0, (0, 0));
            for (message, id) in messages.iter().zip(&ids) {
                let key = OrderKey::of(message.timestamp_ms(), *id, [last]);
                last = (key.eff_ms, key.height);
                value = chain(value, id);
            }
            (value, last)
        });
    });
    group.finish();
}

/// Verdicts on messages that are stored: the gate, both orders, and the rows that change.
fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    group.throughput(Throughput::Elements(COUNT)).sample_size(20);
    for (name, backwards) in
        [("a chain, each judged as it comes", false), ("a chain, the last judged first", true)]
    {
        group.bench_function(name, |b| {
            b.iter_batched(
                || Waiting::new(MemoryStore::new(), &messages(), backwards).unwrap(),
                |mut waiting| {
                    assert_eq!(waiting.judge().unwrap(), COUNT);
                    waiting
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What stores do when messages come in order: looked up, inserted, committed by thousands.
fn store(c: &mut Criterion) {
    fn bench<S: Store>(c: &mut Criterion, name: &str, make: fn() -> S) {
        let rows = parts::rows(&messages()).unwrap();
        let mut group = c.benchmark_group("store");
        group.throughput(Throughput::Elements(COUNT)).sample_size(20);
        group.bench_function(name, |b| {
            b.iter_batched(
                || parts::prepared(make()).unwrap(),
                |mut store| {
                    parts::insert(&mut store, &rows).unwrap();
                    store
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
    bench(c, "insert, in memory", MemoryStore::new);
    bench(c, "insert, SQLite without a disk", || SqliteStore::in_memory().unwrap());
}

fn seal(c: &mut Criterion) {
    let frame = vec![5; 32 * 1024];
    let mut group = c.benchmark_group("seal");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("a frame of 32 KiB, sealed and opened", |b| {
        let mut pair = StreamPair::new(1 << 20);
        let mut taken = Vec::new();
        b.iter(|| {
            let sealed = pair.seal_frame(&frame).unwrap();
            pair.arrive(&sealed, &mut taken).unwrap();
            taken.drain(..).count()
        });
    });
    group.finish();
}

criterion_group!(benches, decode, id, order, gate, store, seal);
criterion_main!(benches);
