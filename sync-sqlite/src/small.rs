//! The small rows: groups, peers, peers in groups, edges, heads, values.

use hedgerow_proto::{GroupId, PeerId, Visibility};
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{
    AuthorNum, AuthorRow, Edge, GroupNum, GroupRow, KeyValue, MessageNum, PeerGroupRow, PeerNum, PeerRow,
    Snapshot,
};
use rusqlite::{OptionalExtension as _, Params, Row, params};

use crate::error::{absent, corrupt, store_error};
use crate::rows::{after, limit, signed};
use crate::store::SqliteStore;

const GROUPS: &str = "SELECT num, id, scheme, client_id, major_version, descriptor, judged, head, chain,
    body_bytes, max_bytes FROM grp ORDER BY num";
const PEERS: &str = "SELECT num, id, install FROM peer ORDER BY num";
const PAIRS: &str =
    "SELECT peer, grp, visibility, has, got, mark, mark_chain FROM peer_group ORDER BY peer, grp";

impl SqliteStore {
    /// Runs a statement that is compiled once; how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(store_error)
    }

    pub(crate) fn list<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query(params).map_err(store_error)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let sql = "SELECT install, last_group, last_peer FROM store";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let (install, last_nums): (Option<i64>, _) = statement
            .query_row([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .map_err(store_error)?;
        Ok(Snapshot {
            install: install.map(i64::cast_unsigned),
            groups: self.list(GROUPS, [], read_group)?,
            peers: self.list(PEERS, [], read_peer)?,
            peer_groups: self.list(PAIRS, [], read_peer_group)?,
            last_nums,
        })
    }

    pub(crate) fn find_group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        let sql = "SELECT num, id, scheme, client_id, major_version, descriptor, judged, head, chain,
            body_bytes, max_bytes FROM grp WHERE id = ?1";
        Ok(self.list(sql, [id.as_bytes()], read_group)?.pop())
    }

    pub(crate) fn find_peer(&self, num: PeerNum) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.list("SELECT num, id, install FROM peer WHERE num = ?1", [num.0], read_peer)?.pop())
    }

    /// Those of the small rows that can be read, and what is wrong with the others.
    pub(crate) fn sound_small_rows(&self) -> (Snapshot, Vec<String>) {
        let mut problems = Vec::new();
        let snapshot = Snapshot {
            install: None,
            groups: self.list_sound(GROUPS, read_group, &mut problems),
            peers: self.list_sound(PEERS, read_peer, &mut problems),
            peer_groups: self.list_sound(PAIRS, read_peer_group, &mut problems),
            last_nums: (0, 0),
        };
        (snapshot, problems)
    }

    fn list_sound<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
        problems: &mut Vec<String>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        let walked = self.connection.prepare(sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                match read(row) {
                    Ok(row) => all.push(row),
                    Err(error) => problems.push(error.to_string()),
                }
            }
            Ok(())
        });
        problems.extend(walked.err().map(|error| error.to_string()));
        all
    }

    pub(crate) fn write_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO grp (num, id, scheme, client_id, major_version, descriptor, judged, head, chain,
             body_bytes, max_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (num) DO UPDATE SET id = ?2, scheme = ?3, client_id = ?4, major_version = ?5,
             descriptor = ?6, judged = ?7, head = ?8, chain = ?9, body_bytes = ?10, max_bytes = ?11",
            params![
                group.num.0,
                group.id.as_bytes(),
                group.scheme,
                group.client_id,
                group.major_version,
                group.descriptor,
                group.judged,
                group.head.cast_signed(),
                group.chain.cast_signed(),
                group.body_bytes.cast_signed(),
                group.max_bytes.map(u64::cast_signed),
            ],
        )?;
        self.execute("UPDATE store SET last_group = max(last_group, ?1)", [group.num.0])?;
        self.groups.insert(group.num);
        Ok(())
    }

    pub(crate) fn write_head(
        &self,
        group: GroupNum,
        head: u64,
        chain: u64,
        body_bytes: u64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE grp SET head = ?2, chain = ?3, body_bytes = ?4 WHERE num = ?1";
        let values = (group.0, head.cast_signed(), chain.cast_signed(), body_bytes.cast_signed());
        match self.execute(sql, values)? {
            0 => Err(absent("group", group.0)),
            _ => Ok(()),
        }
    }

    pub(crate) fn delete_group(&mut self, group: GroupNum) -> Result<(), StoreError> {
        if !self.groups.contains(&group) {
            return Err(absent("group", group.0));
        }
        self.delete_messages(group)?;
        for sql in [
            "DELETE FROM head WHERE grp = ?1",
            "DELETE FROM author WHERE grp = ?1",
            "DELETE FROM grp WHERE num = ?1",
        ] {
            self.execute(sql, [group.0])?;
        }
        self.note_removed()?;
        self.groups.remove(&group);
        self.cache.borrow_mut().clear();
        self.read_recent(self.data_version)
    }

    /// Removes the messages of a group, and the edges from and to them.
    fn delete_messages(&mut self, group: GroupNum) -> Result<(), StoreError> {
        let mut nums = Vec::new();
        self.log().flush(&self.connection)?;
        self.log().each_place(&self.connection, group, &mut |_, part, place| {
            nums.extend(place.stands(part).map(|(_, stand)| MessageNum(stand.num)));
            Ok(())
        })?;
        // Positions first, or each message would be taken out of its own.
        self.log().remove_places(&self.connection, group)?;
        for num in self.list("SELECT num FROM unsettled", [], |row| message_num(row, 0))? {
            let of_group = self.message(num)?.is_some_and(|row| row.group == group);
            nums.extend(of_group.then_some(num));
        }
        nums.sort_unstable();
        nums.dedup();
        let goes = |num: &MessageNum| nums.binary_search(num).is_ok();
        for (parent, child) in self.edge_list((MessageNum(0), MessageNum(0)), usize::MAX)? {
            if goes(&parent) || goes(&child) {
                self.execute(
                    "DELETE FROM edge WHERE parent = ?1 AND child = ?2",
                    (after(parent), after(child)),
                )?;
            }
        }
        for num in nums {
            let row = self.message(num)?.ok_or_else(|| absent("message", num.0))?;
            self.erase(&row, false)?;
        }
        Ok(())
    }

    pub(crate) fn find_author(
        &self,
        group: GroupNum,
        key: &[u8; 32],
    ) -> Result<Option<AuthorNum>, StoreError> {
        let sql = "SELECT num FROM author WHERE grp = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let num = statement.query_row((group.0, key), |row| row.get(0)).optional().map_err(store_error)?;
        Ok(num.map(AuthorNum))
    }

    pub(crate) fn insert_author(&self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, StoreError> {
        if !self.groups.contains(&group) {
            return Err(absent("group", group.0));
        }
        // SQLite takes the number after the highest one.
        self.execute("INSERT INTO author (grp, key) VALUES (?1, ?2)", (group.0, key))?;
        let num = self.connection.last_insert_rowid();
        u32::try_from(num).map(AuthorNum).map_err(|_| corrupt(format!("author number {num}")))
    }

    pub(crate) fn read_author(&self, num: AuthorNum) -> Result<Option<AuthorRow>, StoreError> {
        let sql = "SELECT num, grp, key FROM author WHERE num = ?1";
        let rows = self.list(sql, [num.0], |row| {
            Ok(AuthorRow {
                num: AuthorNum(row.get(0).map_err(store_error)?),
                group: GroupNum(row.get(1).map_err(store_error)?),
                key: row.get(2).map_err(store_error)?,
            })
        })?;
        Ok(rows.into_iter().next())
    }

    pub(crate) fn write_peer(&self, peer: &PeerRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO peer (num, id, install) VALUES (?1, ?2, ?3)
             ON CONFLICT (num) DO UPDATE SET id = ?2, install = ?3",
            (peer.num.0, peer.id.as_bytes(), peer.install.map(u64::cast_signed)),
        )?;
        self.execute("UPDATE store SET last_peer = max(last_peer, ?1)", [peer.num.0]).map(drop)
    }

    pub(crate) fn delete_peer(&self, peer: PeerNum) -> Result<(), StoreError> {
        match self.execute("DELETE FROM peer WHERE num = ?1", [peer.0])? {
            0 => Err(absent("peer", peer.0)),
            _ => Ok(()),
        }
    }

    pub(crate) fn write_peer_group(&self, row: &PeerGroupRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO peer_group (peer, grp, visibility, has, got, mark, mark_chain)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (peer, grp) DO UPDATE SET visibility = ?3, has = ?4, got = ?5, mark = ?6, mark_chain = ?7",
            params![
                row.peer.0,
                row.group.0,
                visibility_code(row.visibility),
                row.has,
                row.got,
                row.mark.cast_signed(),
                row.mark_chain.cast_signed(),
            ],
        )
        .map(drop)
    }

    pub(crate) fn child_list(
        &self,
        parent: MessageNum,
        from: MessageNum,
        rows: usize,
    ) -> Result<Vec<MessageNum>, StoreError> {
        let sql = "SELECT child FROM edge WHERE parent = ?1 AND child > ?2 ORDER BY child LIMIT ?3";
        self.list(sql, (after(parent), after(from), limit(rows)), |row| message_num(row, 0))
    }

    pub(crate) fn edge_list(&self, from: Edge, rows: usize) -> Result<Vec<Edge>, StoreError> {
        let sql =
            "SELECT parent, child FROM edge WHERE (parent, child) > (?1, ?2) ORDER BY parent, child LIMIT ?3";
        self.list(sql, (after(from.0), after(from.1), limit(rows)), |row| {
            Ok((message_num(row, 0)?, message_num(row, 1)?))
        })
    }

    pub(crate) fn head_list(&self, group: GroupNum) -> Result<Vec<MessageNum>, StoreError> {
        self.list("SELECT num FROM head WHERE grp = ?1 ORDER BY num", [group.0], |row| message_num(row, 0))
    }

    pub(crate) fn write_heads(
        &self,
        group: GroupNum,
        removed: &[MessageNum],
        added: &[MessageNum],
    ) -> Result<(), StoreError> {
        if !self.groups.contains(&group) {
            return Err(absent("group", group.0));
        }
        for num in removed {
            self.execute("DELETE FROM head WHERE grp = ?1 AND num = ?2", (group.0, after(*num)))?;
        }
        for &num in added {
            self.admit_message(num)?;
            let num = signed(num.0, "message number")?;
            self.execute("INSERT OR IGNORE INTO head VALUES (?1, ?2)", (group.0, num))?;
        }
        Ok(())
    }

    pub(crate) fn read_value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM value WHERE space = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        statement.query_row((space, key), |row| row.get(0)).optional().map_err(store_error)
    }

    pub(crate) fn write_value(
        &self,
        space: &str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        match value {
            Some(value) => {
                self.execute("INSERT OR REPLACE INTO value VALUES (?1, ?2, ?3)", (space, key, value))
            }
            None => self.execute("DELETE FROM value WHERE space = ?1 AND key = ?2", (space, key)),
        }
        .map(drop)
    }

    pub(crate) fn value_list(
        &self,
        space: &str,
        from: Option<&[u8]>,
        rows: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let read = |row: &Row<'_>| Ok((row.get(0).map_err(store_error)?, row.get(1).map_err(store_error)?));
        match from {
            None => self.list(
                "SELECT key, value FROM value WHERE space = ?1 ORDER BY key LIMIT ?2",
                (space, limit(rows)),
                read,
            ),
            Some(from) => self.list(
                "SELECT key, value FROM value WHERE space = ?1 AND key > ?3 ORDER BY key LIMIT ?2",
                (space, limit(rows), from),
                read,
            ),
        }
    }
}

