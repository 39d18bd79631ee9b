//! Frames, each kept once, with what the checks and the reader want to know of it.

use std::collections::HashMap;

use bytes::Bytes;
use hedgerow_proto::{Codec as _, DepRef, Frame, MessageId, NativeCodec, Span, Visibility};

/// A frame by number.
pub(super) type FrameId = u32;

/// One frame.
pub(super) struct Known {
    pub(super) bytes: Bytes,
    pub(super) frame: Frame,
}

/// Every frame that was ever made.
#[derive(Default)]
pub(super) struct Frames {
    all: Vec<Known>,
    by_bytes: HashMap<Bytes, FrameId>,
}

impl Frames {
    pub(super) fn get(&self, id: FrameId) -> &Known {
        &self.all[id as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of a frame, which must be one.
    pub(super) fn intern(&mut self, bytes: Bytes) -> Result<FrameId, String> {
        if let Some(&id) = self.by_bytes.get(&bytes) {
            return Ok(id);
        }
        let frame =
            NativeCodec::new().decode(bytes.clone()).map_err(|e| format!("a frame that is none: {e}"))?;
        let id = self.all.len() as FrameId;
        self.by_bytes.insert(bytes.clone(), id);
        self.all.push(Known { bytes, frame });
        Ok(id)
    }

    pub(super) fn intern_frame(&mut self, frame: &Frame) -> FrameId {
        let mut bytes = Vec::new();
        NativeCodec::new().encode(frame, &mut bytes).unwrap();
        self.intern(bytes.into()).unwrap()
    }

    /// The number of a frame, if it was ever made.
    pub(super) fn find(&self, frame: &Frame) -> Option<FrameId> {
        let mut bytes = Vec::new();
        NativeCodec::new().encode(frame, &mut bytes).ok()?;
        self.by_bytes.get(&Bytes::from(bytes)).copied()
    }

    /// What is in a frame, in one line. `name` gives messages their names.
    pub(super) fn describe(&self, id: FrameId, name: &dyn Fn(&MessageId) -> String) -> String {
        let frame = &self.get(id).frame;
        let mut parts = Vec::new();
        if let Some(number) = frame.number {
            parts.push(format!("#{number}"));
        }
        if !frame.frame_acks.is_empty() {
            parts.push(format!("got {}", spans(&frame.frame_acks)));
        }
        if frame.ping {
            parts.push("PING".into());
        }
        if let Some(hello) = &frame.hello {
            parts.push(format!("HELLO {:02x}{:02x}", hello.nonce[0], hello.nonce[1]));
        }
        for announce in &frame.announces {
            let stance = if announce.visibility == Visibility::Shared { "" } else { " not shared" };
            let reset = if announce.reset != 0 { " reset" } else { "" };
            parts.push(format!(
                "ANNOUNCE{stance}{reset} holds {} mark {}",
                spans(&announce.held),
                announce.mark
            ));
        }
        if let Some(in_step) = &frame.in_step {
            parts.push(format!("IN STEP {} from {}", in_step.values.len(), in_step.first));
        }
        if !frame.matched.is_empty() || !frame.unmatched.is_empty() {
            parts.push(format!("matched {} not {}", spans(&frame.matched), spans(&frame.unmatched)));
        }
        for ack in &frame.acks {
            let ids: Vec<_> = ack.ids.iter().map(name).collect();
            parts.push(format!("ACK {} known {} {}", spans(&ack.held), spans(&ack.known), ids.join(" ")));
        }
        for batch in &frame.batches {
            for message in &batch.messages {
                let deps: Vec<_> = message
                    .deps
                    .iter()
                    .map(|dep| match dep {
                        DepRef::Id(id) => name(id),
                        DepRef::Position(position) => format!("@{position}"),
                    })
                    .collect();
                let body = String::from_utf8_lossy(&message.body);
                let at = message.position.map(|at| format!(" @{at}")).unwrap_or_default();
                parts.push(format!("MESSAGE {body}{at} after [{}]", deps.join(" ")));
            }
        }
        for offer in &frame.offers {
            let items: Vec<_> = offer
                .items
                .iter()
                .map(|item| format!("{}@{}", name(&item.id), item.position.unwrap_or(0)))
                .collect();
            parts.push(format!("OFFER {}", items.join(" ")));
        }
        for offer in &frame.short_offers {
            let items: Vec<_> = offer.items.iter().map(|(at, short)| format!("{short:x}@{at}")).collect();
            parts.push(format!("OFFER {}", items.join(" ")));
        }
        for request in &frame.requests {
            let ids: Vec<_> = request.ids.iter().map(name).collect();
            parts.push(format!("REQUEST {} {}", spans(&request.positions), ids.join(" ")));
        }
        for unavailable in &frame.unavailables {
            let ids: Vec<_> = unavailable.ids.iter().map(name).collect();
            let gone: Vec<_> = unavailable.tombstones.iter().map(|gone| name(&gone.id)).collect();
            let gone = if gone.is_empty() { String::new() } else { format!(" pruned {}", gone.join(" ")) };
            parts.push(format!("UNAVAILABLE {} {}{gone}", spans(&unavailable.positions), ids.join(" ")));
        }
        parts.extend(frame.reconciles.iter().map(|record| format!("RECONCILE {:?}", record.step)));
        if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
    }
}

/// Whether a frame carries a message with this body.
pub(super) fn carries(bytes: &Bytes, body: &Bytes) -> bool {
    let frame = NativeCodec::new().decode(bytes.clone());
    frame.is_ok_and(|frame| {
        frame.batches.iter().flat_map(|b| &b.messages).any(|message| message.body == *body)
    })
}

fn spans(spans: &[Span]) -> String {
    let text: Vec<_> = spans
        .iter()
        .map(|span| {
            if span.first == span.last {
                span.first.to_string()
            } else {
                format!("{}..{}", span.first, span.last)
            }
        })
        .collect();
    format!("{{{}}}", text.join(" "))
}
