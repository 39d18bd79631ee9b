//! Keeping in touch with each contact that has addresses.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use hedgerow_proto::PeerId;
use hedgerow_transports::{Address, CloseReason, LinkError, Redial, RedialConfig, RedialHandle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::run_link;
use crate::events::NodeEvent;
use crate::shared::{Shared, lock};

/// After so many links in a row that a contact ended in favour of another one it is told.
const REPLACED: u32 = 3;

/// The handle to the task that dials a contact.
pub(crate) struct Dialler {
    redial: RedialHandle,
    /// Whether there is any link to the contact.
    linked: watch::Sender<bool>,
    cancel: CancellationToken,
}

impl Drop for Dialler {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Shared {
    /// Keeps dialling a contact at these addresses whenever there is no link to it, beginning now.
    pub(crate) fn dial(self: &Arc<Self>, peer: PeerId, addresses: Vec<Address>) {
        if self.offline {
            return;
        }
        match lock(&self.diallers).entry(peer) {
            Entry::Occupied(entry) => {
                let dialler = entry.get();
                dialler.redial.set_addresses(addresses);
                dialler.redial.wake();
            }
            Entry::Vacant(entry) => {
                let config = RedialConfig { seed: seed_of(self.redial.seed, peer), ..self.redial.clone() };
                let redial = Redial::new(self.transports.clone(), peer, addresses, config);
                let (linked, is_linked) = watch::channel(false);
                let cancel = self.intake.child_token();
                entry.insert(Dialler { redial: redial.handle(), linked, cancel: cancel.clone() });
                let task = keep_in_touch(self.clone(), redial, is_linked);
                self.tasks.spawn_on(cancel.run_until_cancelled_owned(task), &self.runtime);
            }
        }
    }

    /// Dials a peer no more.
    pub(crate) fn undial(&self, peer: PeerId) {
        lock(&self.diallers).remove(&peer);
    }

    /// Says whether there is any link to a contact.
    pub(crate) fn set_linked(&self, peer: PeerId, linked: bool) {
        if let Some(dialler) = lock(&self.diallers).get(&peer) {
            dialler.linked.send_replace(linked);
        }
    }
}

/// Each contact is dialled at times of its own.
fn seed_of(seed: u64, peer: PeerId) -> u64 {
    peer.as_bytes().iter().fold(seed, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte))
}

async fn keep_in_touch(shared: Arc<Shared>, mut redial: Redial, mut linked: watch::Receiver<bool>) {
    loop {
        if *linked.borrow() {
            // Not by us, so the peer has links with this very device.
            redial.met_otherwise();
        }
        if linked.wait_for(|linked| !*linked).await.is_err() {
            return;
        }
        let link = tokio::select! {
            link = redial.next() => link,
            // They dialled us. A dial of ours that is under way is kept, should their link end soon.
            seen = async { linked.wait_for(|linked| *linked).await.is_ok() } => match seen {
                true => continue,
                false => return,
            },
        };
        // A task of its own: a contact that is removed in this moment must not leave half a link behind.
        let running = shared.tasks.spawn(run_link(shared.clone(), shared.new_wire(), link, None));
        let why = running.await.unwrap_or(LinkError::Lost);
        redial.ended(&why);
        // Once may be a link of ours that crossed one of the peer's.
        if redial.replaced() == REPLACED && why.close_reason() == Some(CloseReason::Duplicate) {
            tracing::warn!(peer = %redial.peer().short(), "our links are replaced: does another device use our key?");
            shared.tell(NodeEvent::SameKey { peer: shared.me });
        }
    }
}
