//! iroh-docs' replica: range-based reconciliation of signed entries, an entry for each message; it holds the hash of a
//! body only, so the bodies are asked for beside it. Signatures are verified, as its replica does.

use anyhow::{Result, ensure};
use iroh_docs::store::{Query, fs::Store};
use iroh_docs::sync::SyncOutcome;
use iroh_docs::{Author, NamespaceId, NamespaceSecret};

use crate::bodies::Bodies;
use crate::work::{Kept, Meter, Outcome, Wire, Work, body, folder};

struct Sides {
    stores: [Store; 2],
    bodies: [Bodies; 2],
    namespace: NamespaceId,
}

impl Sides {
    async fn write(&mut self, author: &Author, from: usize, to: usize) -> Result<()> {
        let [a, _] = &mut self.stores;
        let mut replica = a.open_replica(&self.namespace)?;
        for n in from..to {
            let body = body(n);
            replica.hash_and_insert(format!("{n:08}"), author, &body).await?;
            self.bodies[0].add(body);
        }
        drop(replica);
        a.close_replica(self.namespace);
        a.flush()
    }

    /// Reconciles the entries.
    async fn sync(&mut self, wire: &mut Wire) -> Result<()> {
        let [a, b] = &mut self.stores;
        let (mut of_a, mut of_b) = (SyncOutcome::default(), SyncOutcome::default());
        let mut replica_a = a.open_replica(&self.namespace)?;
        let mut replica_b = b.open_replica(&self.namespace)?;
        let mut message = Some(replica_b.sync_initial_message()?);
        while let Some(query) = message {
            let bytes = postcard::to_stdvec(&query)?;
            wire.cross(1, bytes.len());
            let query = postcard::from_bytes(&bytes)?;
            let Some(answer) = replica_a.sync_process_message(query, [2; 32], &mut of_a).await? else {
                break;
            };
            let bytes = postcard::to_stdvec(&answer)?;
            wire.cross(0, bytes.len());
            let answer = postcard::from_bytes(&bytes)?;
            message = replica_b.sync_process_message(answer, [1; 32], &mut of_b).await?;
        }
        drop((replica_a, replica_b));
        a.close_replica(self.namespace);
        b.close_replica(self.namespace);
        b.flush()
    }

    /// The bodies that the entries of the other side name and that it lacks.
    fn wanted(&mut self) -> Result<Vec<[u8; 32]>> {
        let [_, b] = &mut self.stores;
        let mut wanted = Vec::new();
        for entry in b.get_many(self.namespace, Query::all())? {
            let hash = *entry?.content_hash().as_bytes();
            if !self.bodies[1].has(&hash) {
                wanted.push(hash);
            }
        }
        Ok(wanted)
    }

    fn fetch(&mut self, wanted: &[[u8; 32]], wire: &mut Wire) -> Result<()> {
        let [of_a, of_b] = &mut self.bodies;
        of_b.fetch(wanted, of_a, wire)
    }
}

pub async fn run(work: Work) -> Result<Outcome> {
    let (_folder, path) = folder()?;
    let secret = NamespaceSecret::from_bytes(&[7; 32]);
    let open = |name: &str| -> Result<Store> {
        match work.kept {
            Kept::Memory => Ok(Store::memory()),
            Kept::File => Store::persistent(path.join(name)),
        }
    };
    let file = |name| (work.kept == Kept::File).then(|| path.join(name));
    let mut stores = [open("a.redb")?, open("b.redb")?];
    for store in &mut stores {
        store.new_replica(secret.clone())?;
        store.close_replica(secret.id());
    }
    let bodies = [Bodies::new(file("a")), Bodies::new(file("b"))];
    let mut sides = Sides { stores, bodies, namespace: secret.id() };
    let author = Author::from_bytes(&[9; 32]);
    sides.write(&author, 0, work.before()).await?;
    if work.before() > 0 {
        sides.sync(&mut Wire::default()).await?;
        let wanted = sides.wanted()?;
        sides.fetch(&wanted, &mut Wire::default())?;
    }
    sides.write(&author, work.before(), work.messages).await?;
    let mut wire = Wire::default();
    let meter = Meter::start()?;
    sides.sync(&mut wire).await?;
    let entries = meter.stop(&wire)?;
    // An application is told of each entry as it comes; what stands here in place of that is not measured.
    let wanted = sides.wanted()?;
    let meter = Meter::start()?;
    sides.fetch(&wanted, &mut wire)?;
    let mut outcome = meter.stop(&wire)?;
    outcome.cpu_ms += entries.cpu_ms;
    outcome.peak_mib = outcome.peak_mib.max(entries.peak_mib);
    ensure!(sides.bodies[1].len() == work.messages, "not everything arrived");
    Ok(outcome)
}
