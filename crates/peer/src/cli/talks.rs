//! With whom a person talks, who asks them, and whom they have asked.

use portolan_protocol::{Conversation, ConversationState, Name};

/// Names remembered in each list; the server allows far fewer.
const NAMES_MAX: usize = 64;

/// The conversations of one session. What is typed goes to the current one; when that ends nothing
/// takes its place by itself, so that no word reaches another than was meant.
#[derive(Debug, Default)]
pub(crate) struct Talks {
    current: Option<Name>,
    others: Vec<Name>,
    /// The latest last.
    asking: Vec<Name>,
    asked: Vec<Name>,
}

impl Talks {
    pub(crate) fn current(&self) -> Option<&Name> {
        self.current.as_ref()
    }

    pub(crate) fn others(&self) -> &[Name] {
        &self.others
    }

    /// Who asked last.
    pub(crate) fn asking(&self) -> Option<&Name> {
        self.asking.last()
    }

    /// What `/end` means without a name.
    pub(crate) fn to_end(&self) -> Option<&Name> {
        self.current().or_else(|| self.asked.last())
    }

    pub(crate) fn note_asked(&mut self, who: &Name) {
        let is_on = self.current.as_ref() == Some(who) || self.others.contains(who);
        if !is_on {
            push(&mut self.asked, who);
        }
    }

    pub(crate) fn on_news(&mut self, news: &Conversation) {
        let with = &news.with;
        if news.elsewhere {
            return self.forget(with);
        }
        match news.state {
            ConversationState::Requested => push(&mut self.asking, with),
            ConversationState::Asked => self.note_asked(with),
            ConversationState::Accepted => self.begin(with),
            ConversationState::Denied
            | ConversationState::Busy
            | ConversationState::TimedOut
            | ConversationState::Ended
            | ConversationState::Vanished => self.forget(with),
        }
    }

    /// A conversation that one of both has just agreed to becomes the current one; one that goes
    /// on after a reconnection stays where it is.
    fn begin(&mut self, with: &Name) {
        self.asking.retain(|name| name != with);
        self.asked.retain(|name| name != with);
        if self.current.as_ref() != Some(with) && !self.others.contains(with) {
            self.make_current(with);
        }
    }

    fn make_current(&mut self, with: &Name) {
        self.others.retain(|name| name != with);
        if let Some(before) = self.current.replace(with.clone())
            && before != *with
        {
            push(&mut self.others, &before);
        }
    }

    /// Goes on with another conversation; `false`: there is none.
    pub(crate) fn switch(&mut self, with: &Name) -> bool {
        let is_on = self.current.as_ref() == Some(with) || self.others.contains(with);
        if is_on {
            self.make_current(with);
        }
        is_on
    }

    pub(crate) fn forget(&mut self, with: &Name) {
        self.current.take_if(|name| name == with);
        for names in [&mut self.others, &mut self.asking, &mut self.asked] {
            names.retain(|name| name != with);
        }
    }
}

fn push(names: &mut Vec<Name>, name: &Name) {
    names.retain(|known| known != name);
    if names.len() < NAMES_MAX {
        names.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Conversation, ConversationState, Name};

    use super::Talks;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn tell(talks: &mut Talks, with: &str, state: ConversationState) {
        let (reason, elsewhere) = (None, false);
        talks.on_news(&Conversation { with: name(with), state, reason, elsewhere });
    }

    #[test]
    fn what_was_agreed_to_last_is_current_and_nothing_takes_its_place_by_itself() {
        let mut talks = Talks::default();
        tell(&mut talks, "bob", ConversationState::Accepted);
        tell(&mut talks, "carol", ConversationState::Accepted);
        assert_eq!((talks.current(), talks.others()), (Some(&name("carol")), &[name("bob")][..]));
        // Told again after a reconnection, in another order.
        tell(&mut talks, "bob", ConversationState::Accepted);
        assert_eq!(talks.current(), Some(&name("carol")));
        tell(&mut talks, "carol", ConversationState::Ended);
        assert_eq!((talks.current(), talks.others()), (None, &[name("bob")][..]));
        assert!(talks.switch(&name("bob")) && !talks.switch(&name("carol")));
        assert_eq!((talks.current(), talks.others()), (Some(&name("bob")), &[][..]));
    }

    #[test]
    fn the_latest_request_is_the_one_that_is_meant() {
        let mut talks = Talks::default();
        tell(&mut talks, "bob", ConversationState::Requested);
        tell(&mut talks, "carol", ConversationState::Requested);
        assert_eq!(talks.asking(), Some(&name("carol")));
        tell(&mut talks, "carol", ConversationState::TimedOut);
        assert_eq!(talks.asking(), Some(&name("bob")));
        talks.note_asked(&name("dave"));
        assert_eq!(talks.to_end(), Some(&name("dave")));
    }

    #[test]
    fn what_goes_on_elsewhere_is_not_ours_to_speak_in() {
        let mut talks = Talks::default();
        tell(&mut talks, "bob", ConversationState::Accepted);
        let (state, reason, elsewhere) = (ConversationState::Accepted, None, true);
        talks.on_news(&Conversation { with: name("bob"), state, reason, elsewhere });
        assert_eq!(talks.current(), None);
    }
}
