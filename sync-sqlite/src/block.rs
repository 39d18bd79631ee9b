//! Messages as they stand on the disk: some tens of them, with numbers that follow each other, in one blob.
//!
//! What follows from the other messages of the block, or is nearly so, takes no room or a byte: times and heights are
//! distances from those of the block, and where a message comes after the one before it in the delivery order of their
//! group, neither its group nor its position nor its chain value are there. `docs/storage.md` has the format.

use bytes::Bytes;
use hedgerow_proto::MessageId;
use hedgerow_sync_core::store::{AuthorNum, GroupNum, MessageNum, MessageRow, MessageState, PeerNum};
use hedgerow_sync_core::{StoreError, Time, chain};

use crate::error::corrupt;
use crate::varint;

/// Bodies up to this many bytes are in the block. Longer ones have a row of their own, so that judging a message does
/// not write them again.
pub(crate) const INLINE_BODY: usize = 1_024;
/// What one to four pages of 4,096 bytes hold of a row. A block that is filled in one transaction has four, so that few
/// bytes of pages stay unused. One that goes on in another transaction ends with the page that it has begun: else each
/// commit of a few messages would write several pages again.
const PAGES: [usize; 4] = [4_046, 8_138, 12_230, 16_322];
/// What the fields take that a message gets at its delivery, in bytes, where they do not follow from another one.
const PLACE: usize = 14;
/// What is kept free for the content of a message of which only the id is known, in bytes.
const CONTENT: usize = 256;
/// How many numbers a block spans at most, those that are not there included.
pub(crate) const MOST: usize = 512;

const STATE: u8 = 0x0f;
/// It comes after the one before in the delivery order of their group.
const FOLLOWS: u8 = 0x10;
/// Fields that are mostly 0.
const RARE: u8 = 0x20;
const AUTHOR: u8 = 0x40;
const EXPIRES: u8 = 0x80;

/// A message without a body that is too long for its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) row: MessageRow,
    /// Its dependencies, as [`crate::deps`] writes them.
    pub(crate) deps: Bytes,
    pub(crate) body: Option<Bytes>,
}

impl Entry {
    /// Whether the group, position and chain value of `next` follow from this message.
    fn leads_to(&self, next: &MessageRow) -> bool {
        let row = &self.row;
        row.state.is_delivered()
            && next.state.is_delivered()
            && row.group == next.group
            && row.position.checked_add(1) == Some(next.position)
            && chain(row.chain, &next.id) == next.chain
    }

    /// How many bytes it will grow by.
    fn later(&self) -> usize {
        match self.row.state {
            MessageState::Wanted => CONTENT,
            state if state.is_delivered() => 0,
            _ => PLACE,
        }
    }

    /// What it takes with these fields, and will grow by, in bytes. The length before it takes two.
    fn size(&self, fields: &[u8]) -> usize {
        2 + fields.len() + self.body.as_ref().map_or(0, Bytes::len) + self.later()
    }

    /// What it will take at most behind another one if its numbers are not uncommon, in bytes. Found quickly.
    fn expected(&self, before: Option<&Self>) -> usize {
        let row = &self.row;
        let follows = before.is_some_and(|before| {
            let before = &before.row;
            before.group == row.group
                && before.position > 0
                && before.position.checked_add(1) == Some(row.position)
        });
        let place = if row.state.is_delivered() && !follows { PLACE } else { 0 };
        FIELDS + self.deps.len() + self.body.as_ref().map_or(0, Bytes::len) + self.later() + place
    }

    /// How long a body in the block is if nothing else is said.
    fn expected_body(row: &MessageRow) -> Option<usize> {
        let len = usize::try_from(row.body_len).ok().filter(|len| *len <= INLINE_BODY);
        len.filter(|_| row.state.has_body())
    }
}

/// The place of one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// No message has the number any more.
    Hole,
    Entry(Entry),
    /// There is one, which cannot be read.
    Broken,
}

impl Slot {
    /// What it may come to take, in bytes.
    pub(crate) fn expected(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.expected(None),
            Self::Hole | Self::Broken => 1,
        }
    }
}

/// Messages with numbers that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The number of the first slot.
    pub(crate) first: u64,
    pub(crate) slots: Vec<Slot>,
}

