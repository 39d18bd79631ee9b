//! Which messages one of two peers has and the other lacks, for about as many bytes as they differ by.
//!
//! A rateless invertible Bloom lookup table (Yang, Gilad, Alizadeh: Practical Rateless Set Reconciliation, SIGCOMM 2024)
//! over short ids: one side says *symbols* of its set, as many as it takes, and the other subtracts those of its own
//! set and solves what is left. Nobody has to know beforehand by how much the sets differ: some 1.5 symbols for each
//! difference are enough, whatever the sets have in common.
//!
//! The engine does this by itself where it pays (`docs/protocol.md`, section 11). For what goes one way only, such as a
//! drive that is carried to a peer, a sketch of [`one_way_symbols`] symbols is enough for a difference that is
//! known roughly:
//!
//! ```
//! use hedgerow_sync_core::proto::MessageId;
//! use hedgerow_sync_core::reconcile::{Key, Progress, Sketch, Solver, one_way_symbols};
//!
//! let key = Key::new([7; 32]);
//! let short = |n: u8| key.short_id(&MessageId::from_bytes([n; 32]), 8);
//! let mut alice = Sketch::new(key, (1..=100).map(short));
//! let sketch = alice.next_symbols(one_way_symbols(3));
//! // It is carried to Bob.
//! let mut bob = Solver::new(Sketch::new(key, (3..=101).map(short)), 100, 1_000);
//! let Progress::Solved(difference) = bob.take(&sketch, 0)? else { panic!("they differ by more") };
//! assert_eq!(difference.ours, [short(101)]);
//! assert_eq!(difference.theirs.len(), 2);
//! # Ok::<(), hedgerow_sync_core::reconcile::ReconcileError>(())
//! ```
//!
//! **Why there is a key.** Who knows where an id goes in the table can grind ids that all go to the same places, and then no
//! number of symbols is enough; who knows the short ids can make two messages with the same one, and hide one of
//! them. The key comes from what both sides drew for one session: nobody knows it when messages are made.

mod key;
mod sample;
mod sketch;
mod solver;
#[cfg(test)]
mod tests;

pub use self::key::Key;
pub use self::sample::Sample;
pub use self::sketch::{Sketch, Symbol, one_way_symbols, symbols_for};
pub use self::solver::{Difference, Progress, ReconcileError, Solver};
