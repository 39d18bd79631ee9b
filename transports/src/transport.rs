//! A transport: what dials and listens at addresses of one scheme.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hedgerow_proto::PeerId;

use crate::limits::REMEMBERED_REJECTIONS;
use crate::{Address, Link};

/// Why there is no link or no listener.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address belongs to another transport.
    #[error("{address} is not an address of the transport {scheme:?}")]
    WrongScheme {
        /// The address in question.
        address: Address,
        /// What this transport serves.
        scheme: &'static str,
    },
    /// The part of the address after the scheme means nothing to this transport, or its name has no address.
    #[error("{address} cannot be resolved: {reason}")]
    Unresolvable {
        /// The address in question.
        address: Address,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody listens at this address.
    #[error("nobody listens at {0}")]
    NobodyListens(Address),
    /// Somebody listens at this address already.
    #[error("{0} is taken by another listener")]
    AddressInUse(Address),
    /// The operating system reported an error.
    #[error("input or output failed at {address}: {error}")]
    Io {
        /// The address in question.
        address: Address,
        /// What the system said.
        #[source]
        error: Arc<io::Error>,
    },
    /// What came first on the line is not this protocol at all.
    #[error("the other end does not speak the Hedgerow link protocol")]
    NotHedgerow,
    /// The other end speaks a version of the link protocol that we do not.
    #[error("the other end speaks version {theirs} of the link protocol, we speak version {ours}")]
    ForeignVersion {
        /// The version spoken here.
        ours: u16,
        /// The version spoken there.
        theirs: u16,
    },
    /// The handshake took longer than allowed.
    #[error("the handshake was not done within {limit_ms} ms")]
    HandshakeTimeout {
        /// The limit in ms.
        limit_ms: u64,
    },
    /// The other end went away in the middle of the handshake.
    #[error("the other end went away during the handshake")]
    Interrupted,
    /// The same peer made a newer connection, which is up already.
    #[error("the peer has made a newer connection since")]
    Replaced,
    /// A handshake message is not of the form that is due at this step.
    #[error("the other end sent a malformed handshake message: {0}")]
    Malformed(&'static str),
    /// The handshake was altered on its way, or the other end does not have the key it shows.
    #[error("the key agreement failed: the handshake was altered or a key is wrong")]
    KeyAgreement,
    /// The other end could not prove, for this very channel, that it is the peer it says.
    #[error("{claimed} is not proven to be at the other end of this channel")]
    BadProof {
        /// Who the other end says it is.
        claimed: PeerId,
    },
    /// Another peer than the expected one is at this address.
    #[error("expected the peer {expected}, found {found}")]
    WrongPeer {
        /// Whom we dialled.
        expected: PeerId,
        /// Who answered, and proved it.
        found: PeerId,
    },
    /// The bound on links, half-open handshakes or waiting diallers is reached.
    #[error("no room: {0}")]
    Full(&'static str),
    /// The network, socket or listener has been shut down.
    #[error("the transport is shut down")]
    Shutdown,
}

impl TransportError {
    pub(crate) fn io(address: &Address, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address.clone()),
            io::ErrorKind::ConnectionRefused => Self::NobodyListens(address.clone()),
            _ => Self::Io { address: address.clone(), error: Arc::new(error) },
        }
    }
}

/// What dials and listens at addresses of one scheme, as one device.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The scheme of the addresses served: `"tcp"`.
    fn scheme(&self) -> &'static str;

    /// Begins to listen.
    ///
    /// # Errors
    /// The address is of another scheme, cannot be resolved, or is taken.
    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError>;

    /// Makes a link to the peer `expect` at the address `to`.
    ///
    /// # Errors
    /// Nobody answers, the handshake fails or takes too long, or somebody else answers
    /// ([`TransportError::WrongPeer`]).
    ///
    /// # Cancel safety
    /// Safe: when the future is dropped early the attempt is abandoned.
    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError>;
}

/// Accepts links. It stops listening when it is dropped; links that it has given out live on.
#[async_trait]
pub trait Listener: Send {
    /// Where it listens, with the real port.
    fn address(&self) -> Address;

    /// The next link whose peer has proven who it is. Handshakes run at the same time, bounded in number and in
    /// time, so that a dialler that is slow or does not keep to the protocol holds up nobody else; those that
    /// fail are counted, and shown by [`Listener::rejections`].
    ///
    /// # Errors
    /// Only when the listener itself is dead.
    ///
    /// # Cancel safety
    /// Safe: when the future is dropped early no link is lost.
    async fn accept(&mut self) -> Result<Box<dyn Link>, TransportError>;

    /// A handle to those who were turned away, which may be read while `accept` waits.
    fn rejections(&self) -> Rejections;
}

/// A dialler that did not get as far as a link.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Where it dialled from.
    pub address: Address,
    /// Why it got no link.
    pub error: TransportError,
}

/// Who was turned away by a listener: how many in all, and the last few in detail. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct Rejections(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    count: u64,
    recent: VecDeque<Rejected>,
}

impl Rejections {
    /// How many were turned away since the listener began.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Takes out the last ones in order, oldest first: at most
    /// [`REMEMBERED_REJECTIONS`](crate::limits::REMEMBERED_REJECTIONS) of those not taken yet.
    #[must_use]
    pub fn take(&self) -> Vec<Rejected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recent.drain(..).collect()
    }

    pub(crate) fn add(&self, address: Address, error: TransportError) {
        tracing::debug!(%address, %error, "dialler turned away");
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.count = log.count.saturating_add(1);
        if log.recent.len() >= REMEMBERED_REJECTIONS {
            log.recent.pop_front();
        }
        log.recent.push_back(Rejected { address, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_all_counted_and_the_last_ones_kept() {
        let rejections = Rejections::default();
        for port in 0..200 {
            rejections.add(Address::new("tcp", port).unwrap(), TransportError::NotHedgerow);
        }
        assert_eq!(rejections.count(), 200);
        let recent = rejections.take();
        assert_eq!(recent.len(), REMEMBERED_REJECTIONS);
        assert_eq!(recent.last().unwrap().address.rest(), "199");
        assert!(rejections.take().is_empty());
    }
}
