//! A chat as a stream of messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use hedgerow_proto::GroupId;
use tokio::sync::watch;

use crate::chat::{ChatItem, ChatLine};
use crate::error::NodeError;
use crate::limits::{PAGE_BYTES, PAGE_MESSAGES};
use crate::node::Node;
use crate::view::LogPage;

type Fetch = Pin<Box<dyn Future<Output = (watch::Receiver<u64>, Result<LogPage, NodeError>)> + Send>>;

/// The messages of a chat in delivery order, each once, parents before children; it waits for those to come.
/// Made by [`Chat::stream`](crate::Chat::stream) and [`Chat::stream_from`](crate::Chat::stream_from).
///
/// It reads from the store, a page at a time, so a reader that is slow holds up nothing and misses nothing.
/// Messages that cannot be read are passed over; [`Chat::quarantine`](crate::Chat::quarantine) lists them. So are those
/// that are gone; [`Chat::lines`](crate::Chat::lines) has what is left of them.
///
/// With a durable cursor, asking for the next message says that the one before is done with. The node keeps that
/// with each page, with [`commit`](Self::commit), and when the stream is dropped: after a crash some messages may come
/// again, at most one page, and none that were committed.
///
/// An error does not end the stream: ask again, and it goes on from the same place. Only after [`NodeError::Stopped`]
/// there is nothing more.
pub struct ChatStream {
    node: Node,
    group: GroupId,
    cursor: Option<String>,
    page: VecDeque<ChatItem>,
    /// Where the next page begins.
    read_to: u64,
    /// What was given out last; the messages before it are done with.
    given: u64,
    /// What is done with.
    done: u64,
    /// What the node was told to be done with.
    kept: u64,
    watch: Option<watch::Receiver<u64>>,
    fetch: Option<Fetch>,
    ended: bool,
}

impl ChatStream {
    pub(crate) fn new(node: Node, group: GroupId, after: u64, cursor: Option<String>) -> Self {
        let watch = Some(node.watch(group));
        Self {
            node,
            group,
            cursor,
            page: VecDeque::new(),
            read_to: after,
            given: after,
            done: after,
            kept: after,
            watch,
            fetch: None,
            ended: false,
        }
    }

    /// The next message; waits for one if need be.
    ///
    /// # Errors
    /// When the node does not work at present, the chat was left, or the node is [stopped](NodeError::Stopped).
    ///
    /// # Cancel safety
    /// Safe: no message is lost when the future is dropped early.
    pub async fn next(&mut self) -> Result<ChatItem, NodeError> {
        let next = std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await;
        next.unwrap_or(Err(NodeError::Stopped))
    }

    /// The position of the message that was given out last; where it began, if there was none.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.given
    }

    /// Says that all up to this position is done with: once this returns it never comes again under the same cursor.
    /// Does nothing on a stream without a cursor.
    ///
    /// # Errors
    /// When the node does not work.
    ///
    /// # Cancel safety
    /// When the future is dropped early it may or may not be kept.
    pub async fn commit(&mut self, position: u64) -> Result<(), NodeError> {
        let position = position.min(self.given);
        let Some(cursor) = self.cursor.clone() else { return Ok(()) };
        let group = self.group;
        self.node.call(move |core| core.move_cursor(group, &cursor, position)).await?;
        self.done = self.done.max(position);
        self.kept = self.kept.max(position);
        Ok(())
    }

    /// Reads the next page, waiting until there is one, and keeps what is done with.
    fn fetch(&mut self, mut watch: watch::Receiver<u64>) -> Fetch {
        let (node, group, after) = (self.node.clone(), self.group, self.read_to);
        let done = self.cursor.clone().filter(|_| self.done > self.kept).map(|cursor| (cursor, self.done));
        self.kept = self.kept.max(self.done);
        Box::pin(async move {
            let mut done = done;
            loop {
                // Before the look, so that what comes after it wakes us.
                watch.mark_unchanged();
                if let Some((cursor, position)) = done.take() {
                    let kept = node.call(move |core| core.move_cursor(group, &cursor, position)).await;
                    if let Err(error) = kept {
                        return (watch, Err(error));
                    }
                }
                let page =
                    node.read(move |view| view.read_log(group, after, PAGE_MESSAGES, PAGE_BYTES)).await;
                let page = match page {
                    Ok(page) if page.to == after => None,
                    page => Some(page),
                };
                if let Some(page) = page {
                    return (watch, page);
                }
                tokio::select! {
                    changed = watch.changed() => if changed.is_err() {
                        return (watch, Err(NodeError::Stopped));
                    },
                    () = node.stopped() => return (watch, Err(NodeError::Stopped)),
                }
            }
        })
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatItem, NodeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.done = this.given;
        loop {
            if let Some(item) = this.page.pop_front() {
                this.given = item.position;
                return Poll::Ready(Some(Ok(item)));
            }
            if this.fetch.is_none() {
                let watch = this.watch.take().unwrap_or_else(|| this.node.watch(this.group));
                this.fetch = Some(this.fetch(watch));
            }
            let Some(fetch) = &mut this.fetch else { continue };
            let (watch, page) = ready!(fetch.as_mut().poll(context));
            this.fetch = None;
            this.watch = Some(watch);
            match page {
                Ok(page) => {
                    this.page = page.items.into_iter().filter_map(ChatLine::into_message).collect();
                    this.read_to = page.to;
                    if this.page.is_empty() {
                        // All of it was unreadable or gone: done with as well.
                        this.given = page.to;
                        this.done = page.to;
                    }
                }
                Err(error) => {
                    // Whether the cursor was kept is unknown.
                    this.kept = this.kept.min(this.done.saturating_sub(1));
                    this.ended = matches!(error, NodeError::Stopped);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Drop for ChatStream {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take().filter(|_| self.done > self.kept) {
            let (group, position) = (self.group, self.done);
            self.node.try_call(move |core| core.move_cursor(group, &cursor, position));
        }
    }
}

impl std::fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatStream")
            .field("group", &self.group)
            .field("cursor", &self.cursor)
            .field("position", &self.given)
            .finish_non_exhaustive()
    }
}
