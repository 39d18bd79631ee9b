//! Every limit of the chat clients, in one place. `docs/clients.md` cites these names.

/// Longest text of a post, in bytes of UTF-8; the shortest has one.
pub const MAX_TEXT: usize = 30_000;
/// Longest name of a group, a member or a peer, in bytes of UTF-8; the shortest has one.
pub const MAX_NAME: usize = 64;
/// Longest note of a public group, in bytes of UTF-8.
pub const MAX_NOTE: usize = 1_000;
/// What a post adds to its content, in bytes, without a credential.
pub const POST_OVERHEAD: usize = 106;
/// Length of a credential, in bytes: what a post of an invited member adds to [`POST_OVERHEAD`].
pub const CREDENTIAL_LEN: usize = 64;
/// Length of the random bytes that tell groups of one name apart.
pub const SALT_LEN: usize = 16;
/// What a time at which it expires adds to a post, in bytes.
pub const EXPIRY_LEN: usize = 8;
/// Highest kind of content that a post can name.
pub const MAX_KIND: u8 = 63;
/// Most addresses in a peer ticket.
pub const MAX_ADDRESSES: usize = 16;
/// Longest address in a peer ticket, in bytes of UTF-8; the shortest has one.
pub const MAX_ADDRESS: usize = 256;
/// Longest ticket, in characters.
pub const MAX_TICKET: usize = 8_192;
/// Most signatures that are checked at once.
pub const MAX_BATCH: usize = 64;
/// Most credentials that the group client remembers to have verified (32 bytes each).
pub const MAX_KNOWN_CREDENTIALS: usize = 4_096;
/// Most spans of numbers that are remembered of one author in one group.
pub const MAX_AUTHOR_SPANS: usize = 256;
