//! `hedgerow sim` as a process: what it prints, what it leaves, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const PAIR: &str = r#"
name = "pair"
question = "Does it arrive?"
stop = { after = "1 d", when_acknowledged = true }
nodes = { count = 2 }
links = { loss = 0.3, carrier = "datagram", mtu = "1200 B" }
workload = [{ kind = "burst", from = [0], count = 3, size = "200 B" }]
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pair.toml"), PAIR).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn sim(&self, args: &[impl AsRef<OsStr>]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hedgerow"));
        command.current_dir(self.0.path()).env_remove("HEDGEROW_LOG").arg("sim").args(args);
        command.output().unwrap()
    }

    /// What it prints, when it ends well and has nothing to complain of.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.sim(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), errors.as_ref()), (Some(0), ""), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let all = [args, &["--json"]].concat();
        self.ok(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What it says on standard error, when it ends with this code.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.sim(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        errors
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

#[test]
fn a_run_says_first_and_last_what_repeats_it() {
    let place = Place::new();
    let args = ["run", "pair.toml", "--seed", "7", "--seeds", "2", "--set", "loss=20 %", "--doublecheck"];
    let text = place.ok(&args);
    let (begin, end) = text.split_at(text.find('┌').unwrap());
    for part in [begin, end] {
        for said in ["seed     7 to 8 (2 runs)", "build    ", "links.loss=0.2", "nodes.count=2"] {
            assert!(part.contains(said), "{said}: {text}");
        }
    }
    let lines = place.json(&args);
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "run", "run", "end"]);
    for line in [&lines[0], &lines[3]] {
        assert_eq!((line["first_seed"].as_u64(), line["seeds"].as_u64()), (Some(7), Some(2)));
        assert_eq!(line["options"]["links.loss"], "0.2");
        assert_eq!(line["settings"][0], "links.loss=20 %");
        assert!(line["build"].is_string());
    }
    assert_eq!((lines[1]["seed"].as_u64(), lines[2]["seed"].as_u64()), (Some(7), Some(8)));
    assert_eq!((lines[3]["passed"].as_bool(), lines[3]["interrupted"].as_bool()), (Some(true), Some(false)));
    assert_eq!(lines[3]["pooled"]["delivery"]["count"], 6);
}

#[test]
fn results_do_not_depend_on_the_number_of_jobs() {
    let place = Place::new();
    for jobs in ["1", "3"] {
        place.ok(&["run", "pair.toml", "--seeds", "5", "--jobs", jobs, "--out", jobs]);
    }
    for name in
        ["summary.json", "runs.csv", "messages.csv", "links.csv", "nodes.csv", "report.html", "spacetime.svg"]
    {
        assert_eq!(place.read(&format!("1/{name}")), place.read(&format!("3/{name}")), "{name}");
    }
    assert!(!place.path("1/deliveries.csv").exists());
    place.ok(&["run", "pair.toml", "--out", "all", "--deliveries"]);
    assert_eq!(place.read("all/deliveries.csv").lines().count(), 4);
}

#[test]
fn shards_of_a_sweep_come_together() {
    let place = Place::new();
    fn of<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["sweep", "pair.toml", "--vary", "loss=0,0.5", "--seeds", "3"], more].concat()
    }
    let whole = place.json(&of(&["--out", "whole"]));
    let events: Vec<&str> = whole.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "point", "point", "end"]);
    assert_eq!(whole[3]["missing"], 0);
    // Two shards that share a folder: the last one makes the report.
    assert_eq!(place.json(&of(&["--out", "shared", "--shard", "2/2"])).last().unwrap()["missing"], 3);
    assert_eq!(place.json(&of(&["--out", "shared", "--shard", "1/2"])).last().unwrap()["missing"], 0);
    // Two shards that do not.
    place.ok(&of(&["--out", "one", "--shard", "1/2"]));
    place.ok(&of(&["--out", "two", "--shard", "2/2"]));
    let errors = place.fails(1, &["merge", "one"]);
    assert!(errors.contains("3 runs are missing"), "{errors}");
    place.ok(&["merge", "one", "two", "--out", "both"]);
    for name in ["summary.json", "runs.csv", "report.html"] {
        let whole = place.read(&format!("whole/{name}"));
        assert_eq!(whole, place.read(&format!("shared/{name}")), "{name}");
        assert_eq!(whole, place.read(&format!("both/{name}")), "{name}");
    }
    // Another sweep does not go into that folder.
    let errors =
        place.fails(2, &["sweep", "pair.toml", "--vary", "loss=0,0.4", "--seeds", "3", "--out", "whole"]);
    assert!(errors.contains("another sweep"), "{errors}");
}

