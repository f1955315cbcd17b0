//! Links as text, and the links that have names.

mod common;

use std::time::Duration;

use common::ms;
use portolan_netsim::{
    Discipline, Link, LinkSpec, Loss, Misfit, Order, PROFILES, Profile, Queue, Rate, Reorder,
    SpecError, SpecProblem, topology::Duplex,
};

fn links(text: &str) -> Duplex {
    text.parse::<LinkSpec>().unwrap_or_else(|error| panic!("{text}: {error}")).duplex
}

fn refusal(text: &str) -> SpecError {
    text.parse::<LinkSpec>().expect_err(text)
}

#[test]
fn every_profile_is_found_by_its_name() {
    for profile in PROFILES {
        let spec: LinkSpec = profile.name.parse().unwrap();
        assert_eq!(spec.profile, Some(profile));
        assert_eq!(spec.duplex, profile.duplex);
        assert_eq!(spec.duplex.up.mtu, 1_500, "{}", profile.name);
        assert!(!profile.source.is_empty() && !profile.summary.is_empty());
        assert!(profile.duplex.up.rate.unwrap().bits_per_second <= 1_000_000_000);
    }
    let names = PROFILES.iter().map(|profile| profile.name);
    let promised = [
        "lan",
        "good-wifi",
        "congested-wifi",
        "4g",
        "3g",
        "satellite",
        "transatlantic",
        "lossy-1",
        "lossy-5",
        "bad",
    ];
    assert!(names.eq(promised));
}

#[test]
fn the_yardsticks_are_what_they_are_compared_by() {
    for (name, share) in [("lossy-1", 0.01), ("lossy-5", 0.05)] {
        let Duplex { up, down } = Profile::find(name).unwrap().duplex;
        assert_eq!(up, down);
        assert_eq!((up.delay, up.loss), (ms(25), Loss::Random(share)));
        let rate = Rate { bits_per_second: 100_000_000, queue: Queue::drop_tail(1_250_000) };
        assert_eq!(up.rate, Some(rate));
    }
}

#[test]
fn everything_about_a_link_can_be_said() {
    let text = "delay=25ms, jitter=2ms, order=free, rate=100 Mbit/s, queue=64 KiB, \
                discipline=codel, target=10ms, interval=200ms, ecn=30 KiB, loss=1%, reorder=2%, \
                hold=5ms, duplicate=0.5%, corrupt=0.001, mtu=1400";
    let discipline = Discipline::CoDel { target: ms(10), interval: ms(200) };
    let queue = Queue { bytes: 65_536, discipline, ecn_threshold: Some(30_720) };
    let link = Link {
        delay: ms(25),
        jitter: ms(2),
        order: Order::Free,
        rate: Some(Rate { bits_per_second: 100_000_000, queue }),
        loss: Loss::Random(0.01),
        reorder: Some(Reorder { probability: 0.02, hold: ms(5) }),
        duplicate: 0.005,
        corrupt: 0.001,
        mtu: 1_400,
    };
    assert_eq!(links(text), Duplex::symmetric(link));
}

#[test]
fn what_is_not_said_is_perfect_and_an_ethernet_frame_long() {
    let link = Link { delay: Duration::from_millis(50), mtu: 1_500, ..Link::default() };
    assert_eq!(links("delay=50ms"), Duplex::symmetric(link));
}

#[test]
fn a_profile_can_be_changed_in_one_direction() {
    let base = Profile::find("4g").unwrap().duplex;
    let changed = links("4g,up.loss=2%");
    assert_eq!(changed.down, base.down);
    assert_eq!(changed.up, Link { loss: Loss::Random(0.02), ..base.up });
}

#[test]
fn a_queue_keeps_its_time_under_another_rate() {
    let halved = links("lossy-1,rate=50Mbit").up.rate.unwrap();
    assert_eq!(halved.queue.bytes, 625_000);
    let given = links("lossy-1,rate=50Mbit,queue=10ms").up.rate.unwrap();
    assert_eq!(given.queue.bytes, 62_500);
    let usual = links("rate=10Mbit").up.rate.unwrap();
    assert_eq!(usual.queue, Queue::drop_tail(125_000));
    assert_eq!(links("lossy-1,rate=unlimited").up.rate, None);
}

