//! Messages: looked up and written.

use bytes::Bytes;
use hedgerow_proto::MessageId;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{Content, GroupNum, MessageNum, MessageRow, MessageState, StoredDep};

use crate::block::{Entry, INLINE_BODY};
use crate::deps;
use crate::error::{absent, corrupt, store_error};
use crate::rows::{after, signed};
use crate::store::SqliteStore;

impl SqliteStore {
    pub(crate) fn find_message(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError> {
        if self.cache.borrow().is_absent(id) {
            return Ok(None);
        }
        let known = self.recent_num(id)?.or_else(|| self.cache.borrow_mut().id(id));
        if let Some(num) = known {
            return self.message(num);
        }
        let found = self.find_by_tag(id)?;
        let mut cache = self.cache.borrow_mut();
        match &found {
            Some(row) => {
                cache.put_row(row);
                cache.put_id(row);
            }
            None => cache.set_absent(Some(*id)),
        }
        Ok(found)
    }

    pub(crate) fn message(&self, num: MessageNum) -> Result<Option<MessageRow>, StoreError> {
        let known = self.cache.borrow_mut().row(num);
        if known.is_some() {
            return Ok(known);
        }
        let found = self.log().entry(&self.connection, num.0)?.map(|entry| entry.row);
        if let Some(row) = &found {
            self.cache.borrow_mut().put_row(row);
        }
        Ok(found)
    }

    pub(crate) fn message_at(
        &self,
        group: GroupNum,
        position: u64,
    ) -> Result<Option<MessageRow>, StoreError> {
        let Some(num) = self.log().at(&self.connection, group, position)? else { return Ok(None) };
        match self.message(MessageNum(num))? {
            Some(row) if (row.group, row.position) == (group, position) => Ok(Some(row)),
            _ => Err(corrupt(format!("message {num} is not at position {position} of group {}", group.0))),
        }
    }

    pub(crate) fn message_content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        let found = self.log().entry(&self.connection, num.0)?.cloned();
        let Some(Entry { row, deps, body }) = found else { return Ok(None) };
        let nums = deps::decode(num, &deps);
        let nums = nums.ok_or_else(|| corrupt(format!("message {} has wrong dependencies", num.0)))?;
        let body = match body {
            None if usize::try_from(row.body_len).is_ok_and(|len| len > INLINE_BODY) => {
                self.long_body(num)?
            }
            body => body,
        };
        let mut deps = Vec::with_capacity(nums.len());
        for dep in nums {
            match self.message(dep)? {
                Some(row) => deps.push(StoredDep { num: dep, id: row.id, position: row.position }),
                // It belonged to another group and went with it.
                None if row.state == MessageState::Invalid => {}
                None => {
                    return Err(corrupt(format!("message {} depends on {}, which is gone", num.0, dep.0)));
                }
            }
        }
        Ok(Some(Content { deps, body }))
    }

    fn long_body(&self, num: MessageNum) -> Result<Option<Bytes>, StoreError> {
        let sql = "SELECT body FROM body WHERE num = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query([after(num)]).map_err(store_error)?;
        let Some(row) = rows.next().map_err(store_error)? else { return Ok(None) };
        row.get(0).map(|body: Vec<u8>| Some(body.into())).map_err(store_error)
    }

