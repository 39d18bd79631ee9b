//! Bytes on the wire: exact, before encryption, both ways.

use bytes::Bytes;
use hedgerow_proto::{Codec as _, GroupDescriptor, NativeCodec, Visibility};
use hedgerow_sync_core::{Config, Engine, LinkProfile, MemoryStore, PushPolicy, Time};

use super::measure::{Scale, to_f64};
use super::row::{Goal, Row};
use super::workload::{START, peer, sound};
use crate::{Failure, Pair};

/// 10,000 messages of 200 bytes pushed to an empty peer, each with one parent.
pub(crate) fn push(_: Scale) -> Result<Vec<Row>, Failure> {
    let (count, size) = (10_000, 200);
    let bytes = |profile| -> Result<u64, Failure> {
        let mut pair = Pair::over(MemoryStore::new(), MemoryStore::new(), profile)?;
        pair.publish(count, size, 1000)?;
        let cost = pair.sync(&mut |_| {})?;
        pair.verify(count)?;
        Ok(cost.bytes)
    };
    let ours = bytes(LinkProfile::reliable())?;
    let mvds = bytes(LinkProfile::mvds(true, PushPolicy::Always))?;
    let bodies = count * size as u64;
    let what = format!(
        "10,000 x 200 B to an empty peer, each with one parent; MVDS batch from this engine {:.2} x",
        to_f64(mvds) / to_f64(bodies)
    );
    Ok(vec![Row::new(
        "push",
        Goal::TimesAtMost(1.10),
        "B",
        to_f64(ours),
        ("the bodies", to_f64(bodies)),
        what,
    )])
}

/// Two engines that share `groups` groups, all settled.
struct Contact {
    a: Engine<MemoryStore>,
    b: Engine<MemoryStore>,
    now: Time,
}

impl Contact {
    fn new(groups: u32) -> Result<Self, Failure> {
        let open = |seed| Engine::open(MemoryStore::new(), Config::default(), [seed; 32], START);
        let (mut a, mut b) = (open(1)?, open(2)?);
        for n in 0..groups {
            let descriptor = GroupDescriptor::new("org.example.bench", 0, n.to_be_bytes().to_vec())?;
            let group = a.add_group(&descriptor, false)?;
            b.add_group(&descriptor, false)?;
            a.set_visibility(peer(2), group, Visibility::Shared)?;
            b.set_visibility(peer(1), group, Visibility::Shared)?;
            for n in 0..20 {
                let (writer, at) = if n % 2 == 0 { (&mut a, n) } else { (&mut b, n) };
                let draft = hedgerow_sync_core::Draft {
                    timestamp_ms: (START + at).as_timestamp_ms(),
                    deps: writer.heads(group, 1)?,
                    body: Bytes::from(format!("message {n}")),
                };
                writer.publish(group, draft, START + at)?;
            }
        }
        let now = START + 1_000;
        let mut contact = Self { a, b, now };
        contact.meet()?;
        Ok(contact)
    }

    /// One contact, until nothing is left to say; the bytes of all frames.
    fn meet(&mut self) -> Result<u64, Failure> {
        self.now = self.now + 60_000;
        let now = self.now;
        let to_b = self.a.link_up(peer(2), LinkProfile::reliable(), now)?;
        let to_a = self.b.link_up(peer(1), LinkProfile::reliable(), now)?;
        let mut bytes = 0;
        loop {
            let mut quiet = true;
            while let Some(frame) = self.a.poll_transmit(to_b, now, usize::MAX)? {
                quiet = false;
                bytes += frame.len() as u64;
                self.b.receive(to_a, frame, now)?;
            }
            while let Some(frame) = self.b.poll_transmit(to_a, now, usize::MAX)? {
                quiet = false;
                bytes += frame.len() as u64;
                self.a.receive(to_b, frame, now)?;
            }
            while self.a.poll_event()?.is_some() {}
            while self.b.poll_event()?.is_some() {}
            if quiet {
                break;
            }
        }
        self.a.link_down(to_b, now);
        self.b.link_down(to_a, now);
        Ok(bytes)
    }
}

/// Two peers in step meet again.
pub(crate) fn step(_: Scale) -> Result<Vec<Row>, Failure> {
    let many = 100;
    let mut contact = Contact::new(many)?;
    let all = contact.meet()?;
    if contact.meet()? != all || contact.a.status().peers.iter().any(|pair| !pair.settled) {
        return Err("the two peers are not in step".into());
    }
    sound(contact.a.store())?;
    sound(contact.b.store())?;
    let one = Contact::new(1)?.meet()?;
    let each = to_f64(all) / f64::from(many);
    let what = format!(
        "two peers in step meet: {many} shared groups take {all} B both ways, HELLO included; one group alone \
         takes {one} B"
    );
    let equal = super::workload::line(10_000, 32)?;
    let theirs = to_f64(super::difference::negentropy(&equal, &[], &[])?.bytes);
    let anchor = ("negentropy, two equal sets of 10,000", theirs);
    Ok(vec![Row::new("in-step", Goal::AtMost(16.0), "B", each, anchor, what)])
}

/// The bytes of a frame beside those of its messages.
pub(crate) fn metadata(frame: &Bytes) -> Result<u64, Failure> {
    let mut codec = NativeCodec::new();
    let mut decoded = codec.decode(frame.clone())?;
    if decoded.batches.is_empty() {
        return Ok(frame.len() as u64);
    }
    decoded.batches.clear();
    let mut rest = Vec::new();
    codec.encode(&decoded, &mut rest)?;
    Ok(rest.len() as u64)
}
