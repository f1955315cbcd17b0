//! Ways out that never end.

use std::collections::BTreeSet;

use super::{
    draft::{Draft, Kind},
    error::{Problem, Reading},
};

/// From a network through a translator or firewall to the one outside of it, as indexes of nodes.
#[derive(Debug, Clone, Copy)]
struct Way {
    inside: usize,
    by: usize,
    outside: usize,
}

/// Refuses translators and firewalls that stand behind each other in a circle.
pub(super) fn refuse(draft: &Draft<'_>) -> Reading<()> {
    let mut ways = ways(draft);
    // A way that leads where no other goes on ends; what is left in the end leads on for ever.
    loop {
        let count = ways.len();
        let insides: BTreeSet<usize> = ways.iter().map(|way| way.inside).collect();
        ways.retain(|way| insides.contains(&way.outside));
        if ways.len() == count {
            break;
        }
    }
    let mut circle = walk(&ways);
    let Some(last) = circle.last().copied() else { return Ok(()) };
    circle.drain(..circle.iter().position(|way| way.inside == last.outside).unwrap_or_default());

    let name = |node: usize| draft.name(node).to_owned();
    let mut path: Vec<String> =
        circle.iter().flat_map(|way| [name(way.inside), name(way.by)]).collect();
    path.push(name(last.outside));
    let at = draft.declared.get(last.by).map_or(0, |one| one.entry.at);
    Err(Problem::OutsideCycle { path }.at(at))
}

fn ways(draft: &Draft<'_>) -> Vec<Way> {
    let boxes = draft.declared.iter().enumerate();
    let boxes = boxes.filter(|(_, one)| matches!(one.kind, Kind::Nat | Kind::Firewall));
    let way = |by: usize| {
        let mut sides = draft.plugs.iter().filter(|plug| plug.node == by);
        Some(Way { inside: sides.next()?.network, by, outside: sides.next()?.network })
    };
    boxes.filter_map(|(by, _)| way(by)).collect()
}

/// From the first way on and on, until it comes to a network where it was before.
fn walk(ways: &[Way]) -> Vec<Way> {
    let mut path: Vec<Way> = ways.first().copied().into_iter().collect();
    while let Some(last) = path.last() {
        if path.iter().any(|way| way.inside == last.outside) {
            break;
        }
        let Some(next) = ways.iter().find(|way| way.inside == last.outside) else { break };
        path.push(*next);
    }
    path
}
