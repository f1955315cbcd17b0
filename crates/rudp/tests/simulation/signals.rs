//! What congestion control does with the signals of a path: marks, losses, order.

use std::time::Duration;

use portolan_netsim::{Discipline, Link, Loss, Queue, Rate, Reorder};
use portolan_rudp::Congestion;

use crate::bulk::{Bulk, Transferred};

const MBIT: u64 = 1_000_000;

/// 20 ms there, 20 ms back, 20 Mbit/s: 100 kB fill it.
fn link(queue: Queue) -> Link {
    Link {
        delay: Duration::from_millis(20),
        rate: Some(Rate { bits_per_second: 20 * MBIT, queue }),
        ..Link::default()
    }
}

fn transfer(congestion: Congestion, link: Link) -> Transferred {
    Bulk { congestion, bytes: BYTES, link, tick: Duration::ZERO }.run()
}

const BYTES: usize = 8 << 20;

#[test]
fn a_queue_that_marks_slows_a_sender_down_before_anything_is_lost() {
    let queue = Queue { ecn_threshold: Some(50_000), ..Queue::drop_tail(400_000) };
    for congestion in Congestion::ALL {
        let done = transfer(congestion, link(queue));
        let mbit = done.mbit(BYTES);
        eprintln!("{congestion:?}: {mbit:.1} Mbit/s, {:?}", done.link);
        assert!(done.link.marked > 0 && done.sender.ecn_marked > 0, "{congestion:?}: {done:?}");
        assert_eq!((done.link.overflowed, done.sender.packets_lost), (0, 0), "{congestion:?}");
        assert!(mbit > 16.0, "{congestion:?}: {mbit} Mbit/s");
    }
}

#[test]
fn codel_marks_instead_of_dropping() {
    let discipline = Discipline::CoDel {
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
    };
    let queue = Queue { discipline, ..Queue::drop_tail(400_000) };
    for congestion in Congestion::ALL {
        let done = transfer(congestion, link(queue));
        let mbit = done.mbit(BYTES);
        eprintln!("{congestion:?}: {mbit:.1} Mbit/s, {:?}", done.link);
        assert!(done.link.marked > 0 && done.sender.ecn_marked > 0, "{congestion:?}: {done:?}");
        assert_eq!((done.link.shed, done.sender.packets_lost), (0, 0), "{congestion:?}");
        assert!(mbit > 15.0, "{congestion:?}: {mbit} Mbit/s");
    }
}

#[test]
fn slow_start_ends_before_it_overruns_the_queue() {
    for congestion in [Congestion::Cubic, Congestion::NewReno] {
        // From half of what fills the path to four times that: without HyStart++ 145 to 569
        // packets were lost.
        for kilobytes in [50, 100, 200, 400] {
            let done = transfer(congestion, link(Queue::drop_tail(kilobytes * 1_000)));
            let (mbit, lost) = (done.mbit(BYTES), done.link.overflowed);
            eprintln!("{congestion:?}, {kilobytes} kB: {mbit:.1} Mbit/s, {lost} lost");
            assert!(lost < 100, "{congestion:?}, {kilobytes} kB: {lost} packets lost");
            assert!(mbit > 17.0, "{congestion:?}, {kilobytes} kB: {mbit} Mbit/s");
        }
    }
}

#[test]
fn short_transfers_take_the_round_trips_of_a_plain_slow_start() {
    // The window doubles in each, from twelve packets on.
    for congestion in [Congestion::Cubic, Congestion::NewReno] {
        for (bytes, most_ms) in [(64 << 10, 120), (256 << 10, 220)] {
            let link = link(Queue::drop_tail(100_000));
            let done = Bulk { congestion, bytes, link, tick: Duration::ZERO }.run();
            assert!(done.took <= Duration::from_millis(most_ms), "{bytes}: {:?}", done.took);
        }
    }
}

/// A link on which one packet in fifty is overtaken by those of so many milliseconds.
fn reordering(hold_ms: u64) -> Link {
    let reorder = Reorder { probability: 0.02, hold: Duration::from_millis(hold_ms) };
    Link { reorder: Some(reorder), ..link(Queue::drop_tail(100_000)) }
}

#[test]
fn packets_that_change_places_are_not_taken_for_losses_for_long() {
    for congestion in Congestion::ALL {
        for hold_ms in [2, 8, 30] {
            let done = transfer(congestion, reordering(hold_ms));
            let mbit = done.mbit(BYTES);
            let (lost, late) = (done.sender.packets_lost, done.sender.packets_late);
            let (overtaken, dropped) = (done.link.reordered, done.link.overflowed);
            let case = format!("{congestion:?}, {hold_ms} ms: {mbit:.1} Mbit/s, {overtaken}");
            eprintln!("{case} overtaken, {lost} taken for lost, {late} late, {dropped} dropped");
            assert!(late > 0 && late < overtaken / 5, "{case} overtaken, {late} late");
            assert_eq!(lost, dropped + late, "{case}");
            assert!(mbit > 16.0, "{congestion:?}, {hold_ms} ms: {mbit} Mbit/s");
        }
    }
}

#[test]
fn a_fixed_rate_is_kept_whatever_is_lost() {
    let fixed = Congestion::FixedRate(1_250_000);
    let wide = Link { loss: Loss::Random(0.1), rate: None, ..link(Queue::drop_tail(100_000)) };
    let done = transfer(fixed, wide);
    let sent = done.sender.bytes_sent as f64 * 8.0 / 1e6 / done.took.as_secs_f64();
    eprintln!("{:.2} Mbit/s sent, {:.2} arrived", sent, done.mbit(BYTES));
    assert!((9.5..10.5).contains(&sent), "{sent} Mbit/s");
}

#[test]
fn timers_of_four_milliseconds_cost_hardly_any_goodput() {
    let fixed = |mbit: u64| Congestion::FixedRate(mbit * MBIT / 8 * 9 / 10);
    for (mbit, delay_ms, bytes) in [(100, 25, 16 << 20), (1_000, 5, 48 << 20)] {
        for congestion in [Congestion::Cubic, Congestion::Bbr, fixed(mbit)] {
            let queue = Queue::drop_tail(u32::try_from(mbit * 12_500).expect("it is short"));
            let rate = Some(Rate { bits_per_second: mbit * MBIT, queue });
            let link = Link { delay: Duration::from_millis(delay_ms), rate, ..Link::default() };
            let run = |tick| Bulk { congestion, bytes, link, tick }.run();
            let exact = run(Duration::ZERO).mbit(bytes);
            let coarse = run(Duration::from_millis(4)).mbit(bytes);
            eprintln!(
                "{congestion:?} at {mbit} Mbit/s: {exact:.1}, {coarse:.1} with coarse timers"
            );
            assert!(coarse >= 0.95 * exact, "{congestion:?}: {coarse} of {exact} Mbit/s");
        }
    }
}
