//! A link: two ends that exchange frames, each knowing who the other is.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use hedgerow_proto::PeerId;
use tokio_util::sync::CancellationToken;

use crate::Address;

/// What is known of a link from the moment that it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// The peer at the other end, proven by its key.
    pub peer: PeerId,
    /// Whether every frame arrives, once and in order, as long as the link lives. If not, frames may be lost,
    /// repeated or overtaken by others, but never altered.
    pub reliable: bool,
    /// The largest frame that this link carries, in bytes, in either direction.
    pub max_frame: usize,
    /// Whether we dialled.
    pub initiator: bool,
    /// Where the other end is. For a link that we accepted this is where the peer dialled from, which is not
    /// where it can be dialled.
    pub address: Address,
}

/// Why one end closed a link. What a foreign or newer peer says and we do not know is kept as
/// [`CloseReason::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nothing more to say, or the device shuts down.
    Done,
    /// The peer is not among the contacts of the one who closed.
    NotAContact,
    /// There is another link between the two already.
    Duplicate,
    /// The peer broke a rule of the protocol.
    Violation,
    /// No room for another link at present.
    Busy,
    /// A code that this version does not know.
    Unknown(u8),
}

impl CloseReason {
    /// The byte that stands for this reason on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotAContact => 1,
            Self::Duplicate => 2,
            Self::Violation => 3,
            Self::Busy => 4,
            Self::Unknown(code) => code,
        }
    }

    /// The reason that this byte stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::NotAContact,
            2 => Self::Duplicate,
            3 => Self::Violation,
            4 => Self::Busy,
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::NotAContact => f.write_str("not a contact"),
            Self::Duplicate => f.write_str("there is another link already"),
            Self::Violation => f.write_str("a rule of the protocol was broken"),
            Self::Busy => f.write_str("busy"),
            Self::Unknown(code) => write!(f, "unknown reason {code}"),
        }
    }
}

/// Why a link could not move a frame. All but [`LinkError::TooLarge`] from `send` are the end of the link.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// One of the two ends closed the link, and said why. Everything sent before the close has been received.
    #[error("the link was closed: {0}")]
    Closed(CloseReason),
    /// The other end went away without a word. What it was sent last may not have arrived.
    #[error("the other end went away without closing the link")]
    Lost,
    /// Nothing was heard from the other end for this long.
    #[error("nothing was heard from the other end for {silence_ms} ms")]
    Timeout {
        /// The limit that was exceeded, in ms.
        silence_ms: u64,
    },
    /// A frame is larger than the link carries. From `send`: nothing was sent and the link stays usable. From
    /// `recv`: the other end broke the rule and the link is over.
    #[error("a frame of {len} bytes or more is over the limit of {max} bytes of this link")]
    TooLarge {
        /// Size of the frame in bytes, as far as it is known.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// What arrived is not what the other end sealed at this place: altered, cut out, repeated or reordered.
    #[error("a piece of the stream failed its authentication: altered, missing, repeated or reordered")]
    Tampered,
    /// The stream ended in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    Truncated,
    /// The other end is who it says but does not keep to the format.
    #[error("the other end broke the link format: {0}")]
    Malformed(&'static str),
    /// The operating system reported an error.
    #[error("input or output failed: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl LinkError {
    /// The reason with which one of the two ends closed the link, if that is how it ended.
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Closed(reason) => Some(*reason),
            _ => None,
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What the system says when the other process died: no different from an end without a word.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Lost
            }
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// One end of a link to an authenticated peer.
///
/// A link ends when either side closes it, when a side drops its [`FrameSender`] and [`FrameReceiver`], or with
/// the first error. To end it in good order call [`FrameSender::close`] and then drop both halves.
pub trait Link: Send {
    /// Who is at the other end, and what the link can do.
    fn info(&self) -> &LinkInfo;

    /// The two directions, to be used by different tasks.
    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>);
}

/// The sending half of a link.
#[async_trait]
pub trait FrameSender: Send {
    /// Hands one frame to the link. On a reliable link this waits while the other end does not keep up.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`] leaves everything as it was. After any other error the link is over; the error of
    /// [`FrameReceiver::recv`] says best why, since it has seen the other end's last words.
    ///
    /// # Cancel safety
    /// When the future is dropped early the frame may or may not be sent, whole in either case; the link stays
    /// usable.
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError>;

    /// Tells the other end why the link is over, as far as it still can be told, and ends it. Gives up after a
    /// few seconds if the other end does not read. The own receiver ends with the same reason.
    ///
    /// # Cancel safety
    /// When the future is dropped early the link is over, but the other end may not learn why.
    async fn close(&mut self, reason: CloseReason);
}

/// The receiving half of a link.
#[async_trait]
pub trait FrameReceiver: Send {
    /// The next frame.
    ///
    /// # Errors
    /// Every error is the end of the link; it is returned again if asked again.
    ///
    /// # Cancel safety
    /// Safe: when the future is dropped early nothing is lost, the next call goes on where this one was.
    async fn recv(&mut self) -> Result<Bytes, LinkError>;
}

/// The end of a link, shared by its halves: the first who ends it says why, all others learn it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    why: OnceLock<LinkError>,
    ended: CancellationToken,
}

impl Ending {
    /// Ends the link unless it is over already, and returns why it is over.
    pub(crate) fn end(&self, why: LinkError) -> LinkError {
        let why = self.why.get_or_init(|| why).clone();
        self.ended.cancel();
        why
    }

    /// Why the link is over, if it is.
    pub(crate) fn why(&self) -> Option<LinkError> {
        self.why.get().cloned()
    }

    /// Waits until the link is over. Cancel safe.
    pub(crate) async fn wait(&self) -> LinkError {
        self.ended.cancelled().await;
        self.why().unwrap_or(LinkError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_goes_round_and_unknown_ones_are_kept() {
        for code in 0..=u8::MAX {
            assert_eq!(CloseReason::from_code(code).code(), code);
        }
        assert_eq!(CloseReason::from_code(200), CloseReason::Unknown(200));
    }

    #[test]
    fn the_first_end_counts() {
        let ending = Ending::default();
        assert!(ending.why().is_none());
        ending.end(LinkError::Closed(CloseReason::Busy));
        assert_eq!(ending.end(LinkError::Lost).close_reason(), Some(CloseReason::Busy));
    }
}
