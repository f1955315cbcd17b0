//! What those may do whom another server has introduced: a pass brings each of two to one relay,
//! once, without a login.

use std::collections::{BTreeSet, HashMap};

use portolan_identity::{PeerId, verify};
use portolan_protocol::{
    ErrorBody, ErrorCode, Introduction, PassTerms, RelayPass, Side, Timestamp,
};

use super::{
    Core, Effect, Now, SessionId,
    relays::{Guests, Parties, RelayId},
};
use crate::event_log::LogEntry;

/// Clocks of two servers may differ by so many milliseconds.
const CLOCK_SKEW: u64 = 30_000;

/// No pass is good for longer than so many milliseconds: for so long it is remembered.
const PASS_MAX: u64 = 600_000;

/// Who has issued it, and its number.
type PassKey = (PeerId, Introduction);

/// The introductions of which a pass was shown, for as long as one could be shown again.
#[derive(Debug, Default)]
pub(super) struct Passes {
    shown: HashMap<PassKey, Shown>,
    by_end: BTreeSet<(Timestamp, PassKey)>,
    /// Relays that each key is in.
    guests: HashMap<PeerId, u32>,
}

/// The passes of one introduction.
#[derive(Debug)]
struct Shown {
    relay: RelayId,
    first: Side,
    /// Who came first, and whom it expects.
    pair: (PeerId, PeerId),
    are_both_used: bool,
}

/// A pass counts: what the one who showed it has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The other side is expected.
    First(RelayId),
    /// The other side waits.
    Second(RelayId),
}

impl Passes {
    /// Forgets passes that are out of date for everyone.
    fn forget(&mut self, now: Timestamp) {
        while let Some(&(until, key)) = self.by_end.first() {
            if until.0.saturating_add(CLOCK_SKEW) >= now.0 {
                return;
            }
            self.by_end.pop_first();
            self.shown.remove(&key);
        }
    }
}

impl Core {
    /// Whether the session may be carried by this pass; it counts from here. The effects are to be
    /// carried out either way.
    ///
    /// # Errors
    /// The answer that the client is owed.
    pub fn enter_relay(
        &mut self,
        now: Now,
        session: SessionId,
        pass: &RelayPass,
    ) -> (Result<Entrance, ErrorBody>, Vec<Effect>) {
        let entrance = self.try_enter(now, session, pass);
        if let Err(error) = &entrance {
            self.note_refusal(session, error.code);
        }
        (entrance, std::mem::take(&mut self.effects))
    }

    fn try_enter(
        &mut self,
        now: Now,
        session: SessionId,
        pass: &RelayPass,
    ) -> Result<Entrance, ErrorBody> {
        let Some(state) = self.sessions.get(&session) else {
            return Err(ErrorBody::new(ErrorCode::Offline, "the connection is over"));
        };
        if self.is_ending() {
            let message = "the relay is going down; ask the server for another";
            return Err(ErrorBody::new(ErrorCode::ShuttingDown, message));
        }
        let terms = &pass.terms;
        self.check_pass(now, state.remote.id, pass)?;
        self.check_ban(now, terms.holder)?;
        let limit = self.limits.relays_per_user;
        if self.passes.guests.get(&terms.holder).copied().unwrap_or_default() >= limit {
            let message = format!("your key is in {limit} relays; end one first");
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        let entrance = self.take_seat(now, terms)?;
        let (Entrance::First(relay) | Entrance::Second(relay)) = entrance;
        self.relays.seat(relay, terms.side, (session, terms.holder));
        *self.passes.guests.entry(terms.holder).or_default() += 1;
        self.welcome_guest(session);
        if entrance == Entrance::Second(relay) {
            let (from, to) = match terms.side {
                Side::Caller => (terms.holder, terms.other),
                Side::Callee => (terms.other, terms.holder),
            };
            self.log(LogEntry::Carrying { issuer: terms.issuer, from, to });
        }
        Ok(entrance)
    }

    /// Whether a pass is what it should be, the cheapest questions first.
    fn check_pass(&self, now: Now, holder: PeerId, pass: &RelayPass) -> Result<(), ErrorBody> {
        let terms = &pass.terms;
        let no = |why: &str| Err(ErrorBody::new(ErrorCode::Forbidden, why));
        if !self.issuers.contains(&terms.issuer) {
            return no("this relay does not serve the server that has issued the pass");
        }
        if terms.relay != self.id {
            return no("the pass is for another relay");
        }
        if terms.holder != holder || terms.other == holder {
            return no("the pass is for another key");
        }
        if now.wall.0 > terms.until.0.saturating_add(CLOCK_SKEW) {
            let message = "the pass is out of date; ask for another, and check both clocks";
            return Err(ErrorBody::new(ErrorCode::TimedOut, message));
        }
        if terms.until.0 > now.wall.0.saturating_add(PASS_MAX) {
            return no("the pass is good for too long; check both clocks");
        }
        if verify(&terms.issuer, &terms.to_be_signed(), &pass.signature.to_bytes()).is_err() {
            return no("the pass is not signed by its issuer");
        }
        Ok(())
    }

    /// Each side of an introduction has one place.
    fn take_seat(&mut self, now: Now, terms: &PassTerms) -> Result<Entrance, ErrorBody> {
        self.passes.forget(now.wall);
        let key = (terms.issuer, terms.introduction);
        if let Some(shown) = self.passes.shown.get_mut(&key) {
            let is_other = shown.first != terms.side && shown.pair == (terms.other, terms.holder);
            if shown.are_both_used || !is_other {
                let message = "the pass was used before; ask the server for another";
                return Err(ErrorBody::new(ErrorCode::Conflict, message));
            }
            shown.are_both_used = true;
            let relay = shown.relay;
            if !self.relays.is_open(relay) {
                return Err(ErrorBody::new(ErrorCode::Offline, "the other side has left"));
            }
            return Ok(Entrance::Second(relay));
        }
        if self.passes.shown.len() >= self.limits.keys {
            let message = "the relay has too many introductions; ask the server for another relay";
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        let relay = self.relays.open(Parties::Guests(Guests::default()));
        let (first, pair) = (terms.side, (terms.holder, terms.other));
        let shown = Shown { relay, first, pair, are_both_used: false };
        self.passes.shown.insert(key, shown);
        self.passes.by_end.insert((terms.until, key));
        Ok(Entrance::First(relay))
    }

    /// Who has a pass is no stranger, and need not log in.
    fn welcome_guest(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.relays += 1;
        state.is_guest = true;
        self.addresses.part(state);
        let deadline = state.login_deadline.take();
        self.stop_login_timer(session, deadline);
    }

    /// A relay of guests has ended: who is in none any more has to have another reason to stay.
    pub(super) fn see_guests_off(&mut self, now: Now, guests: Guests) {
        for (session, key) in guests.into_iter().flatten() {
            if let Some(open) = self.passes.guests.get_mut(&key) {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    self.passes.guests.remove(&key);
                }
            }
            let Some(state) = self.sessions.get_mut(&session) else { continue };
            state.relays = state.relays.saturating_sub(1);
            if state.relays == 0 {
                self.expect_login(now, session);
                self.meet_stranger(now, session);
            }
        }
    }

    /// Whether a session may ask how much this relay has to do.
    #[must_use]
    pub fn may_ask_load(&self, session: SessionId) -> bool {
        let state = self.sessions.get(&session);
        state.is_some_and(|state| state.has_admin_right || self.issuers.contains(&state.remote.id))
    }
}
