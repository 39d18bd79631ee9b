//! RECONCILE records as protobuf.

use super::{group_of, number_of, spans_of, spans_to_wire, v1};
use crate::frame::{DecodeError, EncodeError, Lacks, Reconcile, ReconcileStep, Symbols};
use crate::limits::{MAX_SHORT_ID, MIN_SHORT_ID, SYMBOL_OVERHEAD};

pub(super) fn to_wire(record: &Reconcile) -> Result<v1::Reconcile, EncodeError> {
    use v1::reconcile::Step;
    let step = match &record.step {
        ReconcileStep::Ask => Step::Ask(true),
        ReconcileStep::Symbols(symbols) => {
            if !fits(symbols.width, symbols.bytes.len()) {
                return Err(EncodeError("symbols of this width"));
            }
            Step::Symbols(v1::Symbols {
                first: symbols.first,
                count: symbols.count,
                width: symbols.width.into(),
                rest: symbols.rest,
                symbols: symbols.bytes.clone(),
            })
        }
        ReconcileStep::More(count) => Step::More(*count),
        ReconcileStep::Lacks(lacks) => {
            if !is_whole(lacks.cut, lacks.ids.len()) {
                return Err(EncodeError("short ids of this length"));
            }
            Step::Lacks(v1::Lacks { ids: lacks.ids.clone(), cut: lacks.cut.into(), more: lacks.more })
        }
        ReconcileStep::Stop => Step::Stop(true),
        ReconcileStep::Known { positions, chain } => {
            Step::Known(v1::Known { positions: spans_to_wire(positions)?, chain: *chain })
        }
    };
    Ok(v1::Reconcile { group: number_of(record.group)?, salt: record.salt, step: Some(step) })
}

/// Records with a step that is unknown here are left out.
pub(super) fn all_from_wire(records: Vec<v1::Reconcile>) -> Result<Vec<Reconcile>, DecodeError> {
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let Some(step) = record.step else { continue };
        let step = step_from_wire(step)?;
        all.push(Reconcile { group: group_of(record.group), salt: record.salt, step });
    }
    Ok(all)
}

fn step_from_wire(step: v1::reconcile::Step) -> Result<ReconcileStep, DecodeError> {
    use v1::reconcile::Step;
    let rule = |rule| DecodeError::Rule { record: "RECONCILE", rule };
    Ok(match step {
        Step::Ask(_) => ReconcileStep::Ask,
        Step::Symbols(symbols) => {
            let width = u8::try_from(symbols.width).unwrap_or(0);
            if !fits(width, symbols.symbols.len()) {
                return Err(rule("symbols are whole, with 5 to 8 bytes of a short id"));
            }
            ReconcileStep::Symbols(Symbols {
                first: symbols.first,
                count: symbols.count,
                width,
                rest: symbols.rest,
                bytes: symbols.symbols,
            })
        }
        Step::More(count) => ReconcileStep::More(count),
        Step::Lacks(lacks) => {
            let cut = u8::try_from(lacks.cut).unwrap_or(0);
            if !is_whole(cut, lacks.ids.len()) {
                return Err(rule("short ids are whole, with 1 to 8 bytes each"));
            }
            ReconcileStep::Lacks(Lacks { cut, ids: lacks.ids, more: lacks.more })
        }
        Step::Stop(_) => ReconcileStep::Stop,
        Step::Known(known) => {
            ReconcileStep::Known { positions: spans_of("RECONCILE", &known.positions)?, chain: known.chain }
        }
    })
}

fn fits(width: u8, len: usize) -> bool {
    (MIN_SHORT_ID..=MAX_SHORT_ID).contains(&width) && len.is_multiple_of(usize::from(width) + SYMBOL_OVERHEAD)
}

fn is_whole(cut: u8, len: usize) -> bool {
    (1..=MAX_SHORT_ID).contains(&cut) && len.is_multiple_of(usize::from(cut))
}
