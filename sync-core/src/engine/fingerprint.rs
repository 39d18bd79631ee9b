//! What decides how an engine goes on, as a hash, for programs that explore its states.
//!
//! Times count relative to the engine's own clock, so that states which differ by the time of day alone are one.
//! Left out is what nothing follows from: counts of traffic, when a message came, the configuration (the same for
//! the whole exploration), and the random generator, which follows from how many links were up.

use std::fmt::Write as _;
use std::hash::Hasher;

use super::Engine;
use super::state::Link;
use crate::store::{MessageNum, MessageRow, Store, StoreError};
use crate::time::Time;

impl<S: Store> Engine<S> {
    /// Feeds `hasher` with everything that decides what the engine does from here on, as long as no message comes
    /// whose timestamp lies ahead of the clock. What a crash would take back is not seen here: that is the
    /// store's, see [`fingerprint_rows`].
    ///
    /// # Errors
    /// When the store fails.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) -> Result<(), StoreError> {
        // Taken apart, so that whoever adds a field has to decide whether it counts.
        let Self {
            store,
            config: _,
            rng: _,
            install,
            poisoned,
            dirty,
            groups,
            group_nums: _,
            // What was read of the store.
            authors: _,
            ledger: _,
            store_full,
            peers,
            peer_nums: _,
            last_nums,
            links,
            last_link,
            wants,
            shorts,
            // What was written to the store.
            waits: _,
            edges,
            unasked,
            reconciles,
            holders,
            events,
            validate_after,
            pruned_groups,
            expiry_at,
            changed_groups,
            changed_pairs,
            fresh_groups,
            grown_pairs,
            link_queue,
            timers,
            traffic: _,
            now,
        } = self;
        let mut text = String::with_capacity(8192);
        let small = (
            install,
            poisoned,
            dirty,
            store_full,
            last_nums,
            last_link,
            events,
            validate_after,
            link_queue,
            timers,
        );
        let changed = (pruned_groups, expiry_at, changed_groups, changed_pairs, fresh_groups, grown_pairs);
        // Writing to a string does not fail.
        let _infallible = write!(
            text,
            "{small:?}{changed:?}{groups:?}{peers:?}{wants:?}{shorts:?}{holders:?}{edges:?}{unasked:?}{reconciles:?}"
        );
        for (id, link) in links.iter() {
            let Link {
                peer,
                profile: _,
                codec,
                caps: _,
                scheme: _,
                opening_due,
                carried,
                unavailable_ids,
                nonce,
                // Older than it are all messages, see above.
                since: _,
                hello_due,
                hello_arrived,
                hello,
                max_frame,
                max_offers,
                ours,
                next_number,
                reconciles,
                announce_due,
                announce_again,
                names_in_vain,
                steps,
                farewells,
                theirs,
                resets,
                left,
                stances,
                tags,
                announced,
                ready,
                ready_set: _,
                large_told,
                refs,
                acked,
                ephemerals,
                in_flight_bytes,
                open_offers,
                lossy,
                resend,
                queued,
                traffic: _,
            } = link;
            let session = (id, peer, codec, nonce, hello_due, hello_arrived, hello, max_frame, max_offers);
            let names = (ours, next_number, announce_due, announce_again, farewells);
            let names =
                (names, reconciles, names_in_vain, steps, theirs, resets, left, stances, tags, announced);
            let due =
                (ready, large_told, refs, acked, ephemerals, in_flight_bytes, open_offers, lossy, queued);
            let unnamed = (opening_due, carried, unavailable_ids, resend);
            let _infallible = write!(text, "{session:?}{names:?}{due:?}{unnamed:?}");
        }
        hash_relative(&text, *now, hasher);
        fingerprint_rows(store, hasher)
    }
}

/// Feeds `hasher` with every row of a store, but for when messages came.
///
/// # Errors
/// When the store fails.
pub fn fingerprint_rows<S: Store>(store: &S, hasher: &mut impl Hasher) -> Result<(), StoreError> {
    let snapshot = store.load()?;
    let mut text = format!("{snapshot:?}");
    for group in &snapshot.groups {
        let _infallible = write!(text, "{:?}", store.heads(group.num)?);
    }
    let mut after = MessageNum(0);
    loop {
        let rows = store.scan(after, 64)?;
        let Some(last) = rows.last() else { break };
        after = last.num;
        for row in rows {
            let content = store.content(row.num)?;
            let deps = content.map(|content| content.deps);
            let row = MessageRow { arrived: Time(0), ..row };
            let _infallible = write!(text, "{row:?}{deps:?}");
        }
    }
    let _infallible = write!(text, "{:?}", store.edges((MessageNum(0), MessageNum(0)), usize::MAX)?);
    hasher.write(text.as_bytes());
    Ok(())
}

/// Hashes a debug print in which every time counts by its distance from `now`; 0 stands for no time at all.
fn hash_relative(text: &str, now: Time, hasher: &mut impl Hasher) {
    let mut parts = text.split("Time(");
    if let Some(first) = parts.next() {
        hasher.write(first.as_bytes());
    }
    for part in parts {
        let (digits, rest) = part.split_once(')').unwrap_or((part, ""));
        let at: u64 = digits.parse().unwrap_or(u64::MAX);
        let distance = if at == 0 { i64::MIN } else { at.wrapping_sub(now.0).cast_signed() };
        hasher.write_i64(distance);
        hasher.write(rest.as_bytes());
    }
}
