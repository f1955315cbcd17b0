//! Groups and their members.

use portolan_protocol::{MessageId, Role, Timestamp};
use rusqlite::{Connection, Transaction, params};

use super::{name, number};
use crate::store::{
    GroupId, GroupWrite, Outcome, StoredGroup, StoredMember, StoredReference, UserId,
};

pub(super) fn read(
    connection: &Connection,
) -> rusqlite::Result<(Vec<StoredGroup>, Vec<StoredMember>)> {
    let mut groups =
        connection.prepare("SELECT id, name, has_history, since FROM groups ORDER BY id")?;
    let groups = groups.query_map([], |row| {
        Ok(StoredGroup {
            id: GroupId(number(row, 0)?),
            name: name(row, 1)?,
            has_history: row.get(2)?,
            since: Timestamp(number(row, 3)?),
        })
    })?;
    let mut members = connection
        .prepare("SELECT of, user, role, since, after, by FROM members ORDER BY of, user")?;
    let members = members.query_map([], |row| {
        Ok(StoredMember {
            group: GroupId(number(row, 0)?),
            user: UserId(number(row, 1)?),
            role: role(row.get(2)?),
            since: Timestamp(number(row, 3)?),
            after: MessageId(number(row, 4)?),
            by: UserId(number(row, 5)?),
        })
    })?;
    Ok((groups.collect::<rusqlite::Result<_>>()?, members.collect::<rusqlite::Result<_>>()?))
}

/// The greatest number that a group has, or that one of which messages are left had.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<GroupId> {
    connection.query_row(
        "SELECT max((SELECT coalesce(max(id), 0) FROM groups),
                    (SELECT coalesce(max(talk), 0) FROM messages WHERE talk_with = -1))",
        [],
        |row| Ok(GroupId(number(row, 0)?)),
    )
}

pub(super) fn write(db: &Transaction<'_>, writes: &[GroupWrite]) -> rusqlite::Result<Outcome> {
    for write in writes {
        match write {
            GroupWrite::Save(group) => save(db, group)?,
            GroupWrite::Member(member) => put(db, member)?,
            &GroupWrite::Drop { group, user } => drop_member(db, group, user)?,
            &GroupWrite::End(group) => end(db, group)?,
            GroupWrite::Note(reference) => note(db, reference)?,
            GroupWrite::Unnote(reference) => unnote(db, reference)?,
        }
    }
    Ok(Outcome::Done)
}

fn save(db: &Transaction<'_>, group: &StoredGroup) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO groups (id, name, name_key, has_history, since) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET name = ?2, name_key = ?3, has_history = ?4",
    )?
    .execute(params![
        group.id.0.cast_signed(),
        group.name.as_str(),
        group.name.key(),
        group.has_history,
        group.since.0.cast_signed(),
    ])?;
    Ok(())
}

fn put(db: &Transaction<'_>, member: &StoredMember) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO members (of, user, role, since, after, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (of, user) DO UPDATE SET role = ?3, since = ?4, after = ?5",
    )?
    .execute(params![
        member.group.0.cast_signed(),
        member.user.0.cast_signed(),
        member.role.map(role_column),
        member.since.0.cast_signed(),
        member.after.0.cast_signed(),
        member.by.0.cast_signed(),
    ])?;
    Ok(())
}

fn drop_member(db: &Transaction<'_>, group: GroupId, user: UserId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM members WHERE of = ?1 AND user = ?2")?
        .execute([group.0.cast_signed(), user.0.cast_signed()])?;
    Ok(())
}

fn end(db: &Transaction<'_>, group: GroupId) -> rusqlite::Result<()> {
    db.execute("DELETE FROM members WHERE of = ?1", [group.0.cast_signed()])?;
    db.execute("DELETE FROM groups WHERE id = ?1", [group.0.cast_signed()])?;
    Ok(())
}

pub(super) fn references(connection: &Connection) -> rusqlite::Result<Vec<StoredReference>> {
    let mut references = connection
        .prepare("SELECT user, reference, at FROM group_references ORDER BY user, at, reference")?;
    let references = references.query_map([], |row| {
        Ok(StoredReference {
            user: UserId(number(row, 0)?),
            reference: number(row, 1)?,
            at: Timestamp(number(row, 2)?),
        })
    })?;
    references.collect()
}

fn note(db: &Transaction<'_>, reference: &StoredReference) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO group_references (user, reference, at) VALUES (?1, ?2, ?3)",
    )?
    .execute([
        reference.user.0.cast_signed(),
        reference.reference.cast_signed(),
        reference.at.0.cast_signed(),
    ])?;
    Ok(())
}

fn unnote(db: &Transaction<'_>, reference: &StoredReference) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM group_references WHERE user = ?1 AND reference = ?2")?
        .execute([reference.user.0.cast_signed(), reference.reference.cast_signed()])?;
    Ok(())
}

fn role_column(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

fn role(column: Option<i64>) -> Option<Role> {
    match column? {
        0 => Some(Role::Member),
        1 => Some(Role::Admin),
        _ => Some(Role::Owner),
    }
}
