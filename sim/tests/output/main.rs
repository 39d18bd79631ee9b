//! What runs and sweeps leave behind: the same whatever the number of threads and shards, and readable by others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hedgerow_sim::output::{Batch, Writer, compare, detail_for, options, report};
use hedgerow_sim::scenario::{Scenario, load_text};
use hedgerow_sim::sweep::{Shard, Sweep, SweepError, Vary, merge};
use hedgerow_sim::{Detail, parallel, run_with};
use page::check;

const SPLIT: &str = r#"
name = "split <&> \"healed\""
question = "Does a split network heal? (<b>yes</b>)"
stop = { after = "15 min", when_acknowledged = true }
nodes = { count = 5 }
links = { loss = "30 %", carrier = "datagram", mtu = "1200 B", latency = "40 ms" }
topology = { kind = "ring" }
workload = [
    { kind = "burst", from = [0, 3], count = 2, size = "200 B", at = "1 s" },
    { kind = "poisson", every = "1 min", size = "90 B", end = "10 min" },
]
fault = [{ kind = "partition", nodes = [0, 1], from = "30 s", to = "5 min" }]
"#;

const PAIR: &str = r#"
name = "pair"
stop = { after = "1 d", when_acknowledged = true }
nodes = { count = 2 }
links = { loss = 0.1, carrier = "datagram", mtu = "1200 B" }
workload = [{ kind = "burst", from = [0], count = 3, size = "200 B" }]
"#;

fn scenario(text: &str) -> Scenario {
    load_text(text, Path::new("test.toml"), &[]).unwrap()
}

