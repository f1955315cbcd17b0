//! Whose files are taken, and how much of them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use portolan_protocol::Name;

use crate::FileRule;

/// Users with rules of their own.
const USERS_MAX: usize = 1024;

/// Whose offered files are taken, how large they may be, and how much all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileRules {
    /// For those who have no rule of their own.
    pub default: FileRule,
    /// For one user each, by name.
    pub users: BTreeMap<Name, FileRule>,
    /// Bytes of the largest file that is taken; `None`: as many as a file may have.
    pub file_max: Option<u64>,
    /// Bytes of everything in the directory of received files, with the file that is offered;
    /// `None`: as many as fit.
    pub total_max: Option<u64>,
}

impl FileRules {
    /// The rule for one user.
    #[must_use]
    pub fn rule_for(&self, who: &Name) -> FileRule {
        self.users.get(who).copied().unwrap_or(self.default)
    }
}

/// Changes of rules as people write them: `ask`, `bob=all`, `ask,bob=all,mallory=none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChanges {
    /// The rule for those who have none of their own.
    pub default: Option<FileRule>,
    /// Rules of single users.
    pub users: Vec<(Name, FileRule)>,
}

impl RuleChanges {
    /// Changes the rules, up to the bound of users.
    pub fn apply(&self, rules: &mut FileRules) {
        rules.default = self.default.unwrap_or(rules.default);
        for (who, rule) in &self.users {
            if rules.users.len() < USERS_MAX || rules.users.contains_key(who) {
                rules.users.insert(who.clone(), *rule);
            }
        }
    }
}

impl FromStr for RuleChanges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut changes = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => changes.default = Some(part.parse()?),
                Some((who, rule)) => {
                    let who =
                        Name::new(who.trim()).map_err(|error| format!("{who:.40}: {error}"))?;
                    changes.users.push((who, rule.trim().parse()?));
                }
            }
        }
        match changes.users.len() {
            0..=USERS_MAX => Ok(changes),
            count => Err(format!("{count} users are too many: {USERS_MAX} may have own rules")),
        }
    }
}

impl fmt::Display for FileRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = Self::TABLE.iter().find(|(rule, _)| rule == self);
        f.write_str(row.map_or("none", |(_, word)| word))
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Name;

    use super::{FileRules, RuleChanges};
    use crate::FileRule;

    #[test]
    fn who_has_a_rule_of_their_own_is_under_no_other() {
        let mut rules = FileRules::default();
        let changes: RuleChanges = "ask, Bob=all,mallory = none".parse().unwrap();
        changes.apply(&mut rules);
        let rule_for = |who: &str| rules.rule_for(&Name::new(who).unwrap());
        assert_eq!(rule_for("bob"), FileRule::All, "case does not distinguish names");
        assert_eq!(rule_for("mallory"), FileRule::None);
        assert_eq!(rule_for("carol"), FileRule::Ask);
        "carol=all".parse::<RuleChanges>().unwrap().apply(&mut rules);
        assert_eq!((rules.default, rules.users.len()), (FileRule::Ask, 3));
        for text in ["", "sometimes", "bob=", "=all", "two people=all", "bob=all;x"] {
            assert!(text.parse::<RuleChanges>().is_err(), "{text:?}");
        }
    }
}
