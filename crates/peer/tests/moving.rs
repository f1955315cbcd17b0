//! Files that are under way while the way changes: they go over to a better one, and on by what is
//! left when theirs dies.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/road.rs"]
mod road;
mod support;

use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

use portolan_peer::{
    Config, Event, Events, Existing, FileError, FilePhase, FileRule, FileUpdate, PathInfo, Peer,
    TransferId,
};
use portolan_transport::{PathKind, Transport};
use portolan_transport_quic::Quic;
use portolan_transport_tcp::Tcp;
use portolan_transport_udp::Udp;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    road::{Rough, Traffic},
    support::{Harbour, bytes, entries, name, wait_for, within},
};

const SIZE: usize = 24 << 20;
/// What goes over: made once, for making it takes long.
static MUCH: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(SIZE));
/// Of the way through the server, where a test needs time before the file is there.
const SLOW: Traffic = Traffic::Slow(2 << 20);
/// Bytes after which a direct way dies.
const FUSE: Traffic = Traffic::Until(10 << 20);

/// Who begins the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    ByGet,
    BySend,
}

struct Scene {
    harbour: Harbour,
    rough: &'static Rough,
    alice: Peer,
    events: Events,
    bob: Peer,
    /// Files that wait for bob's decision.
    offers: mpsc::Receiver<TransferId>,
}

impl Scene {
    async fn set(inner: &'static dyn Transport, before: impl Fn(&Rough)) -> Self {
        Self::set_with(inner, before, FileRule::All).await
    }

