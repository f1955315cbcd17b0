use portolan_lab::report::html;

use crate::fixture;

#[test]
#[ignore = "writes a page to look at"]
fn write_a_page() {
    let run = fixture::run(1, 7);
    let folder = env!("CARGO_TARGET_TMPDIR");
    std::fs::write(format!("{folder}/report.html"), html(&run)).unwrap();
    std::fs::write(format!("{folder}/report.json"), serde_json::to_string(&run).unwrap()).unwrap();
    println!("{folder}/report.html");
}
