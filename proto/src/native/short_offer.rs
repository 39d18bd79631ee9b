//! OFFER by short ids.

use bytes::Bytes;

use super::{group_of, number_of, positions_of, positions_or_one, spans_from, v1};
use crate::frame::{DecodeError, EncodeError, ShortOffer};

pub(super) fn to_wire(offer: &ShortOffer) -> Result<v1::ShortOffer, EncodeError> {
    let (positions, at) = positions_or_one(&spans_from(offer.items.iter().map(|(position, _)| *position))?)?;
    let (ids, short) = match offer.items.as_slice() {
        &[(_, short)] if short != 0 => (Bytes::new(), short),
        items => (items.iter().flat_map(|(_, short)| short.to_be_bytes()).collect(), 0),
    };
    Ok(v1::ShortOffer { group: number_of(offer.group)?, positions, ids, chain: offer.chain, at, short })
}

pub(super) fn from_wire(offer: v1::ShortOffer) -> Result<ShortOffer, DecodeError> {
    let rule = |rule| DecodeError::Rule { record: "OFFER", rule };
    let (ids, rest) = offer.ids.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(rule("short ids have 8 bytes each"));
    }
    let shorts: Vec<u64> = match (ids, offer.short) {
        (_, 0) => ids.iter().map(|id| u64::from_be_bytes(*id)).collect(),
        ([], short) => vec![short],
        _ => return Err(rule("short ids, or one in their place")),
    };
    let spans = positions_of("OFFER", (&offer.positions, offer.at), shorts.len())?;
    let positions = spans.iter().flat_map(|span| span.first..=span.last);
    Ok(ShortOffer {
        group: group_of(offer.group),
        items: positions.zip(shorts).collect(),
        chain: offer.chain,
    })
}
