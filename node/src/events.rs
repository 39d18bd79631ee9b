//! Notifications: what happens in a node besides messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream;
use hedgerow_proto::{GroupId, MessageId, PeerId};
use hedgerow_sync_core::{InvalidReason, StoreError, Time};
use hedgerow_transports::CloseReason;
use tokio::sync::broadcast::{self, error::RecvError};

use std::sync::Arc;

/// Something happened that an application may want to show. Messages never come this way: see
/// [`Chat::stream`](crate::Chat::stream).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NodeEvent {
    /// A contact is linked, and both sides have said HELLO.
    PeerUp {
        /// The contact.
        peer: PeerId,
    },
    /// The last link to a contact is gone.
    PeerDown {
        /// The contact.
        peer: PeerId,
    },
    /// A stranger wants a link; add the peer, or remove it from the list of the waiting.
    Waiting {
        /// The stranger.
        peer: PeerId,
    },
    /// A peer refused our link.
    Refused {
        /// The peer.
        peer: PeerId,
        /// What it said.
        reason: CloseReason,
    },
    /// Two devices seem to run with the same key. If it is a contact's, its links take each other's place, and we keep
    /// each for ever longer. If it is our own, a contact ended our link in favour of another one again and again, and we
    /// dial it ever more rarely.
    SameKey {
        /// Whose key it is: a contact, or this device.
        peer: PeerId,
    },
    /// A peer broke a rule of the protocol; its link was closed.
    Violation {
        /// The peer.
        peer: PeerId,
        /// The rule.
        rule: String,
    },
    /// A chat has new messages up to this position of its delivery order.
    Arrived {
        /// The chat.
        group: GroupId,
        /// The last position.
        position: u64,
    },
    /// A message cannot be read; the stream of its chat goes on without it.
    Quarantined {
        /// The chat.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Its position in the delivery order.
        position: u64,
        /// Why it cannot be read.
        reason: String,
    },
    /// An author said a second thing under a number: all that it said under it is shown as a [fork](crate::ChatItem).
    Forked {
        /// The chat.
        group: GroupId,
        /// The author.
        author: PeerId,
        /// The number.
        number: u64,
        /// The position of the later one in the delivery order of this node.
        position: u64,
    },
    /// A message was judged invalid, or depends on one that was.
    Invalid {
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Why.
        reason: InvalidReason,
    },
    /// A message that others depend on has been awaited for long. It is still asked for.
    Missing {
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Since when.
        since: Time,
    },
    /// A contact lacks messages for long. Sending goes on whenever it is met.
    Undelivered {
        /// The contact.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// Since when.
        since: Time,
        /// How many messages.
        count: u64,
    },
    /// A message does not fit through a link to a contact; it goes over another link when there is one.
    TooLarge {
        /// The contact.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
    },
    /// Messages are gone here, for lack of room or because their time was over.
    Pruned {
        /// The group.
        group: GroupId,
        /// How many.
        count: u64,
    },
    /// A message that others depend on is held by nobody in reach: they were delivered without it.
    HistoryGap {
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Who said that it had been there.
        peer: PeerId,
    },
    /// A contact has acknowledged that it holds messages.
    Acknowledged {
        /// The contact.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// How many of the messages delivered here it holds.
        count: u64,
    },
    /// An invitation came in a direct chat.
    Invited {
        /// From whom.
        from: PeerId,
        /// Into which group.
        group: GroupId,
    },
    /// The store failed; links are down until it works again.
    StoreFailed {
        /// Why.
        error: Arc<StoreError>,
    },
    /// The store works again.
    StoreBack,
    /// A listener died: nobody can dial this address any more.
    ListenerDied {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// This listener was too slow and missed so many notifications.
    Skipped(u64),
}

/// The notifications of a node from the moment that it was made: [`Node::events`](crate::Node::events).
///
/// At most [`EVENT_QUEUE`](crate::limits::EVENT_QUEUE) wait for a slow listener; then it misses the oldest and is told
/// how many. The stream ends with the node.
pub struct Events(Pin<Box<dyn Stream<Item = NodeEvent> + Send>>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<NodeEvent>) -> Self {
        Self(Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(missed)) => Some((NodeEvent::Skipped(missed), receiver)),
                Err(RecvError::Closed) => None,
            }
        })))
    }

    /// The next notification; `None` once the node is gone.
    ///
    /// # Cancel safety
    /// Safe: none is lost when the future is dropped early.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        std::future::poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = NodeEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
