//! The network that was asked for, in words and as the plan has to know it.

use std::time::Duration;

use portolan_netsim::{Discipline, Link, LinkSpec, Loss, Order, SpecError, topology::Duplex};

use crate::bench::plan::LinkTraits;

/// A link that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinkChoice {
    /// As it was written.
    pub(crate) text: String,
    /// What it comes to.
    pub(crate) duplex: Duplex,
    /// In words.
    pub(crate) description: String,
}

impl LinkChoice {
    /// Reads `lossy-1`, `4g,loss=2%` or `delay=25ms,rate=100Mbit`.
    pub(crate) fn parse(text: &str) -> Result<Self, SpecError> {
        let spec: LinkSpec = text.parse()?;
        let words = both(&spec.duplex);
        let description = match spec.profile {
            Some(profile) if profile.duplex == spec.duplex => {
                format!("{} ({words})", profile.summary)
            }
            Some(_) | None => words,
        };
        Ok(Self { text: text.to_owned(), duplex: spec.duplex, description })
    }

    /// What a plan has to know of it.
    pub(crate) fn traits(&self) -> LinkTraits {
        let Duplex { up, down } = &self.duplex;
        LinkTraits {
            emulated: true,
            lossy: loses(up) || loses(down),
            round_trip: up.delay + down.delay + (up.jitter + down.jitter) / 2,
        }
    }
}

/// Whether packets get lost or hurt; a queue that overflows loses them too.
fn loses(link: &Link) -> bool {
    let hurt = link.corrupt > 0.0 || link.duplicate > 0.0 || link.reorder.is_some();
    hurt || link.loss != Loss::None || link.rate.is_some()
}

fn both(duplex: &Duplex) -> String {
    if duplex.up == duplex.down {
        format!("each way {}", one(&duplex.up))
    } else {
        format!("up {}; down {}", one(&duplex.up), one(&duplex.down))
    }
}

fn one(link: &Link) -> String {
    let mut words = vec![time(link.delay)];
    if !link.jitter.is_zero() {
        let order = match link.order {
            Order::Kept => "",
            Order::Free => ", not in order",
        };
        words.push(format!("up to {} more{order}", time(link.jitter)));
    }
    words.push(speed(link));
    words.extend(loss(link.loss));
    if let Some(reorder) = link.reorder {
        let hold = time(reorder.hold);
        words.push(format!("{} % held back by {hold}", percent(reorder.probability)));
    }
    for (probability, what) in [(link.duplicate, "doubled"), (link.corrupt, "damaged")] {
        if probability > 0.0 {
            words.push(format!("{} % {what}", percent(probability)));
        }
    }
    words.push(format!("packets of up to {} bytes", link.mtu));
    words.join(", ")
}

fn speed(link: &Link) -> String {
    let Some(rate) = link.rate else { return "no limit of speed".into() };
    let megabits = rate.bits_per_second as f64 / 1e6;
    let waiting = f64::from(rate.queue.bytes) * 8.0 / rate.bits_per_second as f64;
    let queue = match rate.queue.discipline {
        Discipline::DropTail => "drop-tail",
        Discipline::CoDel { .. } => "CoDel",
    };
    format!("{megabits} Mbit/s with {:.0} ms of {queue} queue", waiting * 1e3)
}

fn loss(loss: Loss) -> Option<String> {
    match loss {
        Loss::None => None,
        Loss::Random(share) => Some(format!("{} % lost", percent(share))),
        Loss::Burst { begin, end, good, bad } => {
            let in_bad = begin / (begin + end);
            let share = in_bad * bad + (1.0 - in_bad) * good;
            Some(format!("{} % lost in bursts of {:.1}", percent(share), 1.0 / end))
        }
    }
}

fn percent(share: f64) -> f64 {
    (share * 1e5).round() / 1e3
}

fn time(time: Duration) -> String {
    format!("{} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_netsim::PROFILES;

    use super::LinkChoice;

    #[test]
    fn terms_become_words_a_round_trip_and_whether_packets_get_lost() {
        let link = LinkChoice::parse("delay=25ms,rate=100Mbit,queue=100ms,loss=1%").unwrap();
        let words = "each way 25 ms, 100 Mbit/s with 100 ms of drop-tail queue, 1 % lost, \
                     packets of up to 1500 bytes";
        assert_eq!(link.description, words);
        assert_eq!(link.traits().round_trip, Duration::from_millis(50));
        assert!(link.traits().lossy);
        assert!(!LinkChoice::parse("delay=25ms").unwrap().traits().lossy);
    }

    #[test]
    fn every_profile_is_a_link_with_its_summary() {
        for profile in PROFILES {
            let link = LinkChoice::parse(profile.name).unwrap();
            assert!(link.description.starts_with(profile.summary), "{}", link.description);
        }
    }

    #[test]
    fn directions_that_differ_are_told_apart() {
        let link = LinkChoice::parse("delay=1ms,up.loss=2%").unwrap();
        assert!(link.description.starts_with("up 1 ms"), "{}", link.description);
        assert!(link.description.contains("; down 1 ms"), "{}", link.description);
    }
}
