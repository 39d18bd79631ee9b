//! Messages: looked up and written.

use bytes::Bytes;
use hedgerow_proto::MessageId;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{Content, GroupNum, MessageNum, MessageRow, MessageState, StoredDep};
use rusqlite::{ToSql, params, params_from_iter};

use crate::error::{absent, corrupt, store_error};
use crate::rows::{after, offsets, select_message, signed};
use crate::store::SqliteStore;
use crate::{deps, tag};

/// Bodies up to this many bytes are in the message's row. Longer ones have a row of their own, so that judging a
/// message does not write its body again.
const INLINE_BODY: usize = 1_024;

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
        let Ok(number) = i64::try_from(num.0) else { return Ok(None) };
        let found = self.select_one(select_message!("WHERE num = ?1"), [number])?;
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
        let Ok(position) = i64::try_from(position) else { return Ok(None) };
        // The condition on the position says that the partial index serves.
        let sql = select_message!("WHERE grp = ?1 AND position = ?2 AND position > 0");
        let found = self.select_one(sql, (group.0, position))?;
        if let Some(row) = &found {
            self.cache.borrow_mut().put_row(row);
        }
        Ok(found)
    }

    pub(crate) fn message_content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        let Ok(number) = i64::try_from(num.0) else { return Ok(None) };
        let sql = "SELECT state, deps, body FROM message WHERE num = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query([number]).map_err(store_error)?;
        let Some(row) = rows.next().map_err(store_error)? else { return Ok(None) };
        let state: u8 = row.get(0).map_err(store_error)?;
        let blob = |column| {
            row.get_ref(column)
                .map_err(store_error)?
                .as_blob_or_null()
                .map_err(|_| corrupt(format!("message {} has a wrong content", num.0)))
        };
        let nums = deps::decode(num, blob(1)?.unwrap_or_default());
        let nums = nums.ok_or_else(|| corrupt(format!("message {} has wrong dependencies", num.0)))?;
        let body = match blob(2)? {
            Some(body) => Some(Bytes::copy_from_slice(body)),
            None => self.long_body(number)?,
        };
        let invalid = MessageState::from_code(state) == Some(MessageState::Invalid);
        let mut deps = Vec::with_capacity(nums.len());
        for dep in nums {
            match self.message(dep)? {
                Some(row) => deps.push(StoredDep { num: dep, id: row.id, position: row.position }),
                // It belonged to another group and went with it.
                None if invalid => {}
                None => {
                    return Err(corrupt(format!("message {} depends on {}, which is gone", num.0, dep.0)));
                }
            }
        }
        Ok(Some(Content { deps, body }))
    }

    fn long_body(&self, num: i64) -> Result<Option<Bytes>, StoreError> {
        let sql = "SELECT body FROM body WHERE num = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query([num]).map_err(store_error)?;
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
        let (head, tail) = tag::split(&row.id);
        self.write_columns(
            "INSERT INTO message (num, grp, state, position, eff, lead, height, chain, origin, delay, body_len,
             missing, reason, deps, body, author, expires, id_head, id_tail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            &row,
            deps,
            body,
            &[&head, &tail],
        )?;
        self.last_message = num.0;
        self.cache.borrow_mut().set_absent(None);
        self.cache.borrow_mut().put_row(&row);
        self.note_id(&row)?;
        Ok(num)
    }

    /// Writes all columns of a message with a statement that takes them in this order, and then `more`; and its body.
    fn write_columns(
        &self,
        sql: &str,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
        more: &[&dyn ToSql],
    ) -> Result<(), StoreError> {
        let number = signed(row.num.0, "message number")?;
        let body = body.filter(|_| row.state.has_body()).map(|body| &body[..]);
        let (inline, long) = match body {
            Some(body) if body.len() > INLINE_BODY => (None, Some(body)),
            body => (body, None),
        };
        let (lead, delay) = offsets(row);
        let columns = params![
            number,
            row.group.0,
            row.state as u8,
            signed(row.position, "position")?,
            row.eff_ms,
            lead,
            signed(row.height, "height")?,
            row.chain.cast_signed(),
            row.origin.map(|peer| peer.0),
            delay,
            row.body_len,
            row.missing,
            row.reason,
            deps::encode(row.num, deps),
            inline,
            row.author.map(|author| author.0),
            row.expires_ms,
        ];
        self.execute(sql, params_from_iter(columns.iter().chain(more)))?;
        if let Some(body) = long {
            self.execute("INSERT INTO body VALUES (?1, ?2)", (number, body))?;
        }
        Ok(())
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
        self.write_columns(
            "UPDATE message SET grp = ?2, state = ?3, position = ?4, eff = ?5, lead = ?6, height = ?7,
             chain = ?8, origin = ?9, delay = ?10, body_len = ?11, missing = ?12, reason = ?13, deps = ?14,
             body = ?15, author = ?16, expires = ?17 WHERE num = ?1",
            &row,
            deps,
            Some(body),
            &[],
        )?;
        self.cache.borrow_mut().put_row(&row);
        Ok(())
    }

    pub(crate) fn update_message(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let old = self.message(row.num)?.ok_or_else(|| absent("message", row.num.0))?;
        let number = signed(row.num.0, "message number")?;
        let row = old.updated(row);
        self.admit(&row, old.state.has_body(), &[])?;
        self.execute(
            "UPDATE message SET state = ?2, eff = ?3, height = ?4, position = ?5, chain = ?6, missing = ?7,
             reason = ?8, lead = ?9, grp = ?10, author = ?11, expires = ?12 WHERE num = ?1",
            params![
                number,
                row.state as u8,
                row.eff_ms,
                signed(row.height, "height")?,
                signed(row.position, "position")?,
                row.chain.cast_signed(),
                row.missing,
                row.reason,
                offsets(&row).0,
                row.group.0,
                row.author.map(|author| author.0),
                row.expires_ms,
            ],
        )?;
        if row.state == MessageState::Invalid {
            self.execute(
                "UPDATE message SET deps = ?2 WHERE num = ?1",
                params![number, deps::encode(row.num, &[])],
            )?;
        }
        if old.state.has_body() && !row.state.has_body() {
            self.execute("UPDATE message SET body = NULL WHERE num = ?1", [number])?;
            self.execute("DELETE FROM body WHERE num = ?1", [number])?;
        }
        self.cache.borrow_mut().put_row(&row);
        Ok(())
    }

    pub(crate) fn set_message_deps(
        &mut self,
        num: MessageNum,
        deps: &[MessageNum],
    ) -> Result<(), StoreError> {
        let row = self.message(num)?.ok_or_else(|| absent("message", num.0))?;
        if row.state != MessageState::Unvalidated {
            return Err(corrupt(format!("message {} is {:?}, not unvalidated", row.id, row.state)));
        }
        deps.iter().try_for_each(|&dep| self.admit_message(dep))?;
        let number = signed(num.0, "message number")?;
        self.execute("UPDATE message SET deps = ?2 WHERE num = ?1", params![number, deps::encode(num, deps)])
            .map(drop)
    }

    pub(crate) fn remove_message(&mut self, num: MessageNum) -> Result<(), StoreError> {
        let row = self.message(num)?.ok_or_else(|| absent("message", num.0))?;
        if !self.child_list(num, MessageNum(0), 1)?.is_empty() {
            return Err(corrupt(format!("message {} cannot be removed: others wait for it", row.id)));
        }
        let number = signed(num.0, "message number")?;
        for dep in self.message_content(num)?.map(|content| content.deps).unwrap_or_default() {
            self.execute("DELETE FROM edge WHERE parent = ?1 AND child = ?2", (after(dep.num), number))?;
        }
        self.execute("DELETE FROM head WHERE grp = ?1 AND num = ?2", (row.group.0, number))?;
        self.execute("DELETE FROM body WHERE num = ?1", [number])?;
        self.forget_id(&row)?;
        self.execute("DELETE FROM message WHERE num = ?1", [number])?;
        self.note_removed()?;
        self.cache.borrow_mut().remove(&row);
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
        deps.iter().try_for_each(|&dep| self.admit_message(dep))
    }

    pub(crate) fn admit_message(&self, num: MessageNum) -> Result<(), StoreError> {
        self.message(num)?.map(drop).ok_or_else(|| absent("message", num.0))
    }
}
