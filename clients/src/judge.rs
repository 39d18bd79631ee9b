//! Judging and reading posts: one way for all three clients, on the rules of [`ChatGroup`].

use std::collections::HashMap;

use hedgerow_proto::{GroupId, Message};
use hedgerow_sync_core::{MessageFacts, Verdict};

use crate::body::{Body, Place, unsigned};
use crate::chat::{ChatGroup, GroupError, Standing};
use crate::client::{Post, ReadError};
use crate::content::{Content, Kind};
use crate::credential::{CredentialKey, KnownCredentials, credential_bytes};
use crate::signature::Batch;

/// Judges each message on its layout, its author's standing and its signatures. What it says does not count:
/// a later version may say more, and peers of different versions must agree.
pub(crate) fn judge(
    chat: Result<ChatGroup, GroupError>,
    messages: &[Message],
    known: Option<&KnownCredentials>,
) -> Vec<Verdict> {
    let Ok(chat) = chat else { return vec![Verdict::Invalid; messages.len()] };
    let mut bench = Bench {
        group_id: chat.descriptor().id(),
        chat: &chat,
        known,
        batch: Batch::default(),
        asked: HashMap::new(),
        scratch: Vec::new(),
    };
    let cases: Vec<Option<Case>> = messages.iter().map(|message| bench.open(message)).collect();
    let good = bench.batch.verify();
    let is_good = |index: usize| good.get(index).copied().unwrap_or(false);
    if let Some(known) = known {
        bench.asked.iter().filter(|&(_, &index)| is_good(index)).for_each(|(key, _)| known.insert(*key));
    }
    let is_valid = |case: Case| is_good(case.post) && case.credential.is_none_or(is_good);
    cases
        .into_iter()
        .map(|case| case.filter(|case| is_valid(*case)))
        .map(|case| case.map_or(Verdict::Invalid, |case| Verdict::Valid(case.facts)))
        .collect()
}

/// Which signatures of a batch decide on a message.
#[derive(Clone, Copy)]
struct Case {
    facts: MessageFacts,
    post: usize,
    credential: Option<usize>,
}

struct Bench<'a> {
    group_id: GroupId,
    chat: &'a ChatGroup,
    known: Option<&'a KnownCredentials>,
    batch: Batch,
    /// Credentials in the batch, so that each stands there once.
    asked: HashMap<CredentialKey, usize>,
    scratch: Vec<u8>,
}

impl Bench<'_> {
    /// Puts the signatures of a message into the batch; `None` if it is invalid without them.
    fn open(&mut self, message: &Message) -> Option<Case> {
        if message.group() != self.group_id {
            return None;
        }
        let body = Body::parse(message.body()).ok()?;
        let credential = match self.chat.standing(&body.author, body.credential.is_some()).ok()? {
            Standing::Granted => None,
            Standing::GrantedBy(creator) => {
                let credential = body.credential?;
                let key = CredentialKey::of(self.group_id, &body.author, &credential);
                if self.known.is_some_and(|known| known.contains(&key)) {
                    None
                } else {
                    Some(*self.asked.entry(key).or_insert_with(|| {
                        let bytes = credential_bytes(self.group_id, &body.author);
                        self.batch.add(&creator, &bytes, credential.as_bytes())
                    }))
                }
            }
        };
        let place = Place::of(self.chat.descriptor(), message);
        place.signed_bytes(unsigned(message.body()), &mut self.scratch);
        let post = self.batch.add(&body.author, &self.scratch, &body.signature);
        // A post whose expiry cannot be read is as valid as one whose content cannot, and stays.
        let expires_ms = body.parts().ok().and_then(|(_, expires_ms, _)| expires_ms);
        let facts = MessageFacts { author: Some(*body.author.as_bytes()), expires_ms };
        Some(Case { facts, post, credential })
    }
}

/// What a message says, if its kind is known and means something where it stands.
pub(crate) fn read(chat: &ChatGroup, message: &Message) -> Result<Post, ReadError> {
    let body = Body::parse(message.body())?;
    let (code, expires_ms, content) = body.parts()?;
    let kind = Kind::from_code(code).ok_or(ReadError::UnknownKind(code))?;
    chat.may_say(&body.author, kind)?;
    let content = Content::decode(kind, content)?;
    Ok(Post { author: body.author, number: body.number, content, expires_ms })
}

#[cfg(test)]
mod tests;
