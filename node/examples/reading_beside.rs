//! How long a message takes to be written while others read: alone, beside a reader of pages, beside a check; with readers
//! of their own, and with all reads on the engine's thread.
//!
//! ```text
//! cargo run --release -p hedgerow --example reading_beside -- [MESSAGES]
//! ```

use std::time::{Duration, Instant};

use hedgerow::{Chat, Direction, Node};
use hedgerow_sync_sqlite::{Options, SqliteStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many messages are written in each case.
const SENDS: usize = 300;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let messages: usize = std::env::args().nth(1).map_or(Ok(20_000), |count| count.parse())?;
    println!("{SENDS} messages of 200 bytes, one after the other, in a chat of {messages}; ms");
    println!("reads                    beside              p50       p99       max");
    for own in [false, true] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("store.db");
        let builder = Node::builder().name("ada").offline();
        let builder = match own {
            true => builder.home(folder.path()),
            false => builder.store([7; 32], move || SqliteStore::open(&path, Options::default())),
        };
        let node = builder.spawn().await?;
        let chat = node.create_public("plaza").await?;
        for part in 0..messages / 1_000 {
            let texts = (0..1_000).map(|n| format!("{part}/{n:0>190}")).collect();
            chat.send_many(texts).await?;
        }
        let reads = if own { "on threads of their own" } else { "on the engine's thread" };
        show(reads, "nothing", &send(&chat).await?);
        let reader = chat.clone();
        // Each ends with the task.
        let pages =
            tokio::spawn(async move { while reader.page(None, Direction::Backward, 256).await.is_ok() {} });
        show(reads, "a reader of pages", &send(&chat).await?);
        pages.abort();
        let checker = node.clone();
        let checks = tokio::spawn(async move { while checker.check().await.is_ok() {} });
        show(reads, "checks", &send(&chat).await?);
        checks.abort();
        node.shutdown().await?;
    }
    Ok(())
}

async fn send(chat: &Chat) -> Result<Vec<Duration>, Failure> {
    let text = "x".repeat(200);
    let mut times = Vec::with_capacity(SENDS);
    for _ in 0..SENDS {
        let began = Instant::now();
        chat.send(&text).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn show(reads: &str, beside: &str, times: &[Duration]) {
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len() - 1)).map_or(0.0, ms);
    println!("{reads:<24} {beside:<18} {:>9.2} {:>9.2} {:>9.2}", at(50), at(99), at(100));
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