    pub(crate) fn insert_message(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError> {
        if self.find_message(&row.id)?.is_some() {
            return Err(corrupt(format!("message {} is there already", row.id)));
        }
        self.admit(row, body.is_some(), deps)?;
        let num = MessageNum(self.last_message.saturating_add(1));
        let row = MessageRow { num, ..*row };
        let entry = self.entry_of(&row, deps, body)?;
        self.log().append(&self.connection, entry)?;
        self.last_message = num.0;
        self.cache.borrow_mut().set_absent(None);
        self.cache.borrow_mut().put_row(&row);
        self.note_id(&row)?;
        Ok(num)
    }

    /// The entry of a message; a body that is too long for it is written to where it belongs.
    fn entry_of(
        &self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<Entry, StoreError> {
        let number = signed(row.num.0, "message number")?;
        let deps = deps::encode(row.num, deps).into();
        let body = body.filter(|_| row.state.has_body());
        let long = usize::try_from(row.body_len).is_ok_and(|len| len > INLINE_BODY);
        if let Some(body) = body.filter(|_| long) {
            self.execute("INSERT INTO body VALUES (?1, ?2)", (number, &body[..]))?;
        }
        Ok(Entry { row: *row, deps, body: body.filter(|_| !long).cloned() })
    }

    pub(crate) fn fill_message(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: &Bytes,
    ) -> Result<(), StoreError> {
        let old = self.message(row.num)?.ok_or_else(|| absent("message", row.num.0))?;
        let row = old.filled(row)?;
        self.admit(&row, true, deps)?;
        let entry = self.entry_of(&row, deps, Some(body))?;
        self.put_entry(entry)
    }

    /// Writes a message that is there in another form.
    fn put_entry(&self, entry: Entry) -> Result<(), StoreError> {
        let row = entry.row;
        self.log().replace(&self.connection, entry)?;
        self.cache.borrow_mut().put_row(&row);
        Ok(())
    }

    /// The entry of a message that is there.
    fn held_entry(&self, num: MessageNum) -> Result<Entry, StoreError> {
        let found = self.log().entry(&self.connection, num.0)?.cloned();
        found.ok_or_else(|| absent("message", num.0))
    }

    pub(crate) fn update_message(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let old = self.held_entry(row.num)?;
        let row = old.row.updated(row);
        self.admit(&row, old.row.state.has_body(), &[])?;
        let deps = if row.state == MessageState::Invalid { Bytes::new() } else { old.deps };
        if old.row.state.has_body() && !row.state.has_body() && old.body.is_none() {
            self.execute("DELETE FROM body WHERE num = ?1", [after(row.num)])?;
        }
        let body = old.body.filter(|_| row.state.has_body());
        self.put_entry(Entry { row, deps, body })
    }

    pub(crate) fn set_message_deps(
        &mut self,
        num: MessageNum,
        deps: &[MessageNum],
    ) -> Result<(), StoreError> {
        let entry = self.held_entry(num)?;
        if entry.row.state != MessageState::Unvalidated {
            let MessageRow { id, state, .. } = entry.row;
            return Err(corrupt(format!("message {id} is {state:?}, not unvalidated")));
        }
        deps.iter().try_for_each(|&dep| self.admit_message(dep))?;
        self.put_entry(Entry { deps: deps::encode(num, deps).into(), ..entry })
    }

    pub(crate) fn remove_message(&mut self, num: MessageNum) -> Result<(), StoreError> {
        let row = self.message(num)?.ok_or_else(|| absent("message", num.0))?;
        if !self.child_list(num, MessageNum(0), 1)?.is_empty() {
            return Err(corrupt(format!("message {} cannot be removed: others wait for it", row.id)));
        }
        for dep in self.message_content(num)?.map(|content| content.deps).unwrap_or_default() {
            self.execute("DELETE FROM edge WHERE parent = ?1 AND child = ?2", (after(dep.num), after(num)))?;
        }
        self.execute("DELETE FROM head WHERE grp = ?1 AND num = ?2", (row.group.0, after(num)))?;
        self.erase(&row, true)?;
        self.note_removed()
    }

    /// Removes a message, and what leads to it by its id; and by its position, if it has one still.
    pub(crate) fn erase(&self, row: &MessageRow, is_placed: bool) -> Result<(), StoreError> {
        self.execute("DELETE FROM body WHERE num = ?1", [after(row.num)])?;
        self.forget_id(row)?;
        self.log().remove(&self.connection, row.num.0, is_placed)?;
        self.cache.borrow_mut().remove(row);
        Ok(())
    }

    /// The numbers of removed messages are not given again, although they are no longer there to be seen.
    pub(crate) fn note_removed(&self) -> Result<(), StoreError> {
        let last = signed(self.last_message, "message number")?;
        self.execute("UPDATE store SET last_removed = max(last_removed, ?1)", [last]).map(drop)
    }

    /// What must hold of a row before it is written.
    fn admit(&self, row: &MessageRow, has_body: bool, deps: &[MessageNum]) -> Result<(), StoreError> {
        if !self.groups.contains(&row.group) {
            return Err(absent("group", row.group.0));
        }
        row.admit(has_body)?;
        signed(row.position, "position")?;
        signed(row.height, "height")?;
        deps.iter().try_for_each(|&dep| self.admit_message(dep))
    }

    pub(crate) fn admit_message(&self, num: MessageNum) -> Result<(), StoreError> {
        self.message(num)?.map(drop).ok_or_else(|| absent("message", num.0))
    }
}
