//! OFFER by short ids.

use super::{number_of, positions_of, positions_to_wire, v1};
use crate::frame::{DecodeError, EncodeError, GroupRef, ShortOffer};

pub(super) fn to_wire(offer: &ShortOffer) -> Result<v1::ShortOffer, EncodeError> {
    Ok(v1::ShortOffer {
        group: number_of(offer.group)?,
        positions: positions_to_wire(offer.items.iter().map(|(position, _)| *position))?,
        ids: offer.items.iter().flat_map(|(_, short)| short.to_be_bytes()).collect(),
        chain: offer.chain,
    })
}

pub(super) fn from_wire(offer: v1::ShortOffer) -> Result<ShortOffer, DecodeError> {
    let (ids, rest) = offer.ids.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError::Rule { record: "OFFER", rule: "short ids have 8 bytes each" });
    }
    let spans = positions_of("OFFER", &offer.positions, ids.len())?;
    let positions = spans.iter().flat_map(|span| span.first..=span.last);
    let items = positions.zip(ids.iter().map(|id| u64::from_be_bytes(*id))).collect();
    Ok(ShortOffer { group: GroupRef::Number(offer.group), items, chain: offer.chain })
}
