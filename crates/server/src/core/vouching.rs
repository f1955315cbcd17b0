//! Tells one of two whom we have introduced where the other one is, who wants it told.

use portolan_protocol::{
    Candidates, Empty, ErrorBody, ErrorCode, Limits as MessageLimits, PeerCandidates, Reply,
    RequestId,
};

use super::{Core, SessionId};

impl Core {
    /// Passes candidates on, with our own word as whom we see. Nobody is told anything of another
    /// one who has not asked for it.
    pub(super) fn vouch(&mut self, session: SessionId, id: RequestId, candidates: Candidates) {
        let result = self.try_to_vouch(session, candidates);
        self.respond(session, id, result.map(|()| Reply::Done(Empty {})));
    }

    fn try_to_vouch(
        &mut self,
        session: SessionId,
        Candidates { to, candidates }: Candidates,
    ) -> Result<(), ErrorBody> {
        let user = self.logged_in(session)?;
        let other = self.online_user(&to)?;
        if !self.relays.is_between(user, other) {
            let message = format!("you and {to} are not introduced to each other; call first");
            return Err(ErrorBody::new(ErrorCode::UnknownPeer, message));
        }
        let max = MessageLimits::V1.candidates;
        if candidates.len() > max as usize {
            let message = format!("at most {max} candidates are passed on");
            return Err(ErrorBody::new(ErrorCode::BadRequest, message));
        }
        let seen = self.sessions.get(&session).map(|state| state.remote.address.ip());
        let seen = seen.map(|ip| ip.to_canonical().to_string());
        let known = self.user(user).map(|known| known.name.clone());
        if let Some(from) = known {
            self.tell_user(other, PeerCandidates { from, candidates, seen });
        }
        Ok(())
    }
}
