//! What happens on the engine's thread: the engine, and all that the node keeps in its store beside messages.
//!
//! A [`Core`] is a plain value without tasks or waiting; [`Driver`](crate::driver::Driver) feeds and polls it.

mod chats;
mod contacts;
mod foreign;
pub(crate) mod index;
mod invitations;
pub(crate) mod post;
mod read;
pub(crate) mod rows;
mod status;
mod takeover;
pub(crate) mod wires;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hedgerow_clients::{Author, Client, Registry};
use hedgerow_proto::{GroupDescriptor, GroupId, Message, MessageId, PeerId};
use hedgerow_sync_core::{Config, Engine, Event, Time, Verdict};

use self::chats::ChatState;
pub(crate) use self::chats::{ChatRow, read_name};
pub(crate) use self::contacts::ContactRow;
use self::foreign::ForeignRow;
pub(crate) use self::post::Session;
use self::takeover::Takeovers;
use self::wires::Wires;
pub(crate) use self::wires::{Admission, Closing, NewWire, WireId};
use crate::clock::Clock;
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::judge::Task;
use crate::shared::Shared;
use crate::store::AnyStore;

/// Who this node is and what it can read.
pub(crate) struct Me {
    pub(crate) author: Author,
    pub(crate) peer: PeerId,
    pub(crate) name: Option<String>,
    pub(crate) registry: Registry,
    /// Clients that this node does without.
    pub(crate) without: BTreeSet<String>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
}

impl Me {
    pub(crate) fn client_of(&self, group: &GroupDescriptor) -> Option<Arc<dyn Client>> {
        if self.without.contains(group.client_id()) {
            return None;
        }
        self.registry.of_group(group).cloned()
    }
}

/// The engine with everything around it that lives and dies with its store.
pub(crate) struct Core {
    engine: Engine<AnyStore>,
    me: Arc<Me>,
    shared: Arc<Shared>,
    contacts: BTreeMap<PeerId, ContactRow>,
    foreign: BTreeMap<PeerId, ForeignRow>,
    chats: BTreeMap<GroupId, ChatState>,
    wires: Wires,
    takeovers: Takeovers,
    /// Chats with messages that are not indexed yet.
    unindexed: BTreeSet<GroupId>,
    /// Messages that wait for a verdict and are not with the judge.
    unjudged: VecDeque<(MessageId, Message)>,
    /// Notifications of what is not durable yet.
    notices: Vec<NodeEvent>,
    /// Up to where chats may be read once the transaction is durable; 0 for a chat that was left.
    woken: BTreeMap<GroupId, u64>,
    /// Chats in which something was written here since they were last indexed.
    posted: BTreeSet<GroupId>,
}

impl Core {
    /// Opens the engine on a store and brings in line with it what is kept in memory.
    pub(crate) fn open(
        store: AnyStore,
        me: Arc<Me>,
        shared: Arc<Shared>,
        seed: [u8; 32],
    ) -> Result<Self, NodeError> {
        let engine = Engine::open(store, me.config.clone(), seed, me.clock.now())?;
        let mut core = Self {
            engine,
            me,
            shared,
            contacts: BTreeMap::new(),
            foreign: BTreeMap::new(),
            chats: BTreeMap::new(),
            wires: Wires::default(),
            takeovers: Takeovers::default(),
            unindexed: BTreeSet::new(),
            unjudged: VecDeque::new(),
            notices: Vec::new(),
            woken: BTreeMap::new(),
            posted: BTreeSet::new(),
        };
        core.load_contacts()?;
        core.load_foreign()?;
        core.load_chats()?;
        core.engine.commit()?;
        Ok(core)
    }

    pub(crate) fn now(&self) -> Time {
        self.me.clock.now()
    }

    /// When [`Core::timeout`] is due.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.engine.poll_timeout()
    }

    pub(crate) fn timeout(&mut self) -> Result<(), NodeError> {
        let now = self.now();
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now)?;
        }
        Ok(())
    }

    pub(crate) fn judge(&mut self, verdicts: &[(MessageId, Verdict)]) -> Result<(), NodeError> {
        let now = self.now();
        for (id, verdict) in verdicts {
            self.engine.judge(*id, *verdict, now)?;
        }
        Ok(())
    }

    /// Makes all that was done durable. What was to be told of it is told.
    pub(crate) fn commit(&mut self) -> Result<(), NodeError> {
        self.engine.commit()?;
        for (group, position) in std::mem::take(&mut self.woken) {
            self.shared.wake_readers(group, position);
            if position > 0 {
                self.shared.tell(NodeEvent::Arrived { group, position });
            }
        }
        for notice in self.notices.drain(..) {
            self.shared.tell(notice);
        }
        Ok(())
    }

    /// Takes what the engine has to say, after a commit, and moves on what can be moved.
    pub(crate) fn pump(&mut self) -> Result<(), NodeError> {
        while let Some(event) = self.engine.poll_event()? {
            self.take(event);
        }
        self.transmit()
    }

    /// Whether [`Core::index`] has more to do right away.
    pub(crate) fn is_busy(&self) -> bool {
        !self.unindexed.is_empty()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Validate { id, message } => self.unjudged.push_back((id, message)),
            Event::Delivered { group, last, .. } => self.delivered(group, last),
            Event::Invalid { group, id, reason } => self.tell(NodeEvent::Invalid { group, id, reason }),
            Event::Missing { group, id, since } => self.tell(NodeEvent::Missing { group, id, since }),
            Event::Undelivered { peer, group, since, count } => {
                self.tell(NodeEvent::Undelivered { peer, group, since, count });
            }
            Event::PeerHas { peer, group, count } => {
                self.tell(NodeEvent::Acknowledged { peer, group, count });
            }
            Event::TooLarge { peer, group, id, .. } => self.tell(NodeEvent::TooLarge { peer, group, id }),
            Event::Pruned { group, positions } => {
                let count = positions.iter().map(hedgerow_proto::Span::count).sum();
                self.tell(NodeEvent::Pruned { group, count });
            }
            Event::HistoryGap { group, id, peer } => self.tell(NodeEvent::HistoryGap { group, id, peer }),
            Event::LinkReady { link, .. } => self.link_ready(link),
            // Nothing here sends or shows ephemeral messages.
            _ => {}
        }
    }

    /// Tells what is durable already.
    fn tell(&self, event: NodeEvent) {
        self.shared.tell(event);
    }

    /// How many messages wait for the judge.
    pub(crate) fn waiting_verdicts(&self) -> usize {
        self.unjudged.len()
    }

    /// Up to `limit` messages of one group for the judge; `None` when there are none.
    pub(crate) fn next_task(&mut self, limit: usize) -> Option<Task> {
        loop {
            let group = self.unjudged.front()?.1.group();
            let client = self.chats.get(&group).and_then(|chat| chat.client.clone());
            let descriptor = self.chats.get(&group).map(|chat| chat.descriptor.clone());
            let mut task = Vec::new();
            while task.len() < limit
                && let Some((id, message)) = self.unjudged.pop_front_if(|(_, m)| m.group() == group)
            {
                task.push((id, message));
            }
            // A group that was left meanwhile needs no verdicts.
            if let (Some(client), Some(descriptor)) = (client, descriptor) {
                let (ids, messages) = task.into_iter().unzip();
                return Some(Task { client, descriptor, ids, messages });
            }
        }
    }
}