/// What times, positions and heights are counted from.
#[derive(Debug, Clone, Copy, Default)]
struct Base {
    first: u64,
    timestamp: i64,
    arrived: i64,
    offset: i64,
    height: i64,
}

impl Base {
    fn of<'a>(first: u64, rows: impl Iterator<Item = &'a MessageRow> + Clone) -> Self {
        let held = rows.clone().find(|row| row.state != MessageState::Wanted);
        let placed = rows.clone().find(|row| row.state.is_delivered());
        Self {
            first,
            timestamp: held.map_or(0, |row| row.timestamp_ms),
            arrived: held.map_or(0, |row| row.arrived.0.cast_signed()),
            offset: placed.map_or(0, |row| row.position.wrapping_sub(row.num.0).cast_signed()),
            height: placed
                .map_or(0, |row| row.height.wrapping_sub(row.num.0.wrapping_sub(first)).cast_signed()),
        }
    }

    /// The height of a message if the messages of the block are a chain.
    fn height_at(&self, num: u64) -> i64 {
        self.height.wrapping_add(num.wrapping_sub(self.first).cast_signed())
    }

    fn put(&self, out: &mut Vec<u8>) {
        [self.timestamp, self.arrived, self.offset, self.height]
            .iter()
            .for_each(|&n| varint::put_signed(out, n));
    }

    fn take(first: u64, bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            first,
            timestamp: varint::take_signed(bytes)?,
            arrived: varint::take_signed(bytes)?,
            offset: varint::take_signed(bytes)?,
            height: varint::take_signed(bytes)?,
        })
    }
}

impl Block {
    pub(crate) fn new(first: u64) -> Self {
        Self { first, slots: Vec::new() }
    }

