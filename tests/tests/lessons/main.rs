//! The faults of other sync engines, each as a test named after it. What is told of the others was seen in their
//! published code: Briar's BSP, MVDS (vac, Status), SDS (Waku), p2panda, subduction. Where a test names none, the fault
//! is one that an engine of this kind easily has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod contacts;
mod encodings;
mod floods;
mod identity;
mod links;
mod order;
mod readers;
mod records;
mod replay;
mod sealed;
mod support;
