//! negentropy: range-based reconciliation of ids, beside it the bodies. It keeps nothing: each contact begins with a
//! vector of all ids, which is part of the work.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::bodies::Bodies;
use crate::work::{Kept, Meter, Outcome, Wire, Work, body, folder};

fn sealed(items: &[(u64, [u8; 32])]) -> Result<NegentropyStorageVector> {
    let mut set = NegentropyStorageVector::with_capacity(items.len());
    for (at, id) in items {
        set.insert(*at, Id::from_byte_array(*id))?;
    }
    set.seal()?;
    Ok(set)
}

pub fn run(work: Work) -> Result<Outcome> {
    let (_folder, path) = folder()?;
    let file = |name| (work.kept == Kept::File).then(|| path.join(name));
    let (mut a, mut b) = (Bodies::new(file("a")), Bodies::new(file("b")));
    let mut items = Vec::with_capacity(work.messages);
    for n in 0..work.messages {
        items.push((n as u64, a.add(body(n))));
        if n < work.before() {
            b.add(body(n));
        }
    }
    let mut wire = Wire::default();
    let meter = Meter::start()?;
    let of_a = Negentropy::owned(sealed(&items)?, 0)?;
    let of_b = Negentropy::owned(sealed(&items[..work.before()])?, 0)?;
    let (mut server, mut client) = (of_a, of_b);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut query = Some(client.initiate()?);
    while let Some(message) = query {
        wire.cross(1, message.len());
        let answer = server.reconcile(&message)?;
        wire.cross(0, answer.len());
        query = client.reconcile_with_ids(&answer, &mut have, &mut need)?;
    }
    let wanted: Vec<[u8; 32]> = need.iter().map(|id| *id.as_bytes()).collect();
    b.fetch(&wanted, &a, &mut wire)?;
    let outcome = meter.stop(&wire)?;
    ensure!(have.is_empty() && b.len() == work.messages, "not everything arrived");
    let all: HashSet<_> = wanted.iter().collect();
    ensure!(all.len() == work.missing, "asked for more than was missing");
    Ok(outcome)
}
