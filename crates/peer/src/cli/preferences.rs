//! The settings of a name, as a person writes them.

use portolan_protocol::ChangeSettings;

const USAGE: &str = "settings are seen=on|off, last-seen=on|off and conversations=1…8";

/// Reads changes: `seen=off conversations=3`; nothing changes nothing.
///
/// # Errors
/// Advice for people.
pub(crate) fn parse(text: &str) -> Result<ChangeSettings, String> {
    let mut change = ChangeSettings::default();
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').ok_or_else(|| USAGE.to_owned())?;
        match name {
            "seen" => change.seen = Some(switch(value)?),
            "last-seen" => change.last_seen = Some(switch(value)?),
            "conversations" => {
                change.conversations = Some(value.parse().map_err(|_| USAGE.to_owned())?);
            }
            other => return Err(format!("there is no setting {other:.40?}; {USAGE}")),
        }
    }
    Ok(change)
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{other:.40?} is neither on nor off")),
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::ChangeSettings;

    use super::parse;

    #[test]
    fn settings_are_read_and_mistakes_answered_with_advice() {
        let all =
            ChangeSettings { seen: Some(false), conversations: Some(3), last_seen: Some(true) };
        assert_eq!(parse("seen=off  conversations=3 last-seen=on"), Ok(all));
        assert_eq!(parse(""), Ok(ChangeSettings::default()));
        let rows = [
            ("seen", "seen=on|off"),
            ("seen=maybe", "neither on nor off"),
            ("conversations=300", "conversations=1"),
            ("sean=off", "no setting \"sean\""),
        ];
        for (text, advice) in rows {
            let error = parse(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
