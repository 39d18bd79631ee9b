use super::*;

fn entry(num: u64, state: MessageState) -> Entry {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&num.to_le_bytes());
    let body = state.has_body().then(|| Bytes::from(vec![num.to_le_bytes()[0]; 200]));
    let row = MessageRow {
        num: MessageNum(num),
        group: GroupNum(1 + u32::from(num.is_multiple_of(7))),
        state,
        timestamp_ms: 1_700_000_000_000 + num as i64,
        eff_ms: 1_700_000_000_000 + num as i64,
        arrived: Time(1_700_000_000_900),
        origin: Some(PeerNum(1)),
        body_len: 200,
        ..MessageRow::wanted(MessageId::from_bytes(id), GroupNum(1))
    };
    Entry { row, deps: Bytes::from_static(&[2]), body }
}

/// Delivered one after the other.
fn line(first: u64, count: u64) -> Block {
    let mut block = Block::new(first);
    let mut value = 99;
    for num in first..first + count {
        let mut entry = entry(num, MessageState::Delivered);
        value = chain(value, &entry.row.id);
        entry.row =
            MessageRow { group: GroupNum(1), position: num - 3, height: num - 3, chain: value, ..entry.row };
        block.slots.push(Slot::Entry(entry));
    }
    block
}

#[test]
fn a_line_takes_few_bytes() {
    let block = line(1_000_000, 67);
    let bytes = Bytes::from(block.encode());
    assert_eq!(Block::decode(1_000_000, &bytes, true).unwrap(), block);
    // Body, id, and 11 or 12 more.
    assert!(bytes.len() <= 67 * (200 + 32 + 12) + HEADER, "{}", bytes.len());
    assert!(
        (block.used() - HEADER..=block.used()).contains(&bytes.len()),
        "{} {}",
        bytes.len(),
        block.used()
    );
    // So that so many of them go into one.
    let mut growing = Block::new(1_000_000);
    let mut used = HEADER;
    for slot in &block.slots {
        let Slot::Entry(entry) = slot else { panic!() };
        used += growing.room_for(entry);
        growing.slots.push(slot.clone());
    }
    assert!((bytes.len()..=Block::limit(0, true)).contains(&used), "{used}");
}

/// What a small commit writes again is one page, and the pages before are full.
#[test]
fn a_block_ends_with_its_full_pages() {
    for count in 1..67 {
        let block = line(1_000_000, count);
        let mut rest = block.clone();
        match block.end_of_full_pages(block.used()) {
            None => {
                let page = PAGES.into_iter().find(|page| block.used() <= *page).unwrap();
                assert!(page == PAGES[0] || page - block.used() < 2 * 250, "{count}: {}", block.used());
            }
            Some(end) => {
                let rest = Block { first: rest.first + end as u64, slots: rest.slots.split_off(end) };
                let front = Block { first: block.first, slots: block.slots[..end].to_vec() };
                assert!(rest.used() <= PAGES[0], "{count}: {}", rest.used());
                let page = PAGES.into_iter().find(|page| front.used() <= *page).unwrap();
                assert!(page - front.used() < 250, "{count}: {}", front.used());
            }
        }
    }
}

#[test]
fn every_field_goes_round() {
    let mut block = Block::new(10);
    for code in 0..9 {
        let state = MessageState::from_code(code).unwrap();
        let entry = entry(block.end(), state);
        let at = u64::from(state.is_delivered()) * (u64::from(code) + 5);
        let plain = MessageRow { position: at, chain: at << 60, ..entry.row };
        block.slots.push(Slot::Entry(Entry { row: plain, ..entry.clone() }));
        block.slots.push(Slot::Hole);
        let num = MessageNum(block.end());
        let odd = MessageRow {
            num,
            timestamp_ms: i64::MIN,
            eff_ms: i64::MAX,
            height: u64::MAX >> 1,
            position: u64::from(state.is_delivered()) * (u64::MAX >> 1),
            chain: u64::MAX,
            origin: Some(PeerNum(u32::MAX)),
            arrived: Time(u64::MAX),
            body_len: u32::MAX,
            missing: u32::MAX,
            reason: 255,
            author: Some(AuthorNum(u32::MAX)),
            expires_ms: Some(i64::MIN),
            group: GroupNum(u32::MAX),
            ..plain
        };
        block.slots.push(Slot::Entry(Entry { row: odd, deps: Bytes::new(), body: None }));
        let num = MessageNum(block.end());
        let empty = Some(Bytes::new()).filter(|_| state.has_body());
        let row = MessageRow { num, origin: None, body_len: 0, ..plain };
        block.slots.push(Slot::Entry(Entry { row, deps: Bytes::new(), body: empty }));
    }
    let bytes = Bytes::from(block.encode());
    assert_eq!(Block::decode(10, &bytes, true).unwrap(), block);
}

#[test]
fn a_message_that_changes_takes_none_of_those_behind_it_along() {
    let mut block = line(20, 5);
    let before = block.clone();
    *block.slot_mut(22).unwrap() = Slot::Hole;
    let bytes = Bytes::from(block.encode());
    let read = Block::decode(20, &bytes, true).unwrap();
    assert_eq!(read, block);
    assert_eq!(read.slot(23), before.slot(23));
}

/// Whatever the bytes are, reading them ends, and without trust no value follows from another.
#[test]
fn changed_bytes_are_read_or_not_and_nothing_worse() {
    let block = line(20, 5);
    let bytes = block.encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let _read = Block::decode(20, &Bytes::from(changed), true);
        }
        let _cut = Block::decode(20, &Bytes::copy_from_slice(&bytes[..at]), false);
    }
    let read = Block::decode(20, &Bytes::from(bytes), false).unwrap();
    let chains: Vec<u64> = read.entries().map(|entry| entry.unwrap().row.chain).collect();
    assert_eq!(chains[1..], [0; 4]);
    assert_ne!(chains[0], 0);
}