/// A folder of some runs.
fn folder_of(scenario: &Scenario, seeds: u64, jobs: usize, out: &Path) -> Batch {
    let mut writer = Writer::new(out, true).unwrap();
    let mut runs = Vec::new();
    let work = |number: usize| {
        let detail = if number == 0 { detail_for(scenario) } else { Detail::Sums };
        let run = run_with(scenario, 5 + number as u64, Path::new("."), detail, |_| true).unwrap();
        (Writer::rows(&run, true), run)
    };
    parallel::in_order(jobs, usize::try_from(seeds).unwrap(), work, |_, (rows, run)| {
        runs.push(run.summary.clone());
        writer.add(&rows, Some(run)).unwrap();
        true
    });
    let batch = Batch::of(scenario, &[], 5, seeds, runs);
    writer.finish(&batch).unwrap();
    batch
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The lines of a table, each as its fields. Here no field has a comma in it.
fn table(folder: &Path, name: &str) -> Vec<Vec<String>> {
    let lines: Vec<Vec<String>> =
        read(folder, name).lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{name}");
    lines
}

fn sum(table: &[Vec<String>], column: &str) -> u64 {
    let at = table[0].iter().position(|name| name == column).unwrap_or_else(|| panic!("no {column}"));
    table[1..].iter().map(|line| line[at].parse::<u64>().unwrap()).sum()
}

#[test]
fn a_folder_is_the_same_whatever_the_number_of_threads() {
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scenario = scenario(SPLIT);
    let batch = folder_of(&scenario, 4, 1, one.path());
    folder_of(&scenario, 4, 3, many.path());
    assert!(batch.passed, "{:?}", batch.checks);
    let mut names: Vec<_> =
        fs::read_dir(one.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "deliveries.csv",
        "links.csv",
        "messages.csv",
        "nodes.csv",
        "report.html",
        "runs.csv",
        "spacetime.svg",
        "summary.json",
    ];
    assert_eq!(names, expected);
    for name in expected {
        assert_eq!(read(one.path(), name), read(many.path(), name), "{name}");
    }
    // What is written can be read again, with nothing lost.
    let again: Batch = serde_json::from_str(&read(one.path(), "summary.json")).unwrap();
    assert_eq!(again, batch);
    assert_eq!(again.to_json().unwrap(), read(one.path(), "summary.json"));
}

#[test]
fn figures_do_not_depend_on_how_much_is_recorded() {
    let scenario = scenario(SPLIT);
    let sums = run_with(&scenario, 9, Path::new("."), Detail::Sums, |_| true).unwrap();
    let all = run_with(&scenario, 9, Path::new("."), Detail::Events { most: 1_000_000 }, |_| true).unwrap();
    assert_eq!(sums.summary, all.summary);
    assert!(all.record.log.is_some() && sums.record.log.is_none());
}

#[test]
fn tables_add_up_to_the_figures() {
    let out = tempfile::tempdir().unwrap();
    let batch = folder_of(&scenario(SPLIT), 2, 2, out.path());
    let of = |f: fn(&hedgerow_sim::Summary) -> u64| batch.runs.iter().map(f).sum::<u64>();
    let messages = table(out.path(), "messages.csv");
    assert_eq!(messages.len() as u64 - 1, of(|run| run.messages));
    assert_eq!(sum(&messages, "delivered"), of(|run| run.delivered));
    assert_eq!(sum(&messages, "wanted"), of(|run| run.wanted));
    assert_eq!(sum(&messages, "acknowledged"), of(|run| run.acknowledged));
    assert_eq!(sum(&messages, "size_bytes"), of(|run| run.body_bytes));
    let links = table(out.path(), "links.csv");
    assert_eq!(sum(&links, "bytes"), of(|run| run.wire_bytes));
    assert_eq!(sum(&links, "frames"), of(|run| run.frames));
    assert_eq!(sum(&links, "lost"), of(|run| run.frames_lost));
    let parts = ["message_bytes", "offer_bytes", "request_bytes", "ack_bytes", "other_bytes"];
    assert_eq!(parts.map(|part| sum(&links, part)).iter().sum::<u64>(), of(|run| run.wire_bytes));
    let nodes = table(out.path(), "nodes.csv");
    assert_eq!(sum(&nodes, "bytes_sent"), of(|run| run.wire_bytes));
    assert_eq!(sum(&nodes, "published"), of(|run| run.messages));
    let deliveries = table(out.path(), "deliveries.csv");
    assert_eq!(deliveries.len() as u64 - 1, of(|run| run.delivered));
    let runs = table(out.path(), "runs.csv");
    assert_eq!(runs.len(), 3);
    let wire = runs[0].iter().position(|name| name == "wire_bytes").unwrap();
    for (line, run) in runs[1..].iter().zip(&batch.runs) {
        assert_eq!(line[0], run.seed.to_string());
        assert_eq!(line[wire].parse::<u64>().unwrap(), run.wire_bytes);
    }
}

#[test]
fn reports_are_whole_pages_that_need_nothing_else() {
    let texts = [
        SPLIT,
        PAIR,
        // Nobody says anything.
        "name = 'silence'\nstop = { after = '1 min' }\nnodes = { count = 1 }",
        // Nodes that walk.
        "name = 'walk'\nstop = { after = '10 min' }\nnodes = { count = 12 }\n\
         topology = { kind = 'random-waypoint', side = 200.0, range = 60.0, slowest = 1.0, fastest = 2.0 }\n\
         workload = [{ kind = 'burst', from = [0], count = 1, size = '100 B' }]",
        // Too many nodes to be played.
        "name = 'many'\nstop = { after = '5 s' }\nnodes = { count = 250 }\ntopology = { kind = 'ring' }\n\
         workload = [{ kind = 'burst', from = [0], count = 1, size = '100 B' }]",
    ];
    for text in texts {
        let out = tempfile::tempdir().unwrap();
        let scenario = scenario(text);
        folder_of(&scenario, 1, 1, out.path());
        let page = read(out.path(), "report.html");
        check(&page);
        let played = page.contains("<canvas");
        assert_eq!(played, scenario.nodes.count <= 200, "{}", scenario.name);
        if !played {
            assert!(page.contains("cannot be played"), "it says why");
        }
        if let Ok(drawing) = fs::read_to_string(out.path().join("spacetime.svg")) {
            page::check_drawing(&drawing);
        }
        for (key, _) in options(&scenario) {
            assert!(page.contains(&key), "{key}");
        }
    }
    // Several runs, of which none is told one by one.
    let scenario = scenario(PAIR);
    let runs = (0..5).map(|seed| hedgerow_sim::run(&scenario, seed, Path::new("."), |_| true).unwrap());
    let settings = ["links.loss=0.1".to_owned(), "name=</script><!--".to_owned()];
    check(&report(&Batch::of(&scenario, &settings, 0, 7, runs.collect()), None).unwrap());
}

#[test]
fn a_run_can_be_compared_with_others() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    folder_of(&scenario(PAIR), 3, 2, one.path());
    folder_of(&scenario(&PAIR.replace("0.1", "0.4")), 3, 2, other.path());
    let folders = [one.path().to_owned(), other.path().to_owned()];
    let both = compare(&folders).unwrap();
    assert_eq!(both.differences.len(), 1);
    assert_eq!(both.differences[0], ["links.loss", "0.1", "0.4"]);
    assert!(both.rows.iter().all(|row| row.len() == 3));
    check(&both.to_html().unwrap());
    let nothing = tempfile::tempdir().unwrap();
    let error = compare(&[one.path().to_owned(), nothing.path().to_owned()]).unwrap_err();
    assert!(error.to_string().contains("summary.json"), "{error}");
}

