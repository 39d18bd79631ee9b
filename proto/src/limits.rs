//! Every limit of the wire, in one place. `docs/protocol.md` cites these names.

/// Longest message body, in bytes.
pub const MAX_BODY: usize = 32_768;
/// Most dependencies of one message.
pub const MAX_DEPS: usize = 64;
/// Longest client id, in bytes of UTF-8; the shortest has one.
pub const MAX_CLIENT_ID: usize = 100;
/// Longest group descriptor, in bytes.
pub const MAX_DESCRIPTOR: usize = 16 * 1024;
/// Largest frame that anybody may agree to take, in bytes.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Largest frame that is taken unless HELLO says otherwise, in bytes.
pub const DEFAULT_MAX_FRAME: usize = 64 * 1024;
/// Smallest frame size that a HELLO may ask for, in bytes: room for a HELLO and a handful of records.
pub const MIN_MAX_FRAME: usize = 256;
/// What a MESSAGE record adds to its body and to 33 bytes for each dependency, in bytes, at most.
pub const MESSAGE_OVERHEAD: usize = 40;
/// Length of the nonce in HELLO, in bytes.
pub const NONCE_LEN: usize = 16;
/// Length of the tag in ANNOUNCE, in bytes.
pub const TAG_LEN: usize = 8;
/// Length of a value that stands for an ANNOUNCE, in bytes.
pub const STEP_LEN: usize = 7;
/// Length of the sample in ANNOUNCE, in bytes.
pub const SAMPLE_LEN: usize = 16;
/// The major version of the native wire.
pub const MAJOR: u32 = 1;
/// The minor version of the native wire.
pub const MINOR: u32 = 0;
/// MVDS: length of the public key that a peer is known by, in bytes.
pub const MVDS_PEER_LEN: usize = 65;
/// BSP: length of the header of a record, in bytes.
pub const BSP_HEADER_LEN: usize = 4;
/// BSP: longest record without its header, in bytes.
pub const BSP_MAX_RECORD: usize = 48 * 1024;
/// BSP: most ids in one record.
pub const BSP_MAX_IDS: usize = BSP_MAX_RECORD / 32;
/// BSP: most versions in a VERSIONS record.
pub const BSP_MAX_VERSIONS: usize = 10;
/// BSP: how many unanswered offers a deployed peer keeps; those beyond are dropped there without a word.
pub const BSP_MAX_OFFERS: usize = 1000;
/// RECONCILE: how many bytes of a short id a symbol has, at least.
pub const MIN_SHORT_ID: u8 = 5;
/// RECONCILE: how many bytes of a short id a symbol has, at most.
pub const MAX_SHORT_ID: u8 = 8;
/// RECONCILE: what a symbol has beside them, in bytes: two of the check, one of the count.
pub const SYMBOL_OVERHEAD: usize = 3;
