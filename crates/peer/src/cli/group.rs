//! `/group …`: what a person can do with groups.

use std::fmt::Write;

use portolan_protocol::{Name, Role};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupOrder {
    List,
    Create(String, bool),
    Invite(String, Name),
    Join(String),
    Leave(String),
    Remove(String, Name),
    Role(String, Name, Role),
    Rename(String, String),
    Members(String),
}

/// An order as advice shows it.
struct Row {
    word: &'static str,
    arguments: &'static str,
    parse: fn(&[&str]) -> Result<GroupOrder, Wrong>,
}

/// Why words make no order.
enum Wrong {
    /// Too many, too few, or unknown ones.
    Usage,
    /// One that is no name.
    Name(String),
}

const TABLE: &[Row] = &[
    row("list", "", |words| match words {
        [] => Ok(GroupOrder::List),
        _ => Err(Wrong::Usage),
    }),
    row("create", "GROUP [with-history]", |words| match words {
        [group] => Ok(GroupOrder::Create(bare(group), false)),
        [group, "with-history"] => Ok(GroupOrder::Create(bare(group), true)),
        _ => Err(Wrong::Usage),
    }),
    row("invite", "GROUP WHO", |words| match words {
        [group, who] => Ok(GroupOrder::Invite(bare(group), name(who)?)),
        _ => Err(Wrong::Usage),
    }),
    row("join", "GROUP", |words| match words {
        [group] => Ok(GroupOrder::Join(bare(group))),
        _ => Err(Wrong::Usage),
    }),
    row("leave", "GROUP", |words| match words {
        [group] => Ok(GroupOrder::Leave(bare(group))),
        _ => Err(Wrong::Usage),
    }),
    row("remove", "GROUP WHO", |words| match words {
        [group, who] => Ok(GroupOrder::Remove(bare(group), name(who)?)),
        _ => Err(Wrong::Usage),
    }),
    row("role", "GROUP WHO member|admin|owner", |words| match words {
        [group, who, word] => Ok(GroupOrder::Role(bare(group), name(who)?, role(word)?)),
        _ => Err(Wrong::Usage),
    }),
    row("rename", "GROUP NEW", |words| match words {
        [group, to] => Ok(GroupOrder::Rename(bare(group), bare(to))),
        _ => Err(Wrong::Usage),
    }),
    row("members", "GROUP", |words| match words {
        [group] => Ok(GroupOrder::Members(bare(group))),
        _ => Err(Wrong::Usage),
    }),
];

const fn row(
    word: &'static str,
    arguments: &'static str,
    parse: fn(&[&str]) -> Result<GroupOrder, Wrong>,
) -> Row {
    Row { word, arguments, parse }
}

/// Reads what stands behind `/group`.
///
/// # Errors
/// Advice for people.
pub(crate) fn parse(text: &str) -> Result<GroupOrder, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let Some((word, arguments)) = words.split_first() else { return Ok(GroupOrder::List) };
    let Some(row) = TABLE.iter().find(|row| row.word.eq_ignore_ascii_case(word)) else {
        return Err(usage());
    };
    (row.parse)(arguments).map_err(|wrong| match wrong {
        Wrong::Usage => format!("usage: /group {} {}", row.word, row.arguments).trim_end().into(),
        Wrong::Name(why) => why,
    })
}

fn usage() -> String {
    let mut text = "usage:".to_owned();
    for row in TABLE {
        let line = format!("\n/group {} {}", row.word, row.arguments);
        let _ = write!(text, "{}", line.trim_end());
    }
    text
}

/// `#crew` is the group `crew`.
fn bare(group: &str) -> String {
    group.strip_prefix('#').unwrap_or(group).to_owned()
}

fn name(text: &str) -> Result<Name, Wrong> {
    Name::new(text).map_err(|error| Wrong::Name(error.to_string()))
}

/// The word for a role.
pub(crate) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn role(word: &str) -> Result<Role, Wrong> {
    let roles = [Role::Member, Role::Admin, Role::Owner];
    roles.into_iter().find(|role| role_word(*role) == word).ok_or(Wrong::Usage)
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Name, Role};

    use super::{GroupOrder, TABLE, parse};

    #[test]
    fn every_order_is_understood_with_and_without_the_sign_of_groups() {
        let (crew, bob) = (|| "crew".to_owned(), || Name::new("bob").unwrap());
        let rows = [
            ("", GroupOrder::List),
            ("list", GroupOrder::List),
            ("create #crew", GroupOrder::Create(crew(), false)),
            ("create crew with-history", GroupOrder::Create(crew(), true)),
            ("invite crew bob", GroupOrder::Invite(crew(), bob())),
            ("join crew", GroupOrder::Join(crew())),
            ("LEAVE #crew", GroupOrder::Leave(crew())),
            ("remove crew bob", GroupOrder::Remove(crew(), bob())),
            ("role crew bob admin", GroupOrder::Role(crew(), bob(), Role::Admin)),
            ("rename crew hands", GroupOrder::Rename(crew(), "hands".into())),
            ("members crew", GroupOrder::Members(crew())),
        ];
        for (text, wanted) in &rows {
            assert_eq!(parse(text).as_ref(), Ok(wanted), "{text}");
        }
        for row in TABLE {
            assert!(rows.iter().any(|(text, _)| text.to_lowercase().starts_with(row.word)));
        }
    }

    #[test]
    fn mistakes_are_answered_with_advice() {
        for (text, advice) in [
            ("make crew", "/group create GROUP"),
            ("create", "usage: /group create GROUP [with-history]"),
            ("invite crew", "usage: /group invite GROUP WHO"),
            ("invite crew b/b", "letters"),
            ("role crew bob captain", "member|admin|owner"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
