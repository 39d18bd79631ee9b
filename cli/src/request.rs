//! What a command asks of the node, be it in the daemon or in the command itself.
//!
//! On the control socket a request is one line of JSON, `{"v":1,"request":{…}}`, and each connection carries one. The
//! answer is any number of lines `{"v":1,"item":{…}}` and then one `{"v":1,"done":{}}` or `{"v":1,"error":{…}}`.

use hedgerow::{ForeignWire, OrderKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Fault, FaultKind};

/// The version of the requests and replies; a daemon refuses any other.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Id {},
    PeerAdd {
        ticket: String,
        alias: Option<String>,
    },
    PeerList {},
    PeerRemove {
        peer: String,
    },
    ForeignAdd {
        name: String,
        wire: ForeignWire,
        /// In hexadecimal.
        key: Option<String>,
        addresses: Vec<String>,
    },
    ForeignList {},
    ForeignRemove {
        name: String,
    },
    ForeignShare {
        name: String,
        group: ForeignGroup,
    },
    ForeignSend {
        group: String,
        /// In hexadecimal.
        body: String,
    },
    ForeignRead {
        group: String,
        after: u64,
    },
    GroupCreate {
        name: String,
        public: bool,
    },
    GroupInvite {
        name: String,
        peer: String,
    },
    GroupJoin {
        ticket: String,
    },
    GroupLink {
        name: String,
    },
    GroupList {},
    /// What the messages of a chat may take, in bytes; `null`: what the daemon was started with.
    GroupCap {
        name: String,
        max_bytes: Option<u64>,
    },
    Send(SendRequest),
    /// Some of the messages that are there: as many as `limit`, or all that are left.
    Read {
        target: String,
        page: Page,
        limit: usize,
    },
    /// All messages after a position, and those to come.
    Follow {
        target: String,
        after: u64,
    },
    Status {},
    Check {},
}

/// A group of another maker; bytes are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ForeignGroup {
    Id { id: String },
    Descriptor { client: String, major: u32, descriptor: String },
}

/// Which messages of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Page {
    /// In delivery order, after this position.
    Delivery { after: u64 },
    /// In canonical order, after this message.
    Canonical { after: Option<Key> },
}

/// Where a message stands in the canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) eff_ms: i64,
    pub(crate) height: u64,
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn parse(self) -> Result<OrderKey, Fault> {
        let Self { eff_ms, height, id } = self;
        let id = id.parse().map_err(|error| Fault::new(FaultKind::Request, error))?;
        Ok(OrderKey { eff_ms, height, id })
    }
}

/// Numbered lines of a sending session: those that were published before are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SendRequest {
    pub(crate) target: String,
    /// 32 hexadecimal digits that the sender made up.
    pub(crate) session: String,
    pub(crate) first_line: u64,
    pub(crate) lines: Vec<String>,
    /// How long after it is published each message is gone, in ms; missing: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expire_after_ms: Option<u64>,
}

impl Request {
    /// Whether it may be made twice as well as once.
    pub(crate) const fn may_repeat(&self) -> bool {
        !matches!(
            self,
            Self::PeerRemove { .. }
                | Self::ForeignRemove { .. }
                | Self::ForeignSend { .. }
                | Self::GroupCreate { .. }
                | Self::GroupInvite { .. }
        )
    }

    /// Whether its answer goes on until the client has enough.
    pub(crate) const fn is_endless(&self) -> bool {
        matches!(self, Self::Follow { .. })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestLine {
    pub(crate) v: u32,
    pub(crate) request: Request,
}

/// The version alone, to be read before anything else of a line is.
#[derive(Debug, Deserialize)]
pub(crate) struct VersionOnly {
    pub(crate) v: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplyLine {
    pub(crate) v: u32,
    #[serde(flatten)]
    pub(crate) reply: Reply,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Item(Value),
    Done {},
    Error(Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_round_and_stand_on_one_line() {
        let requests = [
            Request::Id {},
            Request::PeerAdd { ticket: "t\n".to_owned(), alias: None },
            Request::Send(SendRequest {
                target: "ben".to_owned(),
                session: "00".repeat(16),
                first_line: 7,
                lines: vec!["a\nb".to_owned()],
                expire_after_ms: Some(5),
            }),
            Request::GroupCap { name: "garden".to_owned(), max_bytes: None },
            Request::Read { target: "x".to_owned(), page: Page::Canonical { after: None }, limit: 9 },
        ];
        for request in requests {
            let line = serde_json::to_string(&RequestLine { v: VERSION, request: request.clone() }).unwrap();
            assert!(!line.contains('\n'));
            let read: RequestLine = serde_json::from_str(&line).unwrap();
            assert_eq!((read.v, read.request), (VERSION, request));
        }
    }

    #[test]
    fn replies_look_as_documented() {
        let line = |reply| serde_json::to_string(&ReplyLine { v: 1, reply }).unwrap();
        assert_eq!(line(Reply::Item(serde_json::json!({"a": 1}))), r#"{"v":1,"item":{"a":1}}"#);
        assert_eq!(line(Reply::Done {}), r#"{"v":1,"done":{}}"#);
        let fault = Fault::new(FaultKind::Full, "no room");
        assert_eq!(line(Reply::Error(fault)), r#"{"v":1,"error":{"kind":"full","message":"no room"}}"#);
        let read: ReplyLine = serde_json::from_str(r#"{"v":1,"done":{}}"#).unwrap();
        assert!(matches!(read.reply, Reply::Done {}));
    }
}
