//! The reviewed table: what buffers of all lengths make of paths of all kinds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{env, fmt::Write, fs, path::Path, sync::OnceLock, thread, time::Duration};

use common::{
    Talk,
    paths::{MODELS, Model, RECORDED},
    signal,
};
use portolan_live::{Buffer, FRAME, SenderConfig, r_factor};

const GOLDEN: &str = "tests/goldens/traces.txt";

/// How long each talk lasts, and what is left out at its beginning.
const TIME: Duration = Duration::from_secs(40);
/// The same of those over recorded paths.
const TIME_RECORDED: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(3);

const FIXED_MS: [u64; 5] = [20, 40, 80, 120, 200];

/// One in a hundred may be late.
const LATE_MAX: f64 = 0.01;

#[test]
fn late_frames_are_few_at_nearly_the_least_delay() {
    let table = table();
    println!("{table}");
    // The sound is made of floating-point numbers, and mathematics libraries round differently.
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, table).unwrap();
        return;
    }
    let reviewed = fs::read_to_string(&path).unwrap();
    assert!(
        table == reviewed,
        "the buffer has changed; if for the better, UPDATE_GOLDEN=1 cargo test -p portolan-live \
         --test traces writes it to {GOLDEN}\n\nreviewed:\n{reviewed}\nnow:\n{table}"
    );
}

#[test]
fn on_every_path_late_frames_are_one_in_a_hundred_at_most_and_no_fixed_buffer_does_it_sooner() {
    for page in pages().iter().filter(|page| !page.model.is_recorded()) {
        let (name, adaptive) = (page.model.name, page.adaptive);
        assert!(adaptive.late <= LATE_MAX, "{name}: {:.2} %", adaptive.late * 100.0);
        let good = page.fixed.iter().filter(|row| row.late <= LATE_MAX);
        let least = good.map(|row| row.delay).fold(f64::INFINITY, f64::min);
        // The one of the fixed that happens to fit cannot be known beforehand.
        assert!(adaptive.delay <= least + 15.0, "{name}: {adaptive:?}, fixed {least}");
        let rated = page.rated;
        assert!(rated.late <= adaptive.late + 0.001, "{name}: {rated:?}");
        assert!(rated.rating() >= adaptive.rating() - 0.6, "{name}: {adaptive:?}, {rated:?}");
        let possible = page.hindsight;
        assert!(adaptive.delay <= possible + 25.0, "{name}: {adaptive:?}, possible {possible}");
    }
}

#[test]
fn on_recorded_paths_no_fixed_buffer_is_sooner_with_as_few_late_frames() {
    for page in pages().iter().filter(|page| page.model.is_recorded()) {
        let (name, adaptive) = (page.model.name, page.adaptive);
        assert!(adaptive.late <= LATE_MAX, "{name}: {:.2} %", adaptive.late * 100.0);
        let good = page.fixed.iter().filter(|row| row.late <= LATE_MAX);
        let least = good.map(|row| row.delay).fold(f64::INFINITY, f64::min);
        assert!(adaptive.delay <= least + 15.0, "{name}: {adaptive:?}, fixed {least}");
        let possible = page.hindsight;
        assert!(adaptive.delay <= possible + 25.0, "{name}: {adaptive:?}, possible {possible}");
    }
}

/// One talk over one path with one buffer.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The share of sound that was not there in time although it came.
    late: f64,
    /// The share that was made up, lost frames included.
    concealed: f64,
    repaired: f64,
    /// From mouth to ear, in milliseconds.
    delay: f64,
}

impl Row {
    fn rating(&self) -> f64 {
        r_factor(Duration::from_secs_f64(self.delay / 1e3), self.concealed, 1.0)
    }
}

impl Model {
    fn time(&self) -> Duration {
        if self.is_recorded() { TIME_RECORDED } else { TIME }
    }
}

/// All buffers over one path.
struct Page {
    model: &'static Model,
    adaptive: Row,
    rated: Row,
    fixed: [Row; FIXED_MS.len()],
    hindsight: f64,
}

/// Computed once for both tests.
fn pages() -> &'static [Page] {
    static PAGES: OnceLock<Vec<Page>> = OnceLock::new();
    PAGES.get_or_init(|| {
        thread::scope(|scope| {
            let each: Vec<_> =
                MODELS.iter().chain(RECORDED).map(|model| scope.spawn(|| page(model))).collect();
            each.into_iter().map(|one| one.join().unwrap()).collect()
        })
    })
}

fn page(model: &'static Model) -> Page {
    // What a buffer of half a second does not have is lost.
    let unavoidable = row(model, Buffer::Fixed(Duration::from_millis(500)), 0.0);
    let lost = unavoidable.concealed + unavoidable.repaired;
    Page {
        model,
        adaptive: row(model, Buffer::LEAST, lost),
        rated: row(model, Buffer::ADAPTIVE, lost),
        fixed: FIXED_MS.map(|ms| row(model, Buffer::Fixed(Duration::from_millis(ms)), lost)),
        hindsight: hindsight(model),
    }
}

fn row(model: &Model, buffer: Buffer, lost: f64) -> Row {
    let mut path = model.path(1);
    let talk = Talk {
        sender: SenderConfig::voice(1, 0),
        buffer,
        source: &mut signal::voice(),
        path: &mut *path,
        time: model.time(),
        drift_ppm: model.drift_ppm,
    };
    let heard = talk.run();
    let stats = heard.stats;
    let sound = stats.played + stats.repaired + stats.concealed;
    let [concealed, repaired] =
        [stats.concealed, stats.repaired].map(|frames| frames as f64 / sound as f64);
    let late = (concealed + repaired - lost).max(0.0);
    Row { late, concealed, repaired, delay: heard.mean_delay(AFTER) }
}

/// The least constant delay, chosen afterwards, with which one frame in a hundred is late, if
/// clocks do not differ: from mouth to ear.
fn hindsight(model: &Model) -> f64 {
    let mut path = model.path(1);
    let frames = u32::try_from(model.time().as_millis() / FRAME.as_millis()).unwrap();
    let ways = (0..frames).filter_map(|number| path(FRAME * number));
    let mut millis: Vec<_> = ways.map(|way| way.as_secs_f64() * 1e3).collect();
    millis.sort_by(f64::total_cmp);
    let rank = millis.len() * 99 / 100;
    millis[rank]
}

fn table() -> String {
    let mut text = format!(
        "Something like a voice, {} s over paths of all kinds, {} s over recorded ones: from the \
         sending of\na frame to its sound in ms, sound that came too late, that was repaired from \
         the next frame,\nand that was made up. Buffers that adapt, with the least delay and with the \
         best rating; fixed\nones; the least constant delay in\nhindsight for 1 % late.\n",
        TIME.as_secs(),
        TIME_RECORDED.as_secs()
    );
    for page in pages() {
        let Model { name, summary, .. } = page.model;
        write!(text, "\n{name}: {summary}\n").unwrap();
        text += "            delay     late  repaired  concealed\n";
        text += &line("least", page.adaptive);
        text += &line("rated", page.rated);
        for (ms, row) in FIXED_MS.iter().zip(page.fixed) {
            text += &line(&format!("{ms} ms"), row);
        }
        writeln!(text, "hindsight{:>8.1}   1.00 %", page.hindsight).unwrap();
    }
    text
}

fn line(name: &str, row: Row) -> String {
    let Row { late, concealed, repaired, delay } = row;
    let [late, repaired, concealed] = [late, repaired, concealed].map(|share| share * 100.0);
    format!("{name:>9}{delay:>8.1}{late:>7.2} %{repaired:>8.2} %{concealed:>9.2} %\n")
}
