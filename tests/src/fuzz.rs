//! What the fuzz targets do, as plain functions: each takes any bytes and panics when a rule does not hold. The
//! folder `fuzz` runs them under libFuzzer; `tests/corpora.rs` runs them over the seeds that are kept there.
//! `docs/fuzzing.md` says how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod carriers;
pub mod chats;
pub mod control;
pub mod dialects;
mod heal;
pub mod interaction;
mod liar;
pub mod scenarios;
mod tape;
pub mod wire;
mod world;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of the program in `fuzz/fuzz_targets` and of the folder in `fuzz/seeds`.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: wire::frame },
    Target { name: "spans", run: wire::spans },
    Target { name: "spanset", run: wire::spanset },
    Target { name: "ids", run: wire::ids },
    Target { name: "ticket", run: chats::ticket },
    Target { name: "payload", run: chats::payload },
    Target { name: "descriptor", run: chats::descriptor },
    Target { name: "body", run: chats::body },
    Target { name: "content", run: chats::content },
    Target { name: "author", run: chats::author },
    Target { name: "address", run: carriers::address },
    Target { name: "packet", run: carriers::packet },
    Target { name: "datagrams", run: carriers::datagrams },
    Target { name: "chunks", run: carriers::chunks },
    Target { name: "handshake", run: carriers::handshake },
    Target { name: "request", run: control::request },
    Target { name: "reply", run: control::reply },
    Target { name: "lines", run: control::lines },
    Target { name: "row", run: control::row },
    Target { name: "mvds", run: dialects::mvds },
    Target { name: "bundle", run: dialects::bundle },
    Target { name: "bsp", run: dialects::bsp },
    Target { name: "plain", run: dialects::plain },
    Target { name: "scenario", run: scenarios::scenario },
    Target { name: "trace", run: scenarios::trace },
    Target { name: "interaction", run: interaction::interaction },
];
