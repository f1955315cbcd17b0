//! What clients without the words for it do for their users: they accept.

use portolan_protocol::{
    Accept, ChangeSettings, ConversationState, Event, GroupChange, JoinGroup, Name,
};

use crate::desk::Desk;

/// Conversations at a time for those who cannot refuse one.
const CONVERSATIONS: u8 = 8;

/// Whoever comes by this gateway is free for everyone.
pub(crate) fn arrive<P>(desk: &mut Desk<P>) {
    let settings =
        ChangeSettings { conversations: Some(CONVERSATIONS), ..ChangeSettings::default() };
    desk.tell(settings);
}

/// Accepts requests for a conversation, and invitations to groups; the group that was joined.
pub(crate) fn accept<P>(desk: &mut Desk<P>, me: &Name, event: &Event) -> Option<String> {
    match event {
        Event::Conversation(news) if news.state == ConversationState::Requested => {
            desk.tell(Accept { with: news.with.clone() });
            None
        }
        Event::Group(news)
            if news.change == GroupChange::Invited && news.user.as_ref() == Some(me) =>
        {
            desk.tell(JoinGroup { group: news.group.clone(), reference: None });
            Some(news.group.clone())
        }
        Event::Conversation(_)
        | Event::Group(_)
        | Event::Message(_)
        | Event::Receipt(_)
        | Event::Presence(_)
        | Event::Settings(_)
        | Event::Candidates(_)
        | Event::Announcement(_)
        | Event::Closing(_) => None,
    }
}
