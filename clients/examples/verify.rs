//! What it costs to judge posts: one by one, and many at once.
//!
//! `cargo run --release -p hedgerow-clients --example verify`

use std::error::Error;
use std::time::Instant;

use hedgerow_clients::{Author, Client, Content, PostDraft, PublicClient, PublicGroup};
use hedgerow_proto::Message;
use hedgerow_sync_core::Verdict;

const MESSAGES: usize = 2048;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let group = PublicGroup::new([1; 16], "plaza", "")?;
    println!("{MESSAGES} posts of 200 bytes of text, fastest of {ROUNDS} rounds; us per post");
    println!("{:>8} {:>9} {:>9} {:>9} {:>9}", "authors", "alone", "by 16", "by 64", "64/alone");
    for authors in [1, 16, MESSAGES] {
        let messages = posts(&group, authors)?;
        let alone = cost(&group, &messages, 1);
        let [by_16, by_64] = [16, 64].map(|size| cost(&group, &messages, size));
        let ratio = by_64 / alone;
        println!("{authors:>8} {alone:>9.1} {by_16:>9.1} {by_64:>9.1} {ratio:>9.2}");
    }
    println!("\nof 64 posts by 64 authors, some forged; us per post");
    for forged in [0, 1, 2, 8, 64] {
        let mut messages = posts(&group, MESSAGES)?;
        for batch in messages.chunks_mut(64) {
            for message in batch.iter_mut().step_by(64 / forged.max(1)).take(forged) {
                *message = Message::new(message.group(), 2, vec![], message.body().clone())?;
            }
        }
        println!("{forged:>8} {:>9.1}", cost(&group, &messages, 64));
    }
    Ok(())
}

fn posts(group: &PublicGroup, authors: usize) -> Result<Vec<Message>, Box<dyn Error>> {
    let text = Content::Text("x".repeat(200));
    let authors: Vec<Author> = (0..authors)
        .map(|n| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            Author::from_seed(&seed)
        })
        .collect();
    (1..)
        .zip(authors.iter().cycle())
        .take(MESSAGES)
        .map(|(number, author)| {
            let group = group.descriptor();
            let draft =
                PostDraft { group, timestamp_ms: 1, deps: &[], number, credential: None, expires_ms: None };
            Ok(draft.message(author, &text)?)
        })
        .collect()
}

/// Microseconds per message when `size` are judged at once.
fn cost(group: &PublicGroup, messages: &[Message], size: usize) -> f64 {
    let round = || {
        let start = Instant::now();
        let valid = messages
            .chunks(size)
            .flat_map(|chunk| PublicClient.judge(group.descriptor(), chunk))
            .filter(Verdict::is_valid)
            .count();
        assert!(valid <= messages.len());
        start.elapsed().as_secs_f64() * 1e6
    };
    let best = (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
    best / f64::from(u32::try_from(messages.len()).unwrap_or(u32::MAX))
}
