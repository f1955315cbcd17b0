use portolan_lab::report::{Style, table};

use crate::fixture;

fn plain() -> String {
    table(&fixture::run(1, 7), &Style::Plain)
}

#[test]
fn it_fits_the_columns_of_a_wide_terminal() {
    for line in plain().lines() {
        assert!(line.chars().count() <= 116, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn it_says_what_was_compared_over_what_and_how_sure_it_is() {
    let text = plain();
    for part in [
        "tcp, udp, quic, raw-tcp",
        "over lossy-1",
        "1 % random loss",
        "seed 7",
        "An Imagined Processor 9000",
        "cubic (kernel): tcp, raw-tcp, tokio-rustls; bbr: udp",
        "Median of 7 rounds",
        "97 % to 98 %",
        "at most",
        "by chance if all were equal",
        "Again: lab bench --link lossy-1",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn each_subject_stands_with_median_interval_and_ratio_in_each_group() {
    let text = plain();
    for heading in ["Throughput", "Round trips", "Small messages", "Connecting", "Memory"] {
        assert!(text.lines().any(|line| line == heading), "no {heading}");
    }
    let udp = text.lines().find(|line| line.starts_with("udp ")).unwrap();
    assert!(udp.contains('[') && udp.contains(" × ▲"), "{udp}");
    let baseline = text.lines().find(|line| line.starts_with("quinn ")).unwrap();
    assert!(baseline.contains("base"), "{baseline}");
}

#[test]
fn doubtful_and_missing_figures_are_marked_and_explained() {
    let text = plain();
    let kcp = text.lines().find(|line| line.starts_with("kcp ") && line.contains('?')).unwrap();
    assert!(kcp.contains('≈'), "a figure made of doubts bears no verdict: {kcp}");
    for part in [
        "7 samples of kcp (rounds 1, 2, 3, 4, 5, 6 and 7): other programs took 11 %",
        "2 samples of udp and tcp (round 2): the emulator was late",
        "Left out for raw-udp",
        "Why: does not repair losses.",
    ] {
        assert!(text.replace("\n  ", " ").contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn three_rounds_give_figures_and_no_verdicts() {
    let text = table(&fixture::run(1, 3), &Style::Plain).replace("\n  ", " ");
    let marks = |mark: char| text.matches(mark).count();
    assert_eq!((marks('▲'), marks('▼')), (1, 1), "only in the explanation\n{text}");
    assert!(text.contains("A verdict needs 5 rounds"), "{text}");
}

#[test]
fn colour_is_only_there_where_it_was_asked_for() {
    assert!(!plain().contains('\x1b'));
    assert!(!table(&fixture::run(1, 7), &Style::Markdown).contains('\x1b'));
    assert!(table(&fixture::run(1, 7), &Style::Coloured).contains("\x1b[32m"));
}

#[test]
fn names_from_a_file_cannot_drive_the_terminal_or_break_a_document() {
    let mut run = fixture::run(1, 5);
    run.setting.link = "\x1b]0;owned\x07|<b>\n# x".to_owned();
    run.subjects[0].congestion_control = "\x1b[2J".to_owned();
    assert!(!table(&run, &Style::Plain).contains('\x1b'));
    let markdown = table(&run, &Style::Markdown);
    assert!(markdown.contains("\\|\\<b\\>") && !markdown.contains("\n# x"), "{markdown}");
}

#[test]
fn a_document_gets_tables_with_as_many_cells_in_each_line() {
    let markdown = table(&fixture::run(1, 7), &Style::Markdown);
    let mut cells = None;
    for line in markdown.lines() {
        let bars = line.starts_with('|').then(|| line.matches('|').count());
        if let (Some(before), Some(now)) = (cells, bars) {
            assert_eq!(before, now, "{line}");
        }
        cells = bars;
    }
    assert!(markdown.contains("| udp |"), "{markdown}");
}

#[test]
fn an_empty_run_makes_a_short_report_and_no_panic() {
    let mut run = fixture::run(1, 1);
    run.subjects.clear();
    run.measures.clear();
    run.matrix = None;
    for style in [Style::Plain, Style::Coloured, Style::Markdown] {
        assert!(table(&run, &style).contains("Again:"));
    }
}

#[test]
fn sentences_tell_what_the_figures_show() {
    let text = plain().replace("\n  ", " ");
    assert!(text.contains("udp moves 1.6"), "{text}");
    assert!(text.contains("what quinn moves ["), "{text}");
    assert!(text.contains("cannot be told from quinn"), "{text}");
    assert!(text.contains("Best of all: raw-udp"), "{text}");
}

#[test]
fn one_round_has_figures_no_intervals_and_one_sentence_of_what_it_cannot_tell() {
    let text = table(&fixture::run(1, 1), &Style::Plain).replace("\n  ", " ");
    assert!(
        text.contains("[one round has no interval]") && !text.contains("0 % of runs"),
        "{text}"
    );
    assert_eq!(text.matches("nobody can be told from quinn by: ").count(), 1, "{text}");
    assert!(!text.contains("Best"), "{text}");
}

#[test]
fn doubts_that_differ_in_numbers_only_are_one() {
    let mut run = fixture::run(1, 5);
    for (index, sample) in fixture::measure(&mut run, "udp", "cpu").samples.iter_mut().enumerate() {
        sample.doubt = Some(format!("other programs took {}.5 % of the machine", index + 20));
    }
    let text = table(&run, &Style::Plain).replace("\n  ", " ");
    let line = "5 samples of udp (rounds 1, 2, 3, 4 and 5): such as: other programs took 20.5 %";
    assert!(text.contains(line), "{text}");
}

#[test]
fn who_has_no_figure_takes_no_row() {
    let mut run = fixture::run(1, 5);
    for measure in run.measures.iter_mut().filter(|it| it.subject == "kcp") {
        measure.samples.clear();
        measure.skipped = Some("cannot be had here".to_owned());
    }
    let text = table(&run, &Style::Plain);
    assert!(!text.lines().any(|line| line.starts_with("kcp")), "{text}");
    assert!(text.contains("Left out for kcp") && text.contains("cannot be had here"), "{text}");
}

#[test]
fn what_is_the_same_within_a_hair_is_called_so() {
    let mut run = fixture::run(1, 5);
    for metric in ["rtt-64-p50", "first-byte"] {
        for subject in ["quinn", "quic"] {
            for sample in &mut fixture::measure(&mut run, subject, metric).samples {
                sample.value = if subject == "quic" { 50_010.0 } else { 50_000.0 };
            }
        }
    }
    let text = table(&run, &Style::Plain).replace("\n  ", " ");
    assert!(text.contains("1.00 × ="), "{text}");
    assert!(text.contains("quic does as well as quinn"), "{text}");
}