#[test]
fn a_replay_tells_the_life_of_a_message() {
    let place = Place::new();
    let lines = place.json(&["replay", "pair.toml", "--seed", "2", "--trace", "--message", "m1"]);
    let (first, last) = (&lines[0], lines.last().unwrap());
    assert_eq!((first["event"].as_str(), last["event"].as_str()), (Some("begin"), Some("end")));
    let told: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    for event in ["published", "frame", "stored", "delivered", "acknowledged"] {
        assert!(told.contains(&event), "{event}: {told:?}");
    }
    let times: Vec<u64> = lines.iter().filter_map(|line| line["at_us"].as_u64()).collect();
    assert!(times.is_sorted() && times.len() == lines.len() - 2);

    let carries = |line: &Value| line["event"] != "frame" || line["frame"]["messages"][0].is_u64();
    assert!(lines.iter().all(carries), "{lines:?}");

    // The same by the beginning of its id, and of one node.
    let text = place.ok(&["replay", "pair.toml", "--seed", "2"]);
    let at = text.find("writes m1 (").unwrap() + "writes m1 (".len();
    let by_id = place.ok(&["replay", "pair.toml", "--seed", "2", "--message", &text[at..at + 8]]);
    assert!(by_id.contains("delivers m1") && !by_id.contains("delivers m0"), "{by_id}");
    let of_node = place.ok(&["replay", "pair.toml", "--seed", "2", "--node", "1"]);
    assert!(of_node.contains("node 1: delivers m0") && !of_node.contains("node 0: writes"), "{of_node}");
    for (option, value) in [("--message", "99"), ("--message", "ffffffffffff"), ("--node", "2")] {
        let errors = place.fails(2, &["replay", "pair.toml", option, value]);
        assert!(errors.contains(option), "{errors}");
    }
}

#[test]
fn scenarios_are_listed_and_begun() {
    let place = Place::new();
    let text = place.ok(&["list", "."]);
    assert!(text.contains("pair.toml") && text.contains("Does it arrive?"), "{text}");
    place.ok(&["new", "mine"]);
    let listed = place.json(&["list", "."]);
    let names: Vec<&str> = listed.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mine", "pair"]);
    place.ok(&["run", "mine.toml", "--seed", "1"]);
    let errors = place.fails(2, &["new", "mine"]);
    assert!(errors.contains("mine.toml is there already"), "{errors}");
    assert!(place.fails(2, &["new", "a\"b"]).contains("letters"));
    // A wrong one does not hide the others.
    fs::write(place.path("bad.toml"), "name = 5\n").unwrap();
    let output = place.sim(&["list", "."]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("pair.toml") && text.contains("WRONG"), "{text}");
}

#[test]
fn results_are_compared() {
    let place = Place::new();
    place.ok(&["run", "pair.toml", "--seeds", "3", "--out", "a"]);
    place.ok(&["run", "pair.toml", "--seeds", "3", "--set", "loss=0", "--out", "b"]);
    let text = place.ok(&["compare", "a", "b", "--out", "both"]);
    assert!(text.contains("sends per delivery") && text.contains("links.loss"), "{text}");
    assert!(place.read("both/report.html").contains("</html>"));
    assert_eq!(place.json(&["compare", "a", "b"]).len(), 2);
    assert!(place.fails(1, &["compare", "a", "nowhere"]).contains("nowhere"));
    place.fails(2, &["compare", "a"]);
}

#[test]
fn a_drawn_trace_can_be_run() {
    let place = Place::new();
    let draw = ["trace", "--nodes", "6", "--length", "1 d", "--contacts", "80", "--seed", "4"];
    let text = place.ok(&draw);
    assert!(text.lines().any(|line| line.contains(" CONN ") && line.ends_with(" up")), "{text}");
    place.ok(&[&draw[..], &["--format", "csv", "--out", "contacts.csv"]].concat());
    let scenario = "name = \"met\"\nstop = { after = \"1 d\" }\nnodes = { count = 6 }\n\
         topology = { kind = \"trace\", file = \"contacts.csv\", format = \"csv\" }\n\
         workload = [{ kind = \"burst\", from = [0], count = 1, size = \"200 B\" }]\n";
    fs::write(place.path("met.toml"), scenario).unwrap();
    let lines = place.json(&["run", "met.toml"]);
    assert!(lines[1]["contacts"].as_u64().unwrap() > 20, "{}", lines[1]);
    assert!(place.fails(2, &["trace", "--exponent", "9"]).contains("exponent"));
}

