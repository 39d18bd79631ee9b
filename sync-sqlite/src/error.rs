//! What SQLite says, in the words of the store.

use hedgerow_sync_core::StoreError;
use rusqlite::{Error, ErrorCode};

/// The store's word for an error of SQLite.
pub(crate) fn store_error(error: Error) -> StoreError {
    match &error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => StoreError::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => {
                StoreError::Corrupt(error.to_string())
            }
            _ => backend(error),
        },
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows => StoreError::Corrupt(error.to_string()),
        _ => backend(error),
    }
}

pub(crate) fn backend(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Backend(Box::new(error))
}

pub(crate) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

pub(crate) fn absent(what: &str, num: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("there is no {what} {num}"))
}

/// What the caller of a store did that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misuse {
    #[error("the store is open for reading only")]
    ReadOnly,
    #[error("the store has an older schema: it is opened for writing first, which brings it up to date")]
    OldSchema,
    #[error("only files of the operating system can be repaired")]
    OtherFiles,
    #[error("an earlier write of this transaction failed: it can only be rolled back")]
    Failed,
}