    /// The same with a bob who takes files by that rule.
    async fn set_with(
        inner: &'static dyn Transport,
        before: impl Fn(&Rough),
        rule: FileRule,
    ) -> Self {
        let rough = Rough::leak(inner);
        before(rough);
        let harbour = Harbour::open_with(rough.table()).await;
        let (alice, events) = harbour.peer_with(config(&harbour, "alice")).await;
        let mut bobs = config(&harbour, "bob");
        let shared = harbour.directory.path().join("shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("much"), &*MUCH).unwrap();
        bobs.share = Some(shared);
        bobs.accept_files = rule;
        let (bob, mut heard) = harbour.peer_with(bobs).await;
        let (offer, offers) = mpsc::channel(8);
        // A program reads its events. It ends with them, when bob goes.
        tokio::spawn(async move {
            while let Some(event) = heard.next().await {
                if let Event::File(update) = event
                    && update.phase == FilePhase::Offered
                {
                    let _ = offer.try_send(update.id);
                }
            }
        });
        Self { harbour, rough, alice, events, bob, offers }
    }

    fn begin(&self, begun: Begun) -> JoinHandle<Result<(), FileError>> {
        let alice = self.alice.clone();
        let path = self.harbour.directory.path().join("shared/much");
        tokio::spawn(async move {
            let bob = name("bob");
            match begun {
                Begun::ByGet => {
                    alice.get_file(&bob, "much", None, Existing::Keep).await.map(|_| ())
                }
                Begun::BySend => alice.send_file(&bob, &path).await.map(|_| ()),
            }
        })
    }

    fn arrived(&self, begun: Begun) -> PathBuf {
        match begun {
            Begun::ByGet => self.harbour.downloads("alice"),
            Begun::BySend => self.harbour.downloads("bob"),
        }
    }

    /// The file is there, once, and right.
    fn check(&self, begun: Begun) {
        let directory = self.arrived(begun);
        assert_eq!(entries(&directory), ["much"]);
        assert!(fs::read(directory.join("much")).unwrap() == *MUCH);
    }

    async fn report(&mut self, what: &str, wanted: impl Fn(&FileUpdate) -> bool) -> FileUpdate {
        let is = |event: &Event| matches!(event, Event::File(update) if wanted(update));
        match wait_for(&mut self.events, what, is).await {
            Event::File(update) => update,
            other => panic!("{other:?}"),
        }
    }

    async fn path(&mut self, what: &str, wanted: impl Fn(&PathInfo) -> bool) -> PathInfo {
        let is = |event: &Event| matches!(event, Event::Path(path) if wanted(path));
        match wait_for(&mut self.events, what, is).await {
            Event::Path(path) => path,
            other => panic!("{other:?}"),
        }
    }
}

fn config(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.progress = Duration::ZERO;
    config.limits.retries = 10_000;
    config
}

fn goes(update: &FileUpdate, kind: PathKind) -> bool {
    update.via.is_some_and(|via| via.kind == kind)
}

fn is_direct(path: &PathInfo) -> bool {
    path.kind == Some(PathKind::Direct)
}

/// Whatever has begun it, and over everything: what was asked for through the relay comes in, and
/// the rest directly.
async fn goes_over(inner: &'static dyn Transport, begun: Begun) {
    let mut scene = Scene::set(inner, |rough| {
        rough.roads.direct.let_through(Traffic::Closed);
        rough.roads.relayed.let_through(Traffic::Closed);
        rough.roads.to_server.let_through(SLOW);
    })
    .await;
    let outcome = scene.begin(begun);
    let first = scene.report("the beginning", |update| update.phase == FilePhase::Started).await;
    assert!(goes(&first, PathKind::Relayed), "{first:?}");
    scene.rough.roads.direct.let_through(Traffic::Open);
    let mut read = 0;
    let number = first.id;
    loop {
        let update = scene.report("news", |update| update.id == number).await;
        match update.phase {
            FilePhase::Progress => read = update.bytes,
            FilePhase::Waiting => {}
            FilePhase::Started => {
                assert!(goes(&update, PathKind::Direct), "{update:?}");
                assert!(update.resumed >= read && update.resumed > 0, "{read} came: {update:?}");
                assert!(update.resumed < SIZE as u64, "{update:?}");
                read = update.resumed;
                // Nothing is needed from there any more.
                scene.rough.roads.to_server.let_through(Traffic::Blocked);
            }
            FilePhase::Done { .. } => break,
            other => panic!("{other:?} after {read}"),
        }
    }
    within("the outcome", outcome).await.unwrap().unwrap();
    scene.check(begun);
}

/// A direct way dies without a word: the file goes on through the server.
async fn goes_back(inner: &'static dyn Transport, begun: Begun) {
    let mut scene = Scene::set(inner, |_| {}).await;
    within("listing", scene.alice.files(&name("bob"))).await.unwrap();
    scene.path("a direct way", is_direct).await;
    scene.rough.roads.direct.let_through(FUSE);
    let outcome = scene.begin(begun);
    let first = scene.report("the beginning", |update| update.phase == FilePhase::Started).await;
    assert!(goes(&first, PathKind::Direct), "{first:?}");
    let (mut broke, mut back) = (false, None);
    loop {
        let event = wait_for(&mut scene.events, "news", |_| true).await;
        match event {
            Event::File(update) => match update.phase {
                FilePhase::Interrupted { .. } => broke = true,
                FilePhase::Started => assert!(goes(&update, PathKind::Relayed), "{update:?}"),
                FilePhase::Done { .. } => break,
                FilePhase::Failed { .. } => panic!("{update:?}"),
                _ => {}
            },
            Event::Path(path) if !is_direct(&path) => {
                back.get_or_insert(path.why);
            }
            _ => {}
        }
    }
    let back = back.unwrap_or_else(|| scene.alice.path(&name("bob")).why);
    assert!(back.contains("silent"), "{back}");
    // A connection of ours alone goes elsewhere with all its streams.
    assert!(broke || inner.scheme() == Udp.scheme());
    within("the outcome", outcome).await.unwrap().unwrap();
    scene.check(begun);
}

/// Over every transport, side by side.
macro_rules! over_all {
    ($test:ident($begun:expr)) => {
        tokio::join!($test(&Tcp, $begun), $test(&Udp, $begun), $test(&Quic, $begun))
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_fetched_goes_over_to_a_better_way() {
    over_all!(goes_over(Begun::ByGet));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_sent_goes_over_to_a_better_way() {
    over_all!(goes_over(Begun::BySend));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_fetched_goes_on_by_the_relay_when_the_direct_way_dies() {
    over_all!(goes_back(Begun::ByGet));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_sent_goes_on_by_the_relay_when_the_direct_way_dies() {
    over_all!(goes_back(Begun::BySend));
}

/// Sends a file whose receiver decides about it only after `meanwhile`: nothing of its stream may
/// break.
async fn send_across(scene: &mut Scene, meanwhile: impl AsyncFnOnce(&mut Scene), kind: PathKind) {
    let outcome = scene.begin(Begun::BySend);
    let offered = within("an offer", scene.offers.recv()).await.unwrap();
    meanwhile(scene).await;
    scene.bob.accept_file(offered).unwrap();
    loop {
        let update = scene.report("news", |_| true).await;
        match update.phase {
            FilePhase::Started => assert!(goes(&update, kind), "{update:?}"),
            FilePhase::Waiting | FilePhase::Progress => {}
            FilePhase::Done { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    within("the outcome", outcome).await.unwrap().unwrap();
    scene.check(Begun::BySend);
    fs::remove_file(scene.arrived(Begun::BySend).join("much")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_our_udp_goes_to_the_direct_way_and_back_with_all_its_streams() {
    // A second connection is not to be had.
    let refused = |rough: &Rough| rough.roads.direct.let_through(Traffic::Refused);
    let mut scene = Scene::set_with(&Udp, refused, FileRule::Ask).await;
    within("listing", scene.alice.files(&name("bob"))).await.unwrap();
    scene.path("datagrams by the relay", |path| path.why.contains("packets")).await;
    let open = async |scene: &mut Scene| {
        scene.rough.roads.direct.let_through(Traffic::Open);
        let direct = scene.path("the direct way", is_direct).await;
        assert!(direct.why.contains("went there"), "{direct:?}");
    };
    send_across(&mut scene, open, PathKind::Direct).await;
    let block = async |scene: &mut Scene| {
        scene.rough.roads.direct.let_through(Traffic::Blocked);
        let back = scene.path("the way back", |path| !is_direct(path)).await;
        assert!(back.why.contains("packets"), "{back:?}");
    };
    send_across(&mut scene, block, PathKind::Relayed).await;
}
