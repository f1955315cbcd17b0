//! Topology files with a mistake: each is found, where it is, with what would be right.

use std::fmt::Write as _;

use portolan_netsim::topology::{Problem, TopologyError, parse};

/// Five lines that are right; mistakes come behind them.
const RIGHT: &str = "\
network.lan.prefix = '10.0.0.0/24'
network.wan.prefix = '203.0.113.0/24'
host.alice.on = 'lan'
host.bob.on = 'wan'
nat.box = { inside = 'lan', outside = 'wan' }
";

fn mistake(text: &str) -> TopologyError {
    match parse(text) {
        Ok(world) => panic!("{text} is {world:?}"),
        Err(error) => error,
    }
}

/// Asserts that the line behind [`RIGHT`] is found wrong, with these words in the message.
fn assert_mistake(wrong: &str, column: usize, words: &[&str]) {
    assert_in_line(6, &format!("{RIGHT}{wrong}\n"), column, words);
}

fn assert_in_line(line: usize, text: &str, column: usize, words: &[&str]) {
    let error = mistake(text);
    let message = error.to_string();
    assert_eq!((error.line, error.column), (line, column), "{message}\n{text}");
    assert!(message.starts_with(&format!("line {line}, column {column}: ")), "{message}");
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

#[test]
fn what_the_mistakes_are_added_to_is_right() {
    assert!(parse(RIGHT).is_ok());
}

#[test]
fn text_that_is_not_toml() {
    assert_mistake("host.carol = ", 14, &["this is not TOML"]);
    assert_mistake("host.alice.on = 'wan'", 12, &["this is not TOML", "duplicate key"]);
}

#[test]
fn an_unknown_profile() {
    let words = ["there is no link profile named \"lossy1\"", "did you mean \"lossy-1\"?"];
    assert_mistake("host.carol = { on = 'lan', link = 'lossy1' }", 36, &words);
    assert_mistake("host.carol = { on = 'lan', link = { like = 'lossy1' } }", 44, &words);
    assert_mistake("profile.mine.like = 'lossy1'", 21, &words);
    let own = "profile.mine.delay = '1ms'\nhost.carol = { on = 'lan', link = 'mini' }";
    assert_in_line(7, &format!("{RIGHT}{own}"), 36, &["did you mean \"mine\"?"]);
}

#[test]
fn an_unknown_key() {
    assert_mistake("sed = 7", 1, &["a topology has no \"sed\"", "did you mean \"seed\"?"]);
    assert_mistake("hosts.carol.on = 'lan'", 1, &["did you mean \"host\"?"]);
    assert_mistake(
        "host.carol = { on = 'lan', adress = '10.0.0.9' }",
        28,
        &["a host has no \"adress\"", "did you mean \"address\"?"],
    );
    assert_mistake(
        "nat.b = { inside = 'lan', outside = 'wan', hairpins = true }",
        44,
        &["did you mean \"hairpin\"?"],
    );
    assert_mistake("profile.mine.dealy = '1ms'", 14, &["did you mean \"delay\"?"]);
    assert_mistake("profile.mine.up.rat = '1Mbit'", 17, &["did you mean \"rate\"?"]);
    assert_mistake(
        "host.carol = { on = 'lan', link = '4g,los=1%' }",
        39,
        &["did you mean \"loss\""],
    );
    assert_mistake("at = [{ time = '1s', dwn = 'alice' }]", 22, &["did you mean \"down\"?"]);
    assert_mistake("at = [{ time = '1s', down = 'alice', with = '4g' }]", 38, &["has no \"with\""]);
    assert_mistake(
        "run = [{ on = 'alice', comand = 'true', command = 'true' }]",
        24,
        &["did you mean \"command\"?"],
    );
}

#[test]
fn an_unknown_name() {
    let words = ["there is no network named \"lam\"", "did you mean \"lan\"?"];
    assert_mistake("host.carol.on = 'lam'", 17, &words);
    assert_mistake("router.r.on = ['lam', 'wan']", 16, &words);
    assert_mistake("host.carol.on = 'alice'", 17, &["there is no network named \"alice\""]);
    assert_mistake("at = [{ time = '1s', down = 'alcie' }]", 29, &["did you mean \"alice\"?"]);
    assert_mistake(
        "at = [{ time = '1s', down = 'alice.eth1' }]",
        29,
        &["no interface named \"alice.eth1\"", "did you mean \"eth0\"?"],
    );
    assert_mistake("at = [{ time = '1s', rebind = 'alice' }]", 31, &["no NAT named \"alice\""]);
    assert_mistake("run = [{ on = 'bop', command = 'true' }]", 15, &["did you mean \"bob\"?"]);
    assert_mistake(
        "run = [{ on = 'bob', command = 'ping {alic}' }]",
        32,
        &["did you mean \"alice\"?"],
    );
}

#[test]
fn a_name_used_twice() {
    assert_mistake("host.lan.on = 'wan'", 6, &["the name \"lan\" is taken since line 1"]);
    assert_mistake("host.lab.on = 'wan'", 6, &["\"lab\" is the name of the laboratory's own"]);
    assert_mistake("profile.4g.delay = '1s'", 9, &["\"4g\" is the name of a ready profile"]);
    assert_mistake(
        "host.c.interfaces = [{ on = 'lan', name = 'x' }, { on = 'wan', name = 'x' }]",
        50,
        &["an interface before has it"],
    );
}

#[test]
fn a_name_that_cannot_be_one() {
    assert_mistake("host.'a b'.on = 'lan'", 6, &["letters, digits, - and _", "\"a b\""]);
    assert_mistake(
        "host.c = { interfaces = [{ on = 'lan', name = 'a-very-long-name' }] }",
        47,
        &["at most 15"],
    );
    let lo = "host.c = { interfaces = [{ on = 'lan', name = 'lo' }] }";
    assert_mistake(lo, 47, &["\"lo\" is the name of every host's loopback"]);
}

#[test]
fn profiles_that_are_like_each_other_in_a_circle() {
    let circle = "profile.a.like = 'b'\nprofile.b.like = 'c'\nprofile.c.like = 'a'\n";
    assert_in_line(6, &format!("{RIGHT}{circle}"), 9, &["in a circle: a → b → c → a"]);
    assert_mistake("profile.a.like = 'a'", 9, &["in a circle: a → a"]);
}

#[test]
fn translators_behind_each_other_in_a_circle() {
    assert_mistake(
        "nat.other = { inside = 'wan', outside = 'lan' }",
        5,
        &["the way out never ends: lan → box → wan → other → lan"],
    );
    assert_mistake("nat.o = { inside = 'lan', outside = 'lan' }", 5, &["lan → o → lan"]);
    assert_mistake("firewall.f = { inside = 'wan', outside = 'lan' }", 10, &["wan → f → lan"]);
}

#[test]
fn two_translators_side_by_side_are_no_circle() {
    assert!(parse(&format!("{RIGHT}nat.b = {{ inside = 'lan', outside = 'wan' }}")).is_ok());
}

#[test]
fn an_address_outside_its_network() {
    let words = ["10.0.1.2 is not an address for hosts of network \"lan\" (10.0.0.0/24)"];
    assert_mistake("host.carol = { on = 'lan', address = '10.0.1.2' }", 38, &words);
    for reserved in ["10.0.0.0", "10.0.0.255", "fd00::1"] {
        let line = format!("host.carol = {{ on = 'lan', address = '{reserved}' }}");
        assert_mistake(&line, 38, &[reserved, "is not an address for hosts"]);
    }
    assert_mistake("at = [{ time = '1s', renumber = 'alice', address = '10.0.1.2' }]", 52, &words);
}

#[test]
fn an_address_used_twice() {
    let two = "host.c = { on = 'lan', address = '10.0.0.9' }\n\
               host.d = { on = 'lan', address = '10.0.0.9' }";
    assert_in_line(7, &format!("{RIGHT}{two}"), 34, &["10.0.0.9 is the address of c already"]);
    assert_mistake(
        "at = [{ time = '1s', move = 'bob', to = 'lan', address = '10.0.0.2' }]",
        58,
        &["10.0.0.2 is the address of alice already"],
    );
}

#[test]
fn a_network_that_is_full() {
    let mut text = "network.n.prefix = '10.0.0.0/30'\n".to_owned();
    for name in ["a", "b", "c"] {
        let _ = writeln!(text, "host.{name}.on = 'n'");
    }
    assert_in_line(4, &text, 13, &["network \"n\" has no free address left"]);
}

#[test]
fn a_network_with_nobody() {
    assert_mistake("network.dmz.prefix = '10.1.0.0/24'", 9, &["nobody is on network \"dmz\""]);
    let visited = "network.dmz.prefix = '10.1.0.0/24'\n\
                   at = [{ time = '1s', move = 'alice', to = 'dmz' }]";
    assert!(parse(&format!("{RIGHT}{visited}")).is_ok());
}

#[test]
fn a_node_without_enough_networks() {
    assert_mistake("host.carol = {}", 6, &["carol is on no network"]);
    assert_mistake("host.carol.interfaces = []", 6, &["carol is on no network"]);
    assert_mistake("router.r.on = ['lan']", 8, &["r is on one network only"]);
    assert_mistake("nat.b.inside = 'lan'", 5, &["a NAT needs a \"outside\""]);
    assert_mistake("network.n.link = '4g'", 9, &["a network needs a \"prefix\""]);
    assert_mistake(
        "host.c = { on = 'lan', interfaces = [{ on = 'lan' }] }",
        37,
        &["\"interfaces\" and \"on\" say the same"],
    );
}

#[test]
fn a_translator_without_addresses_to_translate() {
    let six = "network.six.prefix = 'fd00::/64'\nnat.n = { inside = 'six', outside = 'wan' }";
    let words = ["NAT n translates IPv4, but network \"six\" has no IPv4 prefix"];
    assert_in_line(7, &format!("{RIGHT}{six}"), 5, &words);
}

#[test]
fn a_prefix_that_is_none() {
    let rows = [
        ("'10.0.0.0'", "expected a prefix"),
        ("'10.0.0.0/33'", "at most /30"),
        ("'10.0.0.5/24'", "\"10.0.0.0/24\""),
        ("['10.1.0.0/24', '10.2.0.0/24']", "one prefix of each family"),
        ("7", "a text in quotes, found 7"),
    ];
    for (prefix, words) in rows {
        let error = mistake(&format!("{RIGHT}network.n.prefix = {prefix}"));
        assert_eq!(error.line, 6);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_time_that_is_none() {
    assert_mistake("duration = '10'", 12, &["expected a time", "found \"10\""]);
    assert_mistake("duration = 10", 12, &["expected a time", "found 10"]);
    assert_mistake("at = [{ time = 'soon', down = 'alice' }]", 16, &["expected a time"]);
    assert_mistake("at = [{ time = '1s', down = 'alice', for = '2' }]", 44, &["expected a time"]);
    assert_mistake("at = [{ down = 'alice' }]", 7, &["needs a \"time\""]);
}

#[test]
fn a_probability_out_of_range() {
    let words = ["\"101%\" cannot be the loss of a link", "from \"0%\" to \"100%\""];
    assert_mistake("profile.p.loss = '101%'", 18, &words);
    assert_mistake("host.carol = { on = 'lan', link = 'loss=101%' }", 36, &words);
    assert_mistake("profile.p.corrupt = 1.5", 21, &["\"1.5\" cannot be the corrupt"]);
}

#[test]
fn things_said_about_a_link_that_do_not_fit() {
    assert_mistake("profile.p.queue = '100ms'", 9, &["means nothing without \"rate\""]);
    assert_mistake("profile.p.burst = 4", 9, &["means nothing without \"loss\""]);
}

#[test]
fn a_word_that_is_none_of_the_choices() {
    let nat = |rest: &str| format!("nat.b = {{ inside = 'lan', outside = 'wan', {rest} }}");
    let words = ["one of full-cone, address-restricted", "did you mean \"symmetric\"?"];
    assert_mistake(&nat("kind = 'symetric'"), 51, &words);
    assert_mistake(&nat("ports = 'chance'"), 52, &["preserving, sequential, random"]);
    assert_mistake(&nat("blocks = ['tcp']"), 54, &["udp"]);
    assert_mistake(&nat("forward = [{ port = 70000, to = 'alice' }]"), 64, &["0 to 65535"]);
    assert_mistake(&nat("forward = [{ port = 7, to = 'bob' }]"), 72, &["inside network"]);
    assert_mistake("network.n = { prefix = '10.9.0.0/24', isolated = 1 }", 50, &["true or false"]);
    assert_mistake("seed = -1", 8, &["a whole number"]);
}

#[test]
fn a_moment_in_which_not_one_thing_happens() {
    let verbs = ["give exactly one of down, up, unplug, plug, link, rebind, renumber, move"];
    assert_mistake("at = [{ time = '1s' }]", 7, &verbs);
    assert_mistake("at = [{ time = '1s', down = 'bob', up = 'bob' }]", 7, &verbs);
    assert_mistake("at = [{ time = '1s', move = 'box.inside', to = 'lan' }]", 29, &["a host"]);
    assert_mistake(
        "at = [{ time = '1s', renumber = 'box' }]",
        33,
        &["box has several interfaces", "\"box.inside\""],
    );
}

#[test]
fn a_command_that_is_none() {
    assert_mistake("run = [{ on = 'bob', command = [] }]", 32, &["a program and its arguments"]);
    assert_mistake("run = [{ on = 'bob', command = '  ' }]", 32, &["a program and its arguments"]);
    assert_mistake("run = [{ on = 'bob', command = 'echo \"x' }]", 32, &["a closing quote"]);
}

#[test]
fn more_than_a_small_world() {
    let mut text = "network.n.prefix = '10.0.0.0/16'\n".to_owned();
    (0..255).for_each(|number| writeln!(text, "host.h{number}.on = 'n'").unwrap_or_default());
    assert!(parse(&text).is_ok());
    let one_more = format!("{text}host.more.on = 'n'\n");
    assert_in_line(257, &one_more, 6, &["there are more than 256 nodes"]);

    let moment = "[[at]]\ntime = '1s'\ndown = 'alice'\n";
    let many = format!("{RIGHT}{}", moment.repeat(4_097));
    assert!(mistake(&many).to_string().contains("more than 4096 things that happen"));

    let long = "#".repeat(1024 * 1024 + 1);
    assert_eq!(mistake(&long).problem, Problem::TooLong { length: long.len() });
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
}
