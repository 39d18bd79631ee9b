//! Public groups: whoever has the link reads and posts.

use hedgerow_proto::{GroupDescriptor, Message};
use hedgerow_sync_core::Verdict;

use crate::chat::{ChatGroup, GroupError, check_client};
use crate::client::{Client, Post, ReadError};
use crate::invite::GroupInvite;
use crate::judge;
use crate::limits::{MAX_NOTE, SALT_LEN};
use crate::name::{check_name, read_name};

/// The client id of public groups.
pub const CLIENT_ID: &str = "hedgerow.public";
/// The major version of public groups.
pub const MAJOR_VERSION: u32 = 1;

/// A public group, as its descriptor says: `salt 16 || name length 1 || name || note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicGroup {
    name: String,
    note: String,
    descriptor: GroupDescriptor,
}

impl PublicGroup {
    /// A group with `salt` of random bytes, which keep it apart from others of the same name and its id from
    /// being guessed; with a note of at most [`MAX_NOTE`] bytes on what it is about, or an empty one.
    ///
    /// # Errors
    /// The rule that the name or the note breaks.
    pub fn new(salt: [u8; SALT_LEN], name: &str, note: &str) -> Result<Self, GroupError> {
        check_name(name)?;
        if note.len() > MAX_NOTE {
            return Err(GroupError::NoteLength(note.len()));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(GroupError::NoteText);
        }
        // A name has at most MAX_NAME bytes.
        let name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let bytes = [salt.as_slice(), &[name_len], name.as_bytes(), note.as_bytes()].concat();
        let descriptor = GroupDescriptor::new(CLIENT_ID, MAJOR_VERSION, bytes)?;
        Ok(Self { name: name.to_owned(), note: note.to_owned(), descriptor })
    }

    /// Reads the descriptor of a public group.
    ///
    /// # Errors
    /// The rule that the descriptor breaks.
    pub fn parse(group: &GroupDescriptor) -> Result<Self, GroupError> {
        check_client(group, CLIENT_ID, MAJOR_VERSION)?;
        Self::from_bytes(group.descriptor())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, GroupError> {
        let short = GroupError::Length("public");
        let (salt, rest) = bytes.split_first_chunk().ok_or(short.clone())?;
        let (&name_len, rest) = rest.split_first().ok_or(short.clone())?;
        let (name, note) = rest.split_at_checked(usize::from(name_len)).ok_or(short)?;
        if note.len() > MAX_NOTE {
            return Err(GroupError::NoteLength(note.len()));
        }
        let note = std::str::from_utf8(note).map_err(|_| GroupError::NoteText)?;
        Self::new(*salt, &read_name(name)?, note)
    }

    /// The descriptor, which names the group.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        &self.descriptor
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about; empty if nobody said.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The link that lets anybody in.
    #[must_use]
    pub fn link(&self) -> GroupInvite {
        GroupInvite::Public(self.clone())
    }
}

/// The client of public groups. A post is valid if its author signed it.
#[derive(Debug, Default, Clone, Copy)]
pub struct PublicClient;

impl Client for PublicClient {
    fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    fn major_version(&self) -> u32 {
        MAJOR_VERSION
    }

    fn judge(&self, group: &GroupDescriptor, messages: &[Message]) -> Vec<Verdict> {
        judge::judge(PublicGroup::parse(group).map(ChatGroup::Public), messages, None)
    }

    fn read(&self, group: &GroupDescriptor, message: &Message) -> Result<Post, ReadError> {
        judge::read(&ChatGroup::Public(PublicGroup::parse(group)?), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameError;
    use crate::testing::{descriptor, message, text, verdict};

    #[test]
    fn anybody_may_post() {
        let group = PublicGroup::new([1; 16], "plaza", "").unwrap();
        for seed in 1..5 {
            let message = message(group.descriptor(), seed, &text("hi"), None);
            assert_eq!(verdict(&PublicClient, group.descriptor(), &message), Verdict::VALID);
        }
    }

    #[test]
    fn a_post_is_valid_in_its_own_group_alone() {
        let [here, there] = [1, 2].map(|n| PublicGroup::new([n; 16], "plaza", "").unwrap());
        let said_there = message(there.descriptor(), 1, &text("hi"), None);
        assert_eq!(verdict(&PublicClient, there.descriptor(), &said_there), Verdict::VALID);
        assert_eq!(verdict(&PublicClient, here.descriptor(), &said_there), Verdict::Invalid);
    }

    #[test]
    fn rules_are_named() {
        let new = |name: &str, note: &str| PublicGroup::new([1; 16], name, note);
        assert_eq!(new("plaza", "line one\nline two").unwrap().note(), "line one\nline two");
        assert_eq!(new("", "").unwrap_err(), GroupError::Name(NameError::Length(0)));
        assert_eq!(new("plaza", "\t").unwrap_err(), GroupError::NoteText);
        assert!(new("plaza", &"x".repeat(MAX_NOTE)).is_ok());
        assert_eq!(new("plaza", &"x".repeat(MAX_NOTE + 1)), Err(GroupError::NoteLength(MAX_NOTE + 1)));
        let parse = |bytes: &[u8]| PublicGroup::parse(&descriptor(CLIENT_ID, bytes)).unwrap_err();
        assert_eq!(parse(&[1; 15]), GroupError::Length("public"));
        assert_eq!(parse(&[1; 16]), GroupError::Length("public"));
        assert_eq!(parse(&[&[1; 16][..], &[2, b'a']].concat()), GroupError::Length("public"));
        assert_eq!(parse(&[&[1; 16][..], &[1, b'a', 0xff]].concat()), GroupError::NoteText);
    }
}
