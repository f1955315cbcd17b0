//! Taking an offered directory: it is decided about once, then fetched.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

use portolan_protocol::{
    Accepted, ErrorBody, ErrorCode, Hashing, Name, OfferTree, PeerEvent, PeerMessage, PeerReply,
};
use tokio::time::{Duration, Instant, interval_at, timeout};

use super::{
    AgreedTree, begun,
    pull::{Course, Pull, open_walk, top},
    rounds::Round,
};
use crate::{
    Direction, FileError, Place, Stop, TransferId,
    files::{Landing, Tally, check_name},
    remote::{
        Host, Sessions,
        agreements::{Agreement, Offered},
        exchange::Reader,
        host::REPORT_PATIENCE,
        serve::{Answers, Refusal, busy, settle, still_stopped},
        transfer::blocking,
    },
};

/// Between two words that we are at it.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Decides about an offered directory and fetches it.
pub(in crate::remote) async fn on_offer_tree(
    host: &Arc<Host>,
    sessions: &Weak<Sessions>,
    who: &Name,
    offer: OfferTree,
    (reader, mut answers): (Reader, Answers),
) {
    let Some(sessions) = sessions.upgrade() else { return };
    let shown = if check_name(&offer.name).is_ok() { offer.name.as_str() } else { "?" };
    // As one that is asked for: what a person wants of it is kept apart from how much may come.
    let key = Offered { from: who.clone(), name: format!("{shown}/"), hash: None };
    let standing = host.agreements.find(Instant::now(), &key);
    if let Some(stop) = standing.as_ref().and_then(Agreement::stop) {
        return answers.refuse(still_stopped(&host.agreements, (key, standing), stop)).await;
    }
    let agreed = host.agreed_trees.find(Instant::now(), who, &offer);
    let id = agreed.as_ref().map_or_else(|| host.next_id(), |agreed| agreed.id);
    let tally = host.tally(begun(id, Direction::Receive, who, shown), REPORT_PATIENCE);
    let taking = Taking { sessions, who, offer: &offer, id, tally: &tally };
    let taken = taking.take(agreed, (reader, &mut answers)).await;
    match &taken {
        Err(Refusal::File(error)) => {
            settle(&host.agreements, (key, id), error);
            if !may_come_again(error) {
                host.agreed_trees.end(who, &offer.name);
            }
        }
        Ok(_) | Err(Refusal::Body(_)) => {
            host.agreements.end(&key);
            host.agreed_trees.end(who, &offer.name);
        }
    }
    match taken {
        Ok(root) => {
            answers.last(PeerReply::Received(tally.received())).await;
            tally.end(Some(root)).await;
        }
        Err(Refusal::Body(body)) => {
            answers.refuse(body.clone()).await;
            tally.failed(body.code, body.message).await;
        }
        Err(Refusal::File(error)) => {
            answers.refuse(error.for_sender()).await;
            match &error {
                FileError::Stopped { stop: Stop::Paused, .. } => {
                    tally.parked(error.to_string()).await;
                }
                error => tally.failed(error.code(), error.to_string()).await,
            }
        }
    }
}

/// Whether the sender is expected to come back with it.
fn may_come_again(error: &FileError) -> bool {
    matches!(
        error,
        FileError::Interrupted { .. }
            | FileError::Reach(_)
            | FileError::TimedOut { .. }
            | FileError::Stopped { stop: Stop::Paused, .. }
    )
}

/// An offered directory.
struct Taking<'a> {
    sessions: Arc<Sessions>,
    who: &'a Name,
    offer: &'a OfferTree,
    id: TransferId,
    tally: &'a Arc<Tally>,
}

