//! Chat clients over the Hedgerow engine: direct, group and public chat.
//!
//! The engine moves bodies and never looks inside. This crate says what a body of a chat means, as pure
//! functions and small values without I/O: who may post in a group, whether a post is what its author signed,
//! what it says.
//!
//! - A group is one of three kinds: [`DirectGroup`] (two peers), [`PrivateGroup`] (a creator and invited
//!   members), [`PublicGroup`] (whoever has the link); [`ChatGroup`] is any of them.
//! - An [`Author`] writes posts with a [`PostDraft`].
//! - A [`Client`] judges messages, many at once, and reads them; a [`Registry`] finds the client of a group.
//! - A [`GroupInvite`] and a [`PeerTicket`] are what people hand each other, as text if they like.
//! - An [`AuthorState`] shows gaps and forks in what one author said.
//!
//! `docs/clients.md` in the repository is the specification of the bodies.
//!
//! ```
//! use hedgerow_clients::{Author, Client, Content, GroupClient, GroupInvite, PostDraft, PrivateGroup};
//!
//! // Seeds and salts are random in earnest.
//! let (ada, ben) = (Author::from_seed(&[1; 32]), Author::from_seed(&[2; 32]));
//! let garden = PrivateGroup::new(ada.id(), [7; 16], "garden")?;
//!
//! // Ada invites Ben with a ticket.
//! let ticket = garden.invite(&ada, ben.id())?.to_string();
//! let invite: GroupInvite = ticket.parse()?;
//! invite.verify(ben.id())?;
//!
//! // Ben posts, and anybody can see that it is Ben's and that Ben is a member.
//! let draft = PostDraft {
//!     group: invite.descriptor(),
//!     timestamp_ms: 1_700_000_000_000,
//!     deps: &[],
//!     number: 1,
//!     credential: invite.credential(),
//!     expires_ms: None,
//! };
//! let message = draft.message(&ben, &Content::Text("The beans are up.".to_owned()))?;
//!
//! let client = GroupClient::default();
//! assert!(client.judge(garden.descriptor(), &[message.clone()])[0].is_valid());
//! let post = client.read(garden.descriptor(), &message)?;
//! assert_eq!(post.author, ben.id());
//! assert_eq!(post.content, Content::Text("The beans are up.".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod author;
mod body;
mod chat;
mod client;
mod content;
mod credential;
pub mod direct;
mod draft;
pub mod group;
mod invite;
mod judge;
pub mod limits;
mod name;
pub mod public;
mod signature;
mod state;
#[cfg(test)]
mod testing;
mod ticket;

pub use author::Author;
pub use body::BodyError;
pub use chat::{ChatGroup, ContentRule, GroupError, StandingError};
pub use client::{Client, Post, ReadError, Registry};
pub use content::{Content, ContentError};
pub use credential::Credential;
pub use direct::{DirectClient, DirectGroup};
pub use draft::{DraftError, PostDraft};
pub use group::{GroupClient, PrivateGroup};
pub use invite::{GroupInvite, InviteError};
pub use name::{NameError, check_name};
pub use public::{PublicClient, PublicGroup};
pub use state::{AuthorState, Note, StateError};
pub use ticket::{PeerTicket, TicketError};
