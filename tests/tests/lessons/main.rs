//! The faults of other sync engines, each as a test named after it. What is told of the others was measured on their
//! published code: Briar's BSP, MVDS (vac, Status), SDS (Waku), p2panda, subduction, iroh-docs.

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
