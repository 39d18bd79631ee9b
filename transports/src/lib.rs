//! Authenticated links for Hedgerow: in-memory, TCP with Noise, UDP datagrams, and seeded faults.
//!
//! A [`Link`] moves frames, opaque byte strings of up to [`LinkInfo::max_frame`] bytes, between two peers each of
//! which has proven to the other who it is. A [`Transport`] makes links: it dials an [`Address`] at which a certain
//! peer is expected, or gives a [`Listener`] that accepts whoever proves to be somebody. Whether that somebody is
//! welcome is for the caller to say; see [`FrameSender::close`] and [`CloseReason::NotAContact`].
//!
//! | | reliable | scheme | for |
//! |---|---|---|---|
//! | [`MemoryNetwork`], [`memory_pair`] | yes | `mem` | one process: tests and first steps |
//! | [`TcpTransport`] | yes | `tcp` | the usual |
//! | [`stream::dial_over`], [`stream::accept_over`] | yes | any | any other byte stream |
//! | [`plain::MvdsTcpTransport`], [`plain::BspTcpTransport`] | yes | `mvds+tcp`, `bsp+tcp` | peers of other makers: plain, unauthenticated |
//! | [`UdpTransport`] | no | `udp` | paths that lose, where order is not worth waiting for |
//! | [`Lossy`] | no | that of the inner link | faults on purpose, repeatable by a seed |
//!
//! With the feature `fec`, bundles are cut into symbols for carriers that go one way and lose (module `fec`).
//!
//! [`Redial`] keeps in touch with one peer over whatever transports and addresses there are.
//!
//! A pair of links without any network:
//! ```
//! use hedgerow_transports::{CloseReason, Identity, memory_pair};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
//! let (at_alice, at_bob) = memory_pair(alice.peer_id(), bob.peer_id());
//! let ((mut to_bob, _from_bob), (_to_alice, mut from_alice)) = (at_alice.split(), at_bob.split());
//!
//! to_bob.send("hello".into()).await?;
//! assert_eq!(from_alice.recv().await?, "hello");
//! to_bob.close(CloseReason::Done).await;
//! assert_eq!(from_alice.recv().await.unwrap_err().close_reason(), Some(CloseReason::Done));
//! # Ok(())
//! # }
//! ```
//!
//! The same over TCP, with keys proven and everything sealed:
//! ```
//! use hedgerow_transports::{Identity, TcpTransport, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
//! let mut listener = TcpTransport::new(bob.clone()).listen(&"tcp://127.0.0.1:0".parse()?).await?;
//! let address = listener.address(); // with the real port
//!
//! let dialler = TcpTransport::new(alice.clone());
//! let (dialled, accepted) = tokio::join!(dialler.dial(&address, bob.peer_id()), listener.accept());
//! let (dialled, accepted) = (dialled?, accepted?);
//! assert_eq!(accepted.info().peer, alice.peer_id());
//!
//! let ((mut to_bob, _from_bob), (_to_alice, mut from_alice)) = (dialled.split(), accepted.split());
//! to_bob.send("hello".into()).await?;
//! assert_eq!(from_alice.recv().await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # What is proven, and how
//! The two ends agree on keys with Noise XX (25519, ChaChaPoly, BLAKE2s). Inside that channel, before any frame, each
//! shows an Ed25519 signature over the name of the protocol, the kind of carrier, its role (dialler or listener)
//! and the hash of the handshake, which covers every byte of it. A signature made for one channel or role is worth
//! nothing for another, so nobody in the middle can pass one on. The dialler shows its proof first: to learn who
//! listens, one has to say who asks. Garbage, a foreign version, an altered handshake and a wrong peer end in
//! different variants of [`TransportError`].
//!
//! # Bounds
//! Handshakes are bounded in number and time, frames in size, queues in length; nothing is remembered of a datagram
//! before its sender has shown that it receives where it says it is. A reliable link makes the writer wait for the
//! reader. Numbers are in [`limits`], [`LinkConfig`], [`TcpConfig`] and [`UdpConfig`].

mod address;
mod backoff;
mod config;
mod crowd;
#[cfg(feature = "fec")]
pub mod fec;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod limits;
mod link;
mod lossy;
mod memory;
mod noise;
pub mod plain;
mod redial;
mod resolve;
pub mod stream;
mod tcp;
mod transport;
mod udp;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use config::LinkConfig;
pub use identity::Identity;
pub use link::{CloseReason, FrameReceiver, FrameSender, Link, LinkError, LinkInfo};
pub use lossy::{LossCounts, LossProfile, Lossy, LossyCounters};
pub use memory::{MemoryNetwork, MemoryTransport, memory_pair};
pub use redial::{DialFailure, Redial, RedialConfig, RedialHandle};
pub use tcp::{TcpConfig, TcpTransport};
pub use transport::{Listener, Rejected, Rejections, Transport, TransportError};
pub use udp::{UdpConfig, UdpTransport};
