//! Refusals: each is an answer, and those of which there are many are written down.

use portolan_protocol::{ErrorBody, ErrorCode, RequestId};

use super::{Core, Effect, SessionId};
use crate::event_log::LogEntry;

impl Core {
    pub(super) fn refuse(&mut self, session: SessionId, id: RequestId, error: ErrorBody) {
        self.note_refusal(session, error.code);
        self.effects.push(Effect::Refuse { session, id, error });
    }

    /// Writes down the tenth of what goes beyond a bound, the hundredth, and so on: a flood of
    /// requests is no flood of lines. What needs a right that is not there is said at once.
    pub(super) fn note_refusal(&mut self, session: SessionId, code: ErrorCode) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let first = match code {
            ErrorCode::Forbidden => 1,
            ErrorCode::RateLimited | ErrorCode::Quota => 10,
            _ => return,
        };
        state.refusals = state.refusals.saturating_add(1);
        let count = state.refusals;
        if count < first || !is_power_of_ten(count) {
            return;
        }
        let (id, address) = (state.remote.id, state.remote.address.to_string());
        self.log(LogEntry::Refused { id, address, code: code.as_str(), count });
    }
}

fn is_power_of_ten(count: u32) -> bool {
    count.checked_ilog10().is_some_and(|digits| 10_u32.pow(digits) == count)
}
