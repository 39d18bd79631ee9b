//! The behaviours that every [`Store`] must have, as tests that any store can be put through.
//!
//! A store crate implements [`Harness`] and calls [`store_conformance!`](crate::store_conformance) in a test
//! file, which makes one `#[test]` of each behaviour. Everything here fails by panicking, as tests do.
//!
//! ```
//! use hedgerow_sync_core::MemoryStore;
//! use hedgerow_sync_core::store::conformance::{self, Harness};
//!
//! struct Memory(MemoryStore);
//!
//! impl Harness for Memory {
//!     type Store = MemoryStore;
//!
//!     fn new() -> Self {
//!         Self(MemoryStore::new())
//!     }
//!
//!     fn store(&mut self) -> &mut MemoryStore {
//!         &mut self.0
//!     }
//!
//!     fn crash(&mut self) {
//!         self.0.crash();
//!     }
//! }
//!
//! // In a test file: hedgerow_sync_core::store_conformance!(Memory);
//! conformance::read_your_writes::<Memory>();
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a suite of tests")]

mod lists;
mod messages;
mod naive;
mod random;
mod samples;
mod small_rows;
mod transactions;

pub use self::lists::{
    edges_and_children, heads_of_groups, lists_by_expiry, lists_by_state, pages_in_canonical_order, scans,
};
pub use self::messages::{
    bodies_large_and_empty, contents_and_dependencies, lookups, numbers_are_not_reused, removal_of_messages,
    updates, wanted_messages_are_filled, wrong_writes_are_refused,
};
pub use self::random::any_sequence_as_the_model;
pub use self::small_rows::{
    a_new_store_is_empty, authors_of_groups, groups_and_their_heads, peers_and_their_groups,
    removal_of_groups, values_in_spaces,
};
pub use self::transactions::{
    a_crash_undoes_what_is_not_committed, commit_without_writes, read_your_writes, rollback_undoes,
};
use super::Store;

/// A place for a store under test.
pub trait Harness {
    /// The store.
    type Store: Store;

    /// A place with an empty store.
    fn new() -> Self;

    /// The store.
    fn store(&mut self) -> &mut Self::Store;

    /// Ends the store without a commit, as when the process is killed, and opens it again.
    fn crash(&mut self);
}

/// Makes one `#[test]` of each behaviour in [`conformance`](crate::store::conformance) for a
/// [`Harness`](crate::store::conformance::Harness).
#[macro_export]
macro_rules! store_conformance {
    ($harness:ty) => {
        $crate::store_conformance!(
            @each $harness:
            a_crash_undoes_what_is_not_committed,
            a_new_store_is_empty,
            any_sequence_as_the_model,
            authors_of_groups,
            bodies_large_and_empty,
            commit_without_writes,
            contents_and_dependencies,
            edges_and_children,
            groups_and_their_heads,
            lists_by_expiry,
            heads_of_groups,
            lists_by_state,
            lookups,
            numbers_are_not_reused,
            pages_in_canonical_order,
            peers_and_their_groups,
            read_your_writes,
            removal_of_groups,
            removal_of_messages,
            rollback_undoes,
            scans,
            updates,
            values_in_spaces,
            wanted_messages_are_filled,
            wrong_writes_are_refused,
        );
    };
    (@each $harness:ty: $($behaviour:ident,)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::store::conformance::$behaviour::<$harness>();
            }
        )*
    };
}