    /// The number after its last one.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.slots.len() as u64)
    }

    pub(crate) fn slot(&self, num: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(num.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn slot_mut(&mut self, num: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(num.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| *slot == Slot::Hole)
    }

    /// The entries, by number.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<&Entry, StoreError>> {
        (self.first..).zip(&self.slots).filter_map(|(num, slot)| match slot {
            Slot::Hole => None,
            Slot::Entry(entry) => Some(Ok(entry)),
            Slot::Broken => Some(Err(broken(num))),
        })
    }

    /// What a block may have that has so many bytes now: one that was begun in this transaction, or an older one.
    pub(crate) fn limit(used: usize, begun: bool) -> usize {
        let [.., most] = PAGES;
        PAGES.into_iter().find(|page| used <= *page && !begun).unwrap_or(most)
    }

    /// How many bytes it will take once all of its messages are delivered.
    pub(crate) fn used(&self) -> usize {
        HEADER + self.sizes().sum::<usize>()
    }

    /// What each slot takes, and will grow by.
    fn sizes(&self) -> impl Iterator<Item = usize> {
        let base = Base::of(self.first, self.rows());
        let mut before = None;
        let mut fields = Vec::with_capacity(128);
        self.slots.iter().map(move |slot| {
            let Slot::Entry(entry) = slot else {
                before = None;
                return 1;
            };
            fields.clear();
            put_fields(&mut fields, entry, before, &base);
            before = Some(entry);
            entry.size(&fields)
        })
    }

    /// Where to end it so that it fills its pages, and what is left over fits into one page, with room in that for what
    /// comes next. `None` if there is nothing to be gained.
    pub(crate) fn end_of_full_pages(&self, used: usize) -> Option<usize> {
        let page = PAGES.iter().position(|page| used <= *page)?;
        let full = *PAGES.get(page.checked_sub(1)?)?;
        let (mut end, mut front, mut rest) = (0, HEADER, HEADER + PLACE);
        for size in self.sizes() {
            if rest == HEADER + PLACE && front + size <= full {
                (end, front) = (end + 1, front + size);
            } else {
                rest += size;
            }
        }
        let [one, ..] = PAGES;
        (end > 0 && rest <= one).then_some(end)
    }

    /// How many bytes another one at its end may come to take.
    pub(crate) fn room_for(&self, entry: &Entry) -> usize {
        let base = Base::of(self.first, self.rows().chain([&entry.row]));
        let mut fields = Vec::with_capacity(128);
        put_fields(&mut fields, entry, self.last(), &base);
        entry.size(&fields)
    }

    /// The same, a little too much, and found quickly.
    pub(crate) fn quick_room_for(&self, entry: &Entry) -> usize {
        entry.expected(self.last())
    }

    fn last(&self) -> Option<&Entry> {
        match self.slots.last() {
            Some(Slot::Entry(entry)) => Some(entry),
            _ => None,
        }
    }

    fn rows(&self) -> impl Iterator<Item = &MessageRow> + Clone {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Entry(entry) => Some(&entry.row),
            _ => None,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4_096);
        let base = Base::of(self.first, self.rows());
        base.put(&mut out);
        let mut before: Option<&Entry> = None;
        let mut fields = Vec::with_capacity(64);
        for slot in &self.slots {
            let Slot::Entry(entry) = slot else {
                // A broken one is never written again: who changes a block has read all of it.
                out.push(0);
                before = None;
                continue;
            };
            fields.clear();
            put_fields(&mut fields, entry, before, &base);
            let body = entry.body.as_deref().unwrap_or_default();
            varint::put(&mut out, (fields.len() + body.len()) as u64);
            out.extend_from_slice(&fields);
            out.extend_from_slice(body);
            before = Some(entry);
        }
        out
    }

    /// Reads a block. Without `trusted` no chain value follows from another: the bytes may have changed.
    pub(crate) fn decode(first: u64, data: &Bytes, trusted: bool) -> Option<Self> {
        let mut rest = &data[..];
        let base = Base::take(first, &mut rest)?;
        let mut block = Self::new(first);
        block.slots.reserve(data.len() / 128);
        while !rest.is_empty() && block.slots.len() < MOST {
            let len = varint::take(&mut rest).and_then(|len| usize::try_from(len).ok());
            let Some((bytes, after)) = len.and_then(|len| rest.split_at_checked(len)) else {
                // Nobody knows where the next one begins.
                block.slots.push(Slot::Broken);
                break;
            };
            rest = after;
            let slot = if bytes.is_empty() {
                Slot::Hole
            } else {
                let before = match block.slots.last() {
                    Some(Slot::Entry(entry)) => Some(entry),
                    _ => None,
                };
                take_entry(data, bytes, block.end(), before, &base, trusted).map_or(Slot::Broken, Slot::Entry)
            };
            block.slots.push(slot);
        }
        Some(block)
    }
}

/// What the beginning of a block takes at most, in bytes.
const HEADER: usize = 22;
/// What fields take that nearly all messages have, the id among them, in bytes.
const FIELDS: usize = 14 + 32;

pub(crate) fn broken(num: u64) -> StoreError {
    corrupt(format!("message {num} cannot be read"))
}

fn put_fields(out: &mut Vec<u8>, entry: &Entry, before: Option<&Entry>, base: &Base) {
    let row = &entry.row;
    let delivered = row.state.is_delivered();
    let follows = before.is_some_and(|before| before.leads_to(row));
    let lead = row.eff_ms.wrapping_sub(row.timestamp_ms);
    let body = entry.body.as_ref().map(Bytes::len);
    let odd_body = body != Entry::expected_body(row);
    let odd_chain = !delivered && row.chain != 0;
    let rare = lead != 0 || row.missing != 0 || row.reason != 0 || odd_body || odd_chain;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        row.state as u8
            | flag(follows, FOLLOWS)
            | flag(rare, RARE)
            | flag(row.author.is_some(), AUTHOR)
            | flag(row.expires_ms.is_some(), EXPIRES),
    );
    if !follows {
        varint::put(out, row.group.0.into());
        if delivered {
            let offset = row.position.wrapping_sub(row.num.0).cast_signed();
            varint::put_signed(out, offset.wrapping_sub(base.offset));
            out.extend_from_slice(&row.chain.to_le_bytes());
        }
    }
    varint::put_signed(out, row.timestamp_ms.wrapping_sub(base.timestamp));
    varint::put_signed(out, row.height.cast_signed().wrapping_sub(base.height_at(row.num.0)));
    varint::put(out, row.origin.map_or(0, |peer| u64::from(peer.0) + 1));
    varint::put_signed(out, row.arrived.0.cast_signed().wrapping_sub(base.arrived));
    varint::put(out, row.body_len.into());
    if rare {
        varint::put_signed(out, lead);
        varint::put(out, row.missing.into());
        out.push(row.reason);
        varint::put(out, body.map_or(0, |len| len as u64 + 1));
        if !delivered {
            varint::put(out, row.chain);
        }
    }
    if let Some(author) = row.author {
        varint::put(out, author.0.into());
    }
    if let Some(at) = row.expires_ms {
        varint::put_signed(out, at);
    }
    varint::put(out, entry.deps.len() as u64);
    out.extend_from_slice(&entry.deps);
    out.extend_from_slice(row.id.as_bytes());
}

