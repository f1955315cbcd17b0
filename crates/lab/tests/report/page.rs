use portolan_lab::{report::html, result::Driver};

use crate::fixture;

fn page() -> String {
    html(&fixture::run(1, 7))
}

/// How often each tag is opened and closed, except those that have no end.
fn assert_balanced(page: &str) {
    let names = "html head body main header section nav dl div dt dd figure figcaption svg g text \
                 table caption thead tbody tr th td details summary ul li pre code script style";
    for name in names.split_whitespace() {
        let opened = page.matches(&format!("<{name}>")).count()
            + page.matches(&format!("<{name} ")).count()
            + page.matches(&format!("<{name}\n")).count();
        let closed = page.matches(&format!("</{name}>")).count();
        assert_eq!(opened, closed, "{name}");
    }
}

#[test]
fn it_stands_alone() {
    let page = page();
    for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert_balanced(&page);
}

#[test]
fn it_has_every_picture_and_a_table_for_each() {
    let page = page();
    for id in ["findings", "throughput", "latency", "live", "time", "matrix", "costs", "figures"] {
        assert_eq!(page.matches(&format!("<section id={id}>")).count(), 1, "{id}");
    }
    assert_eq!(page.matches("class=\"heat\"").count() + page.matches("class=heat").count(), 3);
    assert_eq!(page.matches("<svg").count(), page.matches("role=img aria-label=").count());
    assert_eq!(page.matches("The same as a table").count(), 3, "two of latency, one of goodput");
    for part in ["<title>tcp, udp, quic", "lang=en", "prefers-color-scheme: dark", "@media print"] {
        assert!(page.contains(part), "no {part}");
    }
}

#[test]
fn it_says_where_how_and_how_to_repeat() {
    let page = page();
    for part in [
        "1 % random loss",
        "An Imagined Processor 9000",
        "real sockets, through the emulated link",
        "<code>lab bench --link lossy-1 --rounds 7 --seed 7</code>",
        "cubic (kernel)",
        "9 of 1120 samples are doubtful",
        "does not repair losses",
        "97 % to 98 %",
    ] {
        assert!(page.contains(part), "no {part}");
    }
}

#[test]
fn virtual_time_is_called_by_its_name() {
    let mut run = fixture::run(1, 5);
    assert!(!html(&run).contains("<b>Virtual time.</b>"));
    run.setting.driver = Driver::VirtualTime;
    let page = html(&run);
    assert!(page.contains("<b>Virtual time.</b>") && page.contains("there is no TCP"));
}

#[test]
fn a_subject_has_one_colour_throughout() {
    let page = page();
    let udp = page.matches("data-s=\"1\"><i class=swatch></i>udp</span>").count();
    assert!(udp > 10, "{udp}");
    assert!(!page.contains("data-s=\"2\"><i class=swatch></i>udp</span>"));
}

#[test]
fn nothing_in_a_result_becomes_markup() {
    let mut run = fixture::run(1, 5);
    let attack = "</script><img src=x onerror=\"alert(1)\">'\"&";
    run.command = attack.to_owned();
    run.started = attack.to_owned();
    run.baseline = attack.to_owned();
    run.machine.cpu = attack.to_owned();
    run.machine.system = attack.to_owned();
    run.setting.link = attack.to_owned();
    run.setting.description = attack.to_owned();
    for subject in &mut run.subjects {
        subject.congestion_control = attack.to_owned();
        subject.summary = attack.to_owned();
        if subject.name == "udp" {
            subject.name = attack.to_owned();
        }
    }
    for measure in run.measures.iter_mut().filter(|it| it.subject == "udp" || it.subject == "kcp") {
        measure.subject = attack.to_owned();
        measure.skipped = Some(attack.to_owned());
        measure.samples.iter_mut().for_each(|sample| sample.doubt = Some(attack.to_owned()));
    }
    for distribution in &mut run.distributions {
        distribution.of = attack.to_owned();
        distribution.subject = attack.to_owned();
    }
    run.curves.iter_mut().for_each(|curve| curve.subject = attack.to_owned());
    for table in run.matrix.iter_mut().flat_map(|matrix| &mut matrix.tables) {
        table.subject = attack.to_owned();
        table.congestion_control = attack.to_owned();
    }
    let page = html(&run);
    assert!(!page.contains("<img") && !page.contains("onerror=\""));
    assert_eq!(page.matches("</script>").count(), 1);
    assert_balanced(&page);
}

#[test]
fn odd_figures_make_a_page_and_no_panic() {
    let mut run = fixture::run(1, 5);
    for (index, sample) in run.measures.iter_mut().flat_map(|it| &mut it.samples).enumerate() {
        sample.value = [0.0, -1.0, 1e300, f64::MIN_POSITIVE, f64::NAN][index % 5];
    }
    for point in run.distributions.iter_mut().flat_map(|it| &mut it.points) {
        *point = (point.1, -point.0);
    }
    for point in run.curves.iter_mut().flat_map(|it| &mut it.points) {
        *point = (0.0, 0.0);
    }
    let page = html(&run);
    assert!(!page.contains("NaN") && !page.contains("inf"), "coordinates are numbers");
    assert_balanced(&page);
}

#[test]
fn an_empty_run_makes_a_short_page() {
    let mut run = fixture::run(1, 1);
    run.subjects.clear();
    run.measures.clear();
    run.distributions.clear();
    run.curves.clear();
    run.matrix = None;
    let page = html(&run);
    assert!(!page.contains("<svg") && page.contains("How it was measured"));
    assert_balanced(&page);
}

/// For the eye: `cargo test -p portolan-lab --test report -- --ignored --nocapture write`.
#[test]
#[ignore = "writes a page and its result file to look at"]
fn write_a_page() {
    let run = fixture::run(1, 7);
    let folder = env!("CARGO_TARGET_TMPDIR");
    std::fs::write(format!("{folder}/report.html"), html(&run)).unwrap();
    std::fs::write(format!("{folder}/report.json"), serde_json::to_string(&run).unwrap()).unwrap();
    println!("{folder}/report.html");
}
