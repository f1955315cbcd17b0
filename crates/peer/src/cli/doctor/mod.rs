//! `peer doctor`: what the network does to peers, what that means, and what can be done.
//!
//! `facts` asks, `verdict` judges and knows no network, so that every network can be judged in a
//! test.

mod facts;
mod verdict;

use super::{exit::Exit, exit::Failure, line::Line, output::Output, settings::Settings};

use self::{
    facts::Facts,
    verdict::{State, judge},
};

/// Examines the network and says what it found.
///
/// # Errors
/// Exit code 3 when there is a server and neither TCP nor UDP reaches it.
pub(super) async fn run(settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    output.note("* asking the network, the router and the server; this takes up to half a minute");
    let facts = Facts::gather(settings).await?;
    let findings = judge(&facts);
    let is_cut_off = findings.iter().any(|finding| finding.state == State::Broken);
    for finding in findings {
        output.show(&Line::Finding(finding.line()));
    }
    if is_cut_off {
        return Err(Failure::unreachable("something above is broken"));
    }
    Ok(Exit::Done)
}