fn take_entry(
    data: &Bytes,
    mut bytes: &[u8],
    num: u64,
    before: Option<&Entry>,
    base: &Base,
    trusted: bool,
) -> Option<Entry> {
    let rest = &mut bytes;
    let flags = take_byte(rest)?;
    let has = |flag: u8| flags & flag != 0;
    let state = MessageState::from_code(flags & STATE)?;
    let mut row = MessageRow { state, num: MessageNum(num), ..MessageRow::wanted(NO_ID, GroupNum(0)) };
    let follows = has(FOLLOWS);
    if follows {
        let before = &before.filter(|before| state.is_delivered() && before.row.state.is_delivered())?.row;
        (row.group, row.position) = (before.group, before.position.checked_add(1)?);
    } else {
        row.group = GroupNum(take_u32(rest)?);
        if state.is_delivered() {
            let offset = varint::take_signed(rest)?.wrapping_add(base.offset);
            row.position = num.wrapping_add(offset.cast_unsigned());
            i64::try_from(row.position).ok().filter(|position| *position > 0)?;
            let (chain, after) = rest.split_first_chunk::<8>()?;
            *rest = after;
            row.chain = u64::from_le_bytes(*chain);
        }
    }
    row.timestamp_ms = varint::take_signed(rest)?.wrapping_add(base.timestamp);
    row.height = varint::take_signed(rest)?.wrapping_add(base.height_at(num)).cast_unsigned();
    i64::try_from(row.height).ok()?;
    row.origin = match varint::take(rest)? {
        0 => None,
        n => Some(PeerNum(u32::try_from(n - 1).ok()?)),
    };
    row.arrived = Time(varint::take_signed(rest)?.wrapping_add(base.arrived).cast_unsigned());
    row.body_len = take_u32(rest)?;
    row.eff_ms = row.timestamp_ms;
    let mut body_len = Entry::expected_body(&row);
    if has(RARE) {
        row.eff_ms = row.timestamp_ms.wrapping_add(varint::take_signed(rest)?);
        row.missing = take_u32(rest)?;
        row.reason = take_byte(rest)?;
        body_len = match varint::take(rest)? {
            0 => None,
            n => Some(usize::try_from(n - 1).ok()?),
        };
        if !state.is_delivered() {
            row.chain = varint::take(rest)?;
        }
    }
    if has(AUTHOR) {
        row.author = Some(AuthorNum(take_u32(rest)?));
    }
    if has(EXPIRES) {
        row.expires_ms = Some(varint::take_signed(rest)?);
    }
    let deps_len = usize::try_from(varint::take(rest)?).ok()?;
    let (deps, after) = rest.split_at_checked(deps_len)?;
    let (id, body) = after.split_first_chunk::<32>()?;
    row.id = MessageId::from_bytes(*id);
    if follows && trusted {
        row.chain = chain(before?.row.chain, &row.id);
    }
    if body.len() != body_len.unwrap_or(0) {
        return None;
    }
    let slice = |part: &[u8]| if part.is_empty() { Bytes::new() } else { data.slice_ref(part) };
    Some(Entry { row, deps: slice(deps), body: body_len.map(|_| slice(body)) })
}

const NO_ID: MessageId = MessageId::from_bytes([0; 32]);

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    varint::take(bytes).and_then(|n| u32::try_from(n).ok())
}

#[cfg(test)]
mod tests;
