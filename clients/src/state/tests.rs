use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn gap(first: u64, last: u64) -> Note {
    Note::Gap(Span { first, last })
}

#[test]
fn a_gap_and_a_fork_show() {
    let mut state = AuthorState::new();
    assert_eq!(state.next_number(), Some(1));
    assert_eq!([1, 2].map(|n| state.note(n)), [Note::InOrder; 2]);
    assert_eq!(state.note(5), gap(3, 4));
    assert_eq!(state.note(6), Note::InOrder);
    assert_eq!(state.missing().collect::<Vec<_>>(), [Span { first: 3, last: 4 }]);
    assert_eq!(state.note(4), Note::Late);
    assert_eq!(state.note(3), Note::Late);
    assert_eq!(state.missing().count(), 0);
    assert_eq!(state.note(2), Note::Fork);
    assert_eq!(state.forked().spans().collect::<Vec<_>>(), [Span::one(2)]);
    assert_eq!(state.next_number(), Some(7));
}

#[test]
fn the_ends_of_the_numbers() {
    let mut state = AuthorState::new();
    assert_eq!(state.note(0), Note::Forgotten);
    assert_eq!(state.note(u64::MAX), gap(1, u64::MAX - 1));
    assert_eq!(state.next_number(), None);
    assert_eq!(state.note(u64::MAX), Note::Fork);
    assert_eq!(state.note(1), Note::Late);
    assert_eq!(AuthorState::from_bytes(&state.to_bytes()), Ok(state));
}

#[test]
fn an_author_who_leaves_gaps_takes_bounded_memory() {
    let mut state = AuthorState::new();
    for number in (1..100_000).map(|n| n * 1_000_000_007_u64) {
        assert!(matches!(state.note(number), Note::Gap(_)));
        state.note(number);
    }
    assert_eq!(state.seen.span_count(), MAX_AUTHOR_SPANS);
    assert_eq!(state.forked().span_count(), MAX_AUTHOR_SPANS);
    assert!(state.to_bytes().len() < 10 * 1024);
    assert_eq!(AuthorState::from_bytes(&state.to_bytes()), Ok(state.clone()));
    // What was forgotten is neither a fork nor late: nobody knows.
    assert_eq!(state.note(1), Note::Forgotten);
    assert_eq!(state.note(1_000_000_007), Note::Forgotten);
    assert_eq!(state.note(99_999 * 1_000_000_007), Note::Fork);
    assert_eq!(state.missing().count(), MAX_AUTHOR_SPANS);
}

#[test]
fn nothing_is_lost_on_whoever_keeps_what_is_forgotten() {
    let mut state = AuthorState::new();
    let mut kept = SpanSet::new();
    for number in (1..2_000).map(|n| n * 3) {
        if let (_, Some(span)) = state.note_forgetting(number) {
            kept.insert_span(span);
        }
    }
    assert_eq!(kept.len() + state.seen.len(), 1_999);
    assert_eq!(state.note_forgetting(3), (Note::Forgotten, None));
    assert!(kept.contains(3) && !state.seen.contains(3) && state.forked().is_empty());
    state.note_fork(3);
    assert!(state.forked().contains(3));
}

#[test]
fn what_is_no_state_is_refused() {
    let mut state = AuthorState::new();
    state.note(1);
    let bytes = state.to_bytes();
    assert_eq!(AuthorState::from_bytes(&[]), Err(StateError::Short));
    assert_eq!(AuthorState::from_bytes(&bytes[..bytes.len() - 1]), Err(StateError::Short));
    assert_eq!(AuthorState::from_bytes(&[2]), Err(StateError::Version(2)));
    assert_eq!(AuthorState::from_bytes(&[bytes.as_slice(), &[0x80]].concat()), Err(StateError::Numbers));
    let many: SpanSet = (1..=257).map(|n| Span::one(n * 2)).collect();
    let too_many = [bytes.as_slice(), &many.to_bytes()].concat();
    assert_eq!(AuthorState::from_bytes(&too_many), Err(StateError::Numbers));
    let mut below = bytes;
    below[8] = 1;
    assert_eq!(AuthorState::from_bytes(&below), Err(StateError::Numbers));
}

proptest! {
    #[test]
    fn it_counts(numbers in proptest::collection::vec(1_u64..40, 0..80)) {
        let mut state = AuthorState::new();
        let mut model = BTreeMap::<u64, u32>::new();
        for number in numbers {
            let highest = model.last_key_value().map_or(0, |(&n, _)| n);
            let want = match number {
                _ if model.contains_key(&number) => Note::Fork,
                _ if number < highest => Note::Late,
                _ if number == highest + 1 => Note::InOrder,
                _ => gap(highest + 1, number - 1),
            };
            prop_assert_eq!(state.note(number), want);
            *model.entry(number).or_default() += 1;
            let highest = state.highest();
            prop_assert_eq!(Some(&highest), model.keys().last());
            let missing: Vec<u64> = state.missing().flat_map(|s| s.first..=s.last).collect();
            prop_assert_eq!(missing, (1..highest).filter(|n| !model.contains_key(n)).collect::<Vec<_>>());
            for n in 1..45 {
                prop_assert_eq!(state.forked().contains(n), model.get(&n).is_some_and(|&count| count > 1));
            }
            prop_assert_eq!(AuthorState::from_bytes(&state.to_bytes()), Ok(state.clone()));
        }
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        if let Ok(mut state) = AuthorState::from_bytes(&bytes) {
            state.note(5);
            let _ = state.missing().count();
        }
    }
}
