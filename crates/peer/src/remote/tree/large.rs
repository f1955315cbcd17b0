//! A file of a directory that is too large for a batch: it comes as a single file does.

use std::{path::Path, sync::Arc};

use portolan_protocol::{ErrorBody, ErrorCode, Get, PeerCommand, PeerMessage, RequestId};

use super::{
    join,
    pull::{Listed, Pull},
};
use crate::{
    Existing, FileError,
    files::{Partial, Progress, Target, There},
    remote::{
        exchange::{Received, Writer, holds, receive, receive_nothing},
        sessions::PeerStream,
        stop::{leave_receiving, leave_sending},
        transfer::{ask_for, blocking},
    },
};

/// Receives one file, unless the same is there.
pub(super) async fn large(pull: &Arc<Pull>, mut listed: Listed) -> Result<(), FileError> {
    let looked = {
        let (pull, path) = (Arc::clone(pull), listed.path.clone());
        blocking(move || pull.landing.there(&path)).await
    };
    let (full, there) = looked?;
    // One of the same length may be the same, which takes nothing of what may still come.
    if there != There::File(listed.size) && !pull.reserve(&mut listed) {
        return Ok(());
    }
    let mut kept = None;
    loop {
        let place = (full.as_path(), &there);
        match by_one_way(pull, &mut listed, place, kept.take()).await? {
            Received::Whole(..) => return Ok(()),
            // A better way has come.
            Received::Moved(partial) => kept = Some(partial),
        }
    }
}

async fn by_one_way(
    pull: &Arc<Pull>,
    listed: &mut Listed,
    (full, there): (&Path, &There),
    kept: Option<Box<Partial>>,
) -> Result<Received, FileError> {
    let host = pull.sessions.host();
    let path = join(&pull.path, &listed.path);
    let get = PeerCommand::Get(Get { path, groups: true, tree: pull.ticket, edges: None });
    let (stream, proven, attributes) = ask_for(&pull.sessions, &pull.who, get).await?;
    let PeerStream { reader, mut writer, lease: _lease, way } = stream;
    let mut raw = reader.into_raw();
    let orders = pull.tally.orders();
    let mut progress = Progress::within(&pull.tally, &listed.path, proven.0);
    if *there == There::File(proven.0) && holds(host, full, proven, Some(&mut writer)).await {
        receive_nothing(host, (&mut raw, &mut writer), proven.0, &mut progress).await?;
        progress.settle();
        pull.tally.same(0);
        return Ok(Received::Whole(proven.1, full.to_owned()));
    }
    if *there != There::Nothing && pull.landing.existing() == Existing::Keep {
        decline(&mut writer, "a file of that name is there already").await;
        return Err(FileError::Exists(full.to_owned()));
    }
    if !pull.fits(listed, proven.0) {
        decline(&mut writer, "it is larger than it was said to be").await;
        return Err(FileError::Size { announced: listed.size });
    }
    // What another stream has brought of another content is of no use.
    let kept = kept.filter(|kept| kept.tree().root() == proven.1);
    let target = {
        let (pull, path) = (Arc::clone(pull), listed.path.clone());
        let made = blocking(move || {
            let (directory, name) = pull.landing.place(&path)?;
            Target::new(&directory, name, proven, pull.landing.existing())
        });
        made.await?.with(attributes)
    };
    let inflow = (&mut raw, &mut writer, Some(&way));
    let receiving = receive(host, inflow, proven, (target, kept), &mut progress);
    let received = orders.unless(receiving).await;
    leave_receiving(&received, raw.get_mut());
    leave_sending(&received, writer.get_mut());
    match received {
        Ok(Received::Whole(hash, path)) => {
            let _ = writer.get_mut().finish();
            progress.settle();
            listed.arrived();
            pull.tally.arrived(1);
            Ok(Received::Whole(hash, path))
        }
        Ok(moved @ Received::Moved(_)) => {
            let _ = writer.get_mut().finish();
            Ok(moved)
        }
        // Another transfer of it was faster.
        Err(FileError::Exists(path)) if holds(host, &path, proven, None).await => {
            progress.settle();
            pull.tally.same(0);
            Ok(Received::Whole(proven.1, path))
        }
        Err(error) => Err(error),
    }
}

/// Tells the owner that the file is not wanted after all.
async fn decline(writer: &mut Writer, why: &str) {
    let body = ErrorBody::new(ErrorCode::Conflict, why);
    let _ = writer.send(&PeerMessage::Error(RequestId(1), body)).await;
    let _ = writer.get_mut().finish();
}