#[test]
fn wrong_scenarios_and_wrong_usage_end_with_2() {
    let place = Place::new();
    fs::write(place.path("typo.toml"), PAIR.replace("loss =", "los =")).unwrap();
    for (args, said) in [
        (vec!["run", "nowhere.toml"], "nowhere.toml"),
        (vec!["run", "typo.toml"], "typo.toml, line 6"),
        (vec!["run", "pair.toml", "--set", "links.loss=7"], "--set links.loss=7"),
        (vec!["run", "pair.toml", "--set", "nonsense"], "key=value"),
        (vec!["run", "pair.toml", "--set", "count=2"], "nodes.count, workload.0.count"),
        (vec!["run", "pair.toml", "--seed", "18446744073709551615", "--seeds", "2"], "no such seeds"),
        (vec!["run", "pair.toml", "--seeds", "0"], "--seeds"),
        (vec!["run", "pair.toml", "--set", "nodes.count=0"], "nodes.count"),
        (vec!["sweep", "pair.toml", "--vary", "loss=0,7", "--out", "x"], "links.loss=7"),
        (vec!["sweep", "pair.toml", "--vary", "loss", "--out", "x"], "key=a,b,c"),
        (vec!["sweep", "pair.toml", "--vary", "loss=0", "--shard", "3/2", "--out", "x"], "i/n"),
        (vec!["watch", "pair.toml"], "terminal"),
        (vec!["nonsense"], "nonsense"),
    ] {
        let errors = place.fails(2, &args);
        assert!(errors.contains(said), "{args:?}: {errors}");
    }
    assert!(!place.path("x").exists(), "nothing is made before the plan stands");
    // With --json the error is JSON, too.
    let errors = place.fails(2, &["run", "typo.toml", "--json"]);
    let error: Value = serde_json::from_str(errors.trim()).unwrap();
    assert_eq!(error["exit"], 2);
}

#[test]
fn a_broken_rule_ends_with_1_and_the_results_are_there() {
    let place = Place::new();
    // A line on which nothing ever arrives is probed without end, so that it is never silent.
    let lost = ["--set", "loss=100 %", "--set", "stop.after=2 h"];
    let args = [&["run", "pair.toml"][..], &lost, &["--seed", "3", "--seeds", "2", "--out", "out"]].concat();
    let errors = place.fails(1, &args);
    assert!(errors.contains("silence") && errors.contains("seed 3"), "{errors}");
    let summary: Value = serde_json::from_str(&place.read("out/summary.json")).unwrap();
    assert_eq!(summary["passed"], false);
    assert!(place.read("out/report.html").contains("Broken in 2 runs: silence"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_is_done() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let place = Place::new();
    // So many that nobody waits for the end.
    let args = ["sim", "run", "pair.toml", "--seeds", "10000000", "--jobs", "1", "--json", "--out", "out"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_hedgerow"))
        .current_dir(place.0.path())
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    assert_eq!(lines.by_ref().take(4).count(), 4);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    let done = last["runs"].as_u64().unwrap();
    assert!(last["interrupted"] == true && (3..10_000_000).contains(&done), "{done}");
    let summary: Value = serde_json::from_str(&place.read("out/summary.json")).unwrap();
    assert_eq!(summary["runs"].as_array().unwrap().len() as u64, done);
    assert_eq!(place.read("out/runs.csv").lines().count() as u64, done + 1);
    let count = place.read("out/messages.csv").lines().count() as u64;
    assert_eq!(count, 3 * done + 1);
}

#[test]
fn every_scenario_that_comes_with_it_is_listed() {
    let place = Place::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let listed = place.json(&["list", folder.to_str().unwrap()]);
    assert!(listed.len() >= 3);
    assert!(listed.iter().all(|line| !line["question"].as_str().unwrap().is_empty()));
}
