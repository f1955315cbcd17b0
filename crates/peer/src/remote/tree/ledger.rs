//! Which files of a directory are settled, so that a broken transfer goes on behind them.

use std::collections::{HashSet, VecDeque};

/// Pages under way, in order, and what came before them.
///
/// Bounded by the pages that whoever fills it lets wait behind one that takes long.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Everything up to this path is settled.
    behind: Option<String>,
    pages: VecDeque<Page>,
    /// The number of the first of them.
    first: u64,
    /// Files behind that, settled before the transfer broke off.
    settled: HashSet<String>,
}

#[derive(Debug)]
struct Page {
    last: String,
    jobs: usize,
    settled: Vec<String>,
}

impl Ledger {
    /// Pages under way, or waiting for one before them.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Where a walk goes on.
    pub(crate) fn behind(&self) -> Option<&str> {
        self.behind.as_deref()
    }

    /// Begins a page that ends with `last` and is done after so many jobs.
    pub(crate) fn begin(&mut self, last: String, jobs: usize) -> u64 {
        self.pages.push_back(Page { last, jobs, settled: Vec::new() });
        self.advance();
        self.first + self.pages.len() as u64 - 1
    }

    /// Notes files of a page that are settled, and that a job of it is done, if it is; says whether
    /// a walk goes on further behind now.
    pub(crate) fn settle(&mut self, page: u64, settled: Vec<String>, done: bool) -> bool {
        let at = page.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(page) = at.and_then(|at| self.pages.get_mut(at)) {
            page.settled.extend(settled);
            page.jobs -= usize::from(done);
        }
        self.advance()
    }

    /// The transfer broke off: what is not settled is listed again.
    pub(crate) fn restart(&mut self) {
        self.first += self.pages.len() as u64;
        self.settled.extend(self.pages.drain(..).flat_map(|page| page.settled));
    }

    /// Whether a file need not be asked for, being settled before a break.
    pub(crate) fn is_settled(&self, path: &str) -> bool {
        self.settled.contains(path)
    }

    fn advance(&mut self) -> bool {
        let before = self.first;
        while self.pages.front().is_some_and(|page| page.jobs == 0) {
            let Some(page) = self.pages.pop_front() else { break };
            self.first += 1;
            self.behind = Some(page.last);
        }
        self.first > before
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn a_walk_goes_on_behind_the_last_page_before_which_all_is_settled() {
        let mut ledger = Ledger::default();
        let pages: Vec<u64> = ["b", "d", "f"].map(|last| ledger.begin(last.into(), 2)).to_vec();
        ledger.settle(pages[1], vec!["c".into()], true);
        ledger.settle(pages[1], vec!["d".into()], true);
        assert_eq!(ledger.behind(), None);
        ledger.settle(pages[0], vec!["a".into()], true);
        ledger.settle(pages[0], vec!["b".into()], true);
        assert_eq!(ledger.behind(), Some("d"));
        ledger.settle(pages[2], vec!["e".into()], false);
        ledger.restart();
        assert_eq!(ledger.behind(), Some("d"));
        assert!(ledger.is_settled("e") && !ledger.is_settled("f"));
        let again = ledger.begin("f".into(), 1);
        assert!(!pages.contains(&again));
        ledger.settle(pages[2], vec![], true);
        assert_eq!(ledger.behind(), Some("d"), "a job of before the break counts no more");
        ledger.settle(again, vec!["f".into()], true);
        assert_eq!(ledger.behind(), Some("f"));
    }
}
