//! Directories that go over, for programs and for people.

use portolan_protocol::LeftOut;
use serde::Serialize;

use super::{
    human::badge,
    line::File,
    text::{plain, size},
};
use crate::{TreePhase, TreeUpdate, event::kind_word};

/// The transfer of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TreeLine {
    pub(crate) id: u64,
    pub(crate) phase: &'static str,
    pub(crate) name: String,
    pub(crate) files: u64,
    pub(crate) files_total: u64,
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    pub(crate) same: u64,
    pub(crate) failed: u64,
    #[serde(skip_serializing_if = "LeftOut::is_empty")]
    pub(crate) left_out: LeftOut,
    pub(crate) with: String,
    pub(crate) direction: &'static str,
    /// `relayed`, `direct` or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl From<&TreeUpdate> for TreeLine {
    fn from(update: &TreeUpdate) -> Self {
        let (mut path, mut file, mut code, mut reason) = (None, None, None, None);
        match &update.phase {
            TreePhase::Done { path: written } | TreePhase::Partial { path: written } => {
                path = written.as_ref().map(|path| path.display().to_string());
            }
            TreePhase::Missed { file: missed, code: word, reason: words } => {
                file = Some(missed.clone());
                (code, reason) = (Some(word.as_str()), Some(words.clone()));
            }
            TreePhase::Failed { code: word, reason: words } => {
                (code, reason) = (Some(word.as_str()), Some(words.clone()));
            }
            TreePhase::Interrupted { reason: words }
            | TreePhase::Paused { reason: words }
            | TreePhase::Cancelled { reason: words }
            | TreePhase::Denied { reason: words } => reason = Some(words.clone()),
            TreePhase::Offered
            | TreePhase::Queued
            | TreePhase::Waiting
            | TreePhase::Started
            | TreePhase::Progress => {}
        }
        Self {
            id: update.id.0,
            phase: update.phase.as_str(),
            name: update.name.clone(),
            files: update.files,
            files_total: update.files_total,
            bytes: update.bytes,
            total: update.total,
            same: update.same,
            failed: update.failed,
            left_out: update.left_out,
            with: update.with.to_string(),
            direction: update.direction.as_str(),
            via: update.via.map(|via| kind_word(Some(via.kind))),
            transport: update.via.map(|via| via.transport),
            rate: update.rate,
            eta_ms: update.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            path,
            file,
            code,
            reason,
        }
    }
}

impl From<&TreeLine> for File {
    /// As one transfer, for a bar.
    fn from(tree: &TreeLine) -> Self {
        Self {
            id: tree.id,
            phase: tree.phase,
            name: format!("{}/", tree.name),
            bytes: tree.bytes,
            total: tree.total,
            resumed: None,
            hash: None,
            with: tree.with.clone(),
            direction: tree.direction,
            via: tree.via,
            transport: tree.transport,
            rate: tree.rate,
            eta_ms: tree.eta_ms,
            path: None,
            code: None,
            reason: None,
        }
    }
}

/// The line for people; `None`: they need not read it.
pub(crate) fn tree_text(tree: &TreeLine) -> Option<String> {
    let (id, name, with) = (tree.id, plain(&tree.name), &tree.with);
    let sending = tree.direction == "send";
    let arrow = if sending { format!("{name}/ to {with}") } else { format!("{name}/ from {with}") };
    let reason = plain(tree.reason.as_deref().unwrap_or_default());
    let all = format!("{} files, {}", tree.files_total, size(tree.total));
    Some(match tree.phase {
        "offered" => format!(
            "* {with} offers the directory {name}/ ({all}): /accept-file {id} or /deny-file {id}"
        ),
        "waiting" => format!("* waiting for {with} to take {name}/ ({all})"),
        "started" => {
            let badge = Some(badge(&tree.into())).filter(|badge| !badge.is_empty());
            let badge = badge.map(|badge| format!(", {badge}")).unwrap_or_default();
            format!("* directory {id}: {arrow}, {all}{badge}{}", left_out(tree.left_out))
        }
        "progress" => return None,
        "missed" => {
            let file = plain(tree.file.as_deref().unwrap_or_default());
            format!("* directory {id}: {file} is missing: {reason}")
        }
        "done" | "partial" => format!("* directory {id}: {arrow}, {}", summary(tree)),
        "interrupted" => format!("* directory {id}: {arrow}, tried again soon: {reason}"),
        "queued" => format!("* directory {id}: {arrow}, waits for its turn"),
        "paused" => format!("* directory {id}: {arrow}, paused: {reason}"),
        "cancelled" => format!("* directory {id}: {arrow}, cancelled: {reason}"),
        "denied" => format!("* directory {id}: {arrow}, refused: {reason}"),
        _ => format!("* directory {id}: {arrow}, failed: {reason} ({})", summary(tree)),
    })
}

fn summary(tree: &TreeLine) -> String {
    let mut text = format!("{} files verified, {}", tree.files, size(tree.bytes));
    if tree.same > 0 {
        text += &format!("; {} of them were there already", tree.same);
    }
    if tree.failed > 0 {
        text += &format!("; {} are missing, run it again to go on", tree.failed);
    }
    if let Some(path) = &tree.path {
        text += &format!("; saved in {}", plain(path));
    }
    text
}

/// What is passed over, in words.
fn left_out(left_out: LeftOut) -> String {
    let LeftOut { hidden, links, special, names, unreadable, beyond } = left_out;
    let rows = [
        (hidden, "hidden"),
        (links, "links"),
        (special, "special files"),
        (names, "with names that are not sent"),
        (unreadable, "unreadable"),
        (beyond, "too deep or too many"),
    ];
    let words: Vec<String> = rows
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match words.as_slice() {
        [] => String::new(),
        words => format!("; left out: {}", words.join(", ")),
    }
}
