//! The Hedgerow sync engine: sans-I/O record state machine, dependency gate, two orders, store trait.

mod config;
mod engine;
mod error;
mod event;
mod order;
mod reading;
pub mod reconcile;
pub mod record;
mod seeded;
mod small;
mod spanset;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod verdict;

pub use config::{Config, Direction, Horizon, LinkProfile, PushPolicy};
pub use engine::{Engine, LinkId, Outstanding};
pub use error::{EngineError, ReceiveError, Rule, Violation};
pub use event::{
    Draft, Entry, Event, GroupInfo, GroupStatus, LinkStatus, Missing, PeerGroupStatus, Status, Traffic,
};
pub use hedgerow_proto as proto;
pub use order::{OrderKey, chain};
pub use reading::GroupReader;
pub use spanset::SpanSet;
pub use store::{MemoryStore, Store, StoreError};
pub use time::Time;
pub use verdict::{InvalidReason, MessageFacts, Verdict};