pub(crate) fn message_num(row: &Row<'_>, column: usize) -> Result<MessageNum, StoreError> {
    let num: i64 = row.get(column).map_err(store_error)?;
    u64::try_from(num).map(MessageNum).map_err(|_| corrupt(format!("message number {num}")))
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    row.get(column).map(i64::cast_unsigned).map_err(store_error)
}

fn read_group(row: &Row<'_>) -> Result<GroupRow, StoreError> {
    Ok(GroupRow {
        num: GroupNum(row.get(0).map_err(store_error)?),
        id: GroupId::from_bytes(row.get(1).map_err(store_error)?),
        scheme: row.get(2).map_err(store_error)?,
        client_id: row.get(3).map_err(store_error)?,
        major_version: row.get(4).map_err(store_error)?,
        descriptor: row.get(5).map_err(store_error)?,
        judged: row.get(6).map_err(store_error)?,
        head: unsigned(row, 7)?,
        chain: unsigned(row, 8)?,
        body_bytes: unsigned(row, 9)?,
        max_bytes: row.get::<_, Option<i64>>(10).map_err(store_error)?.map(i64::cast_unsigned),
    })
}

fn read_peer(row: &Row<'_>) -> Result<PeerRow, StoreError> {
    let install: Option<i64> = row.get(2).map_err(store_error)?;
    Ok(PeerRow {
        num: PeerNum(row.get(0).map_err(store_error)?),
        id: PeerId::from_bytes(row.get(1).map_err(store_error)?),
        install: install.map(i64::cast_unsigned),
    })
}

fn read_peer_group(row: &Row<'_>) -> Result<PeerGroupRow, StoreError> {
    let code: u8 = row.get(2).map_err(store_error)?;
    Ok(PeerGroupRow {
        peer: PeerNum(row.get(0).map_err(store_error)?),
        group: GroupNum(row.get(1).map_err(store_error)?),
        visibility: visibility(code).ok_or_else(|| corrupt(format!("there is no visibility {code}")))?,
        has: row.get(3).map_err(store_error)?,
        got: row.get(4).map_err(store_error)?,
        mark: unsigned(row, 5)?,
        mark_chain: unsigned(row, 6)?,
    })
}

/// The number that stands for it in the store; it never changes.
const fn visibility_code(visibility: Visibility) -> u8 {
    match visibility {
        Visibility::Invisible => 0,
        Visibility::Visible => 1,
        Visibility::Shared => 2,
    }
}

const fn visibility(code: u8) -> Option<Visibility> {
    match code {
        0 => Some(Visibility::Invisible),
        1 => Some(Visibility::Visible),
        2 => Some(Visibility::Shared),
        _ => None,
    }
}