impl Taking<'_> {
    async fn take(
        &self,
        agreed: Option<AgreedTree>,
        (mut reader, answers): (Reader, &mut Answers),
    ) -> Result<PathBuf, Refusal> {
        let (host, offer) = (self.sessions.host(), self.offer);
        let orders = self.tally.orders();
        let place = Place::Under(host.downloads.clone());
        // What cannot be written is refused before a person is asked.
        let landing = (place.clone(), offer.name.clone(), offer.bytes);
        blocking(move || Landing::check_space(&landing.0, &landing.1, landing.2)).await?;
        let agreed = match agreed {
            Some(agreed) => agreed,
            None => {
                // What there is no room for is refused before a person is asked.
                drop(host.admit_tree(&offer.name, offer.bytes).await?);
                tokio::select! {
                    decided = self.decide() => decided?,
                    // Nothing is due before our answer: anything here is the end of the offer.
                    _ = reader.next_frame() => return Err(self.taken_back().into()),
                    stopped = orders.stopped() => return Err(stopped.into()),
                }
                let terms = (self.id, host.rules().file_max);
                host.agreed_trees.note(Instant::now(), self.who, offer, terms)
            }
        };
        let round = agreed.rounds.begin();
        let _admission = host.admit_tree(&offer.name, agreed.budget.bytes()).await?;
        let permit = timeout(host.timing.offer, host.theirs.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(busy().into()) };
        answers.send(PeerReply::Accepted(Accepted { groups: true })).await?;
        tokio::select! {
            fetched = self.fetch(place, &agreed, &round) => Ok(fetched?),
            () = round.taken_over() => Err(self.taken_back().into()),
            never = self.tell(answers) => match never? {},
            _ = reader.next_frame() => Err(self.taken_back().into()),
        }
    }

    async fn decide(&self) -> Result<(), ErrorBody> {
        let info = portolan_protocol::TreeInfo {
            files: self.offer.files,
            bytes: self.offer.bytes,
            ..Default::default()
        };
        self.tally.expect(&info);
        let max = self.sessions.host().limits.tree_files;
        if self.offer.files > max {
            let message = format!("a directory has at most {max} files here; send a part of it");
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        self.sessions.host().decide_tree(self.id, self.tally).await
    }

    async fn fetch(
        &self,
        place: Place,
        agreed: &AgreedTree,
        round: &Round,
    ) -> Result<PathBuf, FileError> {
        let host = self.sessions.host();
        let turn = Some(round.turn().await);
        let directory = (Some(self.offer.tree), "");
        let (walk, info) = open_walk(&self.sessions, self.who, directory, None).await?;
        self.tally.expect(&info);
        let top = top(&place, host.keep, &info);
        let landing = {
            let (name, existing, keep) = (self.offer.name.clone(), host.existing, host.keep);
            blocking(move || Landing::new(&place, &name, existing, keep)).await?
        };
        let root = landing.root().to_owned();
        let pull = Arc::new(Pull {
            sessions: Arc::clone(&self.sessions),
            who: self.who.clone(),
            ticket: directory.0,
            path: String::new(),
            landing,
            top,
            tally: Arc::clone(self.tally),
            budget: Arc::clone(&agreed.budget),
            _turn: turn,
        });
        pull.go_on(Some(walk), &mut Course::new(&pull)).await?;
        Ok(root)
    }

    /// Tells the sender now and then that we are at it, also while nothing is fetched.
    async fn tell(&self, answers: &mut Answers) -> Result<std::convert::Infallible, FileError> {
        let mut ticks = interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
        let mut told = 0;
        loop {
            ticks.tick().await;
            told = self.tally.moved().max(told + 1);
            let word = PeerMessage::Event(PeerEvent::Hashing(Hashing { bytes: told }));
            if answers.writer.send(&word).await.is_err() {
                return Err(self.taken_back());
            }
        }
    }

    fn taken_back(&self) -> FileError {
        let detail = "the sender took the offer back, or is gone".to_owned();
        let bytes = self.tally.summary(None).bytes;
        FileError::Interrupted { bytes, total: self.offer.bytes, kept: Some(bytes), detail }
    }
}
