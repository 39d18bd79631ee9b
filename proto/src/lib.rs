//! Ids, records, frames and limits of the Hedgerow sync protocol: the wire, without any state.
//!
//! A [`Message`] is immutable and named by the hash of everything in it. Peers exchange [`Frame`]s of records
//! (ACK, MESSAGE, OFFER, REQUEST, UNAVAILABLE and the session's own HELLO and ANNOUNCE). How a frame looks as
//! bytes is the matter of a [`Codec`]; which hash names a message, of an [`IdScheme`]; both together with what
//! the wire can say at all ([`Capabilities`]) make a [`Dialect`]. The native dialect is protobuf; its `.proto`
//! file is in this crate's folder `proto`, and `docs/protocol.md` in the repository is its specification. A second one of
//! ours is for carriers that go one way ([`BundleCodec`]). Two dialects
//! are those of deployed messengers: [`mvds`] and [`bramble`] (`docs/interop.md`).
//!
//! ```
//! use hedgerow_proto::{GroupDescriptor, Message};
//!
//! let group = GroupDescriptor::new("org.example.chat", 0, b"friends".to_vec())?;
//! let message = Message::new(group.id(), 1_700_000_000_000, vec![], "hello".into())?;
//! assert_eq!(message.id(), message.clone().id());
//! # Ok::<(), hedgerow_proto::MessageError>(())
//! ```

pub mod bramble;
mod bundle;
mod dialect;
mod frame;
mod ids;
pub mod limits;
mod message;
pub mod mvds;
mod native;
mod spans;

pub use bundle::BundleCodec;
pub use dialect::{Capabilities, Codec, Dialect, IdScheme};
pub use frame::{
    Ack, Announce, Batch, DecodeError, DepRef, EncodeError, Ephemeral, Frame, GroupRef, Hello, InStep, Lacks,
    Offer, OfferItem, Reconcile, ReconcileStep, Request, ShortOffer, Summary, Symbols, Tombstone,
    Unavailable, Visibility, WireMessage,
};
pub use ids::{GroupId, IdError, MessageId, PeerId};
pub use message::{GroupDescriptor, Message, MessageError};
pub use native::NativeCodec;
pub use spans::Span;
