//! Numbers as SQLite has them.

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::MessageNum;

use crate::error::corrupt;

/// A number that SQLite compares, so that it has to keep its order as a signed one.
pub(crate) fn signed(n: u64, what: &str) -> Result<i64, StoreError> {
    i64::try_from(n).map_err(|_| corrupt(format!("a {what} of {n} is out of range")))
}

/// How many rows at most.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Where a list goes on. No number is above the highest signed one.
pub(crate) fn after(num: MessageNum) -> i64 {
    i64::try_from(num.0).unwrap_or(i64::MAX)
}