#[test]
fn loss_comes_in_bursts_of_the_length_given() {
    let Loss::Burst { begin, end, good, bad } = links("loss=10%,burst=4").up.loss else {
        panic!("no bursts");
    };
    assert_eq!((end, good, bad), (0.25, 0.0, 1.0));
    assert!((begin / (begin + end) - 0.1).abs() < 1e-12);
    let Loss::Burst { end, .. } = links("bad,loss=20%").up.loss else { panic!("no bursts") };
    assert_eq!(end, 0.25);
    assert_eq!(links("bad,burst=1").up.loss, Loss::Random(0.1));
    assert_eq!(links("bad,loss=0").up.loss, Loss::None);
}

#[test]
fn a_wrong_profile_is_named_with_the_nearest() {
    let SpecProblem::UnknownProfile(unknown) = refusal(" lossy1,loss=2%").problem else {
        panic!("another error");
    };
    assert_eq!(unknown.suggestion.word(), Some("lossy-1"));
    let text = refusal("starlink").to_string();
    assert!(
        text.contains("there is no link profile named \"starlink\" (there are lan, "),
        "{text}"
    );
}

#[test]
fn a_wrong_word_is_named_with_its_column() {
    let rows = [
        ("4g, los=2%", "column 5: links have no \"los\"; did you mean \"loss\"?"),
        ("4g,lossy-1", "column 4: \"lossy-1\" has no value"),
        ("delay=25", "column 1: \"25\" cannot be the delay of a link: expected a time"),
        ("rate=1Mbit,loss=101%", "column 12: \"101%\" cannot be the loss of a link"),
        ("delay=1ms,delay=2ms", "column 11: \"delay\" is said twice"),
        ("side.loss=1%", "column 1: links have no \"side.loss\""),
        ("mtu=20", "column 1: \"20\" cannot be the mtu of a link"),
        ("", "column 1: the link is empty"),
    ];
    for (text, start) in rows {
        let message = refusal(text).to_string();
        assert!(message.starts_with(start), "{text}: {message}");
    }
    assert_eq!(refusal(&"x".repeat(2_000)).problem, SpecProblem::TooLong { length: 2_000 });
}

#[test]
fn what_means_nothing_alone_is_refused() {
    let needs = |key, other| SpecProblem::Misfit(Misfit::Needs { key, other });
    assert_eq!(refusal("queue=100ms").problem, needs("queue", "rate"));
    assert_eq!(refusal("lossy-1,target=5ms").problem, needs("target", "discipline=codel"));
    assert_eq!(refusal("burst=4").problem, needs("burst", "loss"));
    assert_eq!(refusal("hold=5ms").problem, needs("hold", "reorder"));
    assert_eq!(refusal("loss=90%,burst=2").problem, SpecProblem::Misfit(Misfit::ShortBurst));
}

#[test]
fn a_link_is_described_by_the_text_that_makes_it() {
    let rows = [
        ("lossy-1", "delay=25ms,rate=100Mbit,queue=1250kB,loss=1%"),
        ("delay=0.1ms,jitter=1.5s", "delay=100us,jitter=1500ms"),
        (
            "rate=1Mbit,queue=64KiB,discipline=codel,up.ecn=off,down.ecn=3kB",
            "rate=1Mbit,queue=64KiB,discipline=codel,target=5ms,interval=100ms,down.ecn=3kB",
        ),
        ("loss=10%,burst=4,order=free,mtu=1280", "order=free,loss=10%,burst=4,mtu=1280"),
        (
            "up.loss=0.1%,down.loss=7%,reorder=0.5",
            "up.loss=0.1%,down.loss=7%,reorder=50%,hold=10ms",
        ),
        ("delay=0", "delay=0ms"),
    ];
    for (text, expected) in rows {
        assert_eq!(links(text).to_string(), expected);
    }
    for profile in PROFILES {
        let text = profile.duplex.to_string();
        let again = links(&text);
        assert_eq!(again.to_string(), text);
        let without_loss = |link: Link| Link { loss: Loss::None, ..link };
        assert_eq!(without_loss(again.up), without_loss(profile.duplex.up), "{text}");
        assert_eq!(without_loss(again.down), without_loss(profile.duplex.down), "{text}");
    }
}