struct Bench {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.toml");
        fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    fn plan(&self, vary: &[&str], seeds: u64) -> Sweep {
        let vary: Vec<Vary> = vary.iter().map(|text| text.parse().unwrap()).collect();
        Sweep::plan(&self.file, &[], &vary, 3, seeds).unwrap()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn done(sweep: &Sweep, out: &Path, shard: &str, jobs: usize) {
    let shard: Shard = shard.parse().unwrap();
    let mut last = 0;
    sweep
        .run(out, shard, jobs, &AtomicBool::new(false), |units, passed| {
            assert!(passed);
            last = units;
        })
        .unwrap();
    assert_eq!(last, sweep.units_of(shard));
}

const RESULTS: [&str; 3] = ["summary.json", "runs.csv", "report.html"];

#[test]
fn a_sweep_is_the_same_whatever_the_threads_and_shards() {
    let bench = Bench::new(PAIR);
    let sweep = bench.plan(&["loss=0,0.5,90 %", "workload.0.size=20 B,900 B"], 3);
    assert_eq!(sweep.size(), (6, 3));
    assert_eq!(sweep.vary()[0].key, "links.loss");
    let whole = bench.out("whole");
    done(&sweep, &whole, "1/1", 1);
    let merged = merge(std::slice::from_ref(&whole), &whole).unwrap();
    assert_eq!((merged.swept.missing, merged.swept.points.len(), merged.swept.passed), (0, 6, true));
    check(&read(&whole, "report.html"));
    assert_eq!(table(&whole, "runs.csv").len(), 19);

    // Three shards, in one folder and in three, in another order and with other numbers of threads.
    let (together, apart) = (bench.out("together"), bench.out("apart"));
    let folders: Vec<PathBuf> = (1..=3).map(|n| bench.out(&format!("shard{n}"))).collect();
    for (n, jobs) in [(3, 2), (1, 3), (2, 1)] {
        done(&sweep, &together, &format!("{n}/3"), jobs);
        done(&sweep, &folders[n - 1], &format!("{n}/3"), jobs);
    }
    merge(std::slice::from_ref(&together), &together).unwrap();
    merge(&folders, &apart).unwrap();
    for name in RESULTS {
        assert_eq!(read(&whole, name), read(&together, name), "{name}");
        assert_eq!(read(&whole, name), read(&apart, name), "{name}");
    }
    // Some of the shards: the results say what is missing.
    let some = bench.out("some");
    let merged = merge(&folders[..2], &some).unwrap();
    assert_eq!(merged.swept.missing, 6);
    check(&read(&some, "report.html"));
    assert!(read(&some, "report.html").contains("6 of 18 runs are not there yet"));
}

#[test]
fn a_sweep_that_was_stopped_goes_on_where_it_was() {
    let bench = Bench::new(PAIR);
    let sweep = bench.plan(&["loss=0,0.5"], 4);
    let (whole, halves) = (bench.out("whole"), bench.out("halves"));
    done(&sweep, &whole, "1/1", 2);
    merge(std::slice::from_ref(&whole), &whole).unwrap();

    let stop = AtomicBool::new(false);
    let mut first = 0;
    sweep
        .run(&halves, Shard::default(), 1, &stop, |units, _| {
            first = units;
            stop.store(units == 3, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
    assert_eq!(first, 3);
    // It was killed in the middle of a line.
    let part = halves.join("part-1-of-1.jsonl");
    let text = fs::read_to_string(&part).unwrap();
    fs::write(&part, &text[..text.len() - 40]).unwrap();
    let mut counts = Vec::new();
    sweep.run(&halves, Shard::default(), 2, &AtomicBool::new(false), |units, _| counts.push(units)).unwrap();
    assert_eq!(counts, [2, 3, 4, 5, 6, 7, 8], "two lines were whole");
    merge(std::slice::from_ref(&halves), &halves).unwrap();
    for name in RESULTS {
        assert_eq!(read(&whole, name), read(&halves, name), "{name}");
    }
}

#[test]
fn a_folder_holds_one_sweep() {
    let bench = Bench::new(PAIR);
    let out = bench.out("out");
    done(&bench.plan(&["loss=0"], 1), &out, "1/1", 1);
    let others = [
        (bench.plan(&["loss=0.1"], 1), "what is varied"),
        (bench.plan(&["loss=0"], 2), "the seeds"),
        (Bench::new(&PAIR.replace("200 B", "300 B")).plan(&["loss=0"], 1), "the scenario"),
    ];
    for (other, expected) in others {
        let error = other.run(&out, Shard::default(), 1, &AtomicBool::new(false), |_, _| ()).unwrap_err();
        assert!(matches!(error, SweepError::Other { what, .. } if what == expected), "{error}");
    }
    let nothing = tempfile::tempdir().unwrap();
    assert!(merge(&[nothing.path().to_owned()], nothing.path()).is_err());
}

#[test]
fn what_cannot_be_varied_is_said_before_anything_runs() {
    let bench = Bench::new(PAIR);
    for (vary, expected) in [
        (vec!["loss=0,1.5"], "--set links.loss=1.5"),
        (vec!["links.nonsense=1"], "links.nonsense"),
        (vec!["loss=0", "links.loss=1"], "varied twice"),
        (vec!["count=1,2"], "nodes.count, workload.0.count"),
    ] {
        let vary: Vec<Vary> = vary.iter().map(|text| text.parse().unwrap()).collect();
        let error = Sweep::plan(&bench.file, &[], &vary, 0, 1).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let huge: Vec<Vary> = vec!["loss=0,0.1".parse().unwrap()];
    assert!(Sweep::plan(&bench.file, &[], &huge, 0, u64::MAX).is_err());
}
