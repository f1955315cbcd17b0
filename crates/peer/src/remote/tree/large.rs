//! A file of a directory that is too large for a batch: it comes as a single file does.

use std::sync::Arc;

use portolan_protocol::{ErrorBody, ErrorCode, Get, PeerCommand, PeerMessage, RequestId};

use super::{
    join,
    pull::{Listed, Pull},
};
use crate::{
    Existing, FileError,
    files::{Progress, Target, There},
    remote::{
        exchange::{Writer, holds, receive, receive_nothing},
        sessions::PeerStream,
        stop::{leave_receiving, leave_sending},
        transfer::{ask_for, blocking},
    },
};

/// Receives one file, unless the same is there.
pub(super) async fn large(pull: &Arc<Pull>, mut listed: Listed) -> Result<(), FileError> {
    let host = pull.sessions.host();
    let looked = {
        let (pull, path) = (Arc::clone(pull), listed.path.clone());
        blocking(move || pull.landing.there(&path)).await
    };
    let (full, there) = looked?;
    // One of the same length may be the same, which takes nothing of what may still come.
    if there != There::File(listed.size) && !pull.reserve(&mut listed) {
        return Ok(());
    }
    let path = join(&pull.path, &listed.path);
    let get = PeerCommand::Get(Get { path, groups: true, tree: pull.ticket, edges: None });
    let (stream, proven, attributes) = ask_for(&pull.sessions, &pull.who, get).await?;
    let PeerStream { reader, mut writer, lease: _lease } = stream;
    let mut raw = reader.into_raw();
    let orders = pull.tally.orders();
    let mut progress = Progress::within(&pull.tally, &listed.path, proven.0);
    if there == There::File(proven.0) && holds(host, &full, proven, Some(&mut writer)).await {
        receive_nothing(host, (&mut raw, &mut writer), proven.0, &mut progress).await?;
        progress.settle();
        pull.tally.same(0);
        return Ok(());
    }
    if there != There::Nothing && pull.landing.existing() == Existing::Keep {
        decline(&mut writer, "a file of that name is there already").await;
        return Err(FileError::Exists(full));
    }
    if !pull.fits(&mut listed, proven.0) {
        decline(&mut writer, "it is larger than it was said to be").await;
        return Err(FileError::Size { announced: listed.size });
    }
    let target = {
        let (pull, path) = (Arc::clone(pull), listed.path.clone());
        let made = blocking(move || {
            let (directory, name) = pull.landing.place(&path)?;
            Target::new(&directory, name, proven, pull.landing.existing())
        });
        made.await?.with(attributes)
    };
    let receiving = receive(host, (&mut raw, &mut writer), proven, target, &mut progress);
    let received = orders.unless(receiving).await;
    leave_receiving(&received, raw.get_mut());
    leave_sending(&received, writer.get_mut());
    match received {
        Ok(_) => {
            let _ = writer.get_mut().finish();
            progress.settle();
            listed.arrived();
            pull.tally.arrived(1);
            Ok(())
        }
        // Another transfer of it was faster.
        Err(FileError::Exists(path)) if holds(host, &path, proven, None).await => {
            progress.settle();
            pull.tally.same(0);
            Ok(())
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
