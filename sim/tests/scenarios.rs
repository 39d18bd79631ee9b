//! The scenarios that come with the simulator: each can be run, and holds what it is there to show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use hedgerow_sim::checks::{Rule, Verdict};
use hedgerow_sim::plan::{Plan, Synthetic, read_trace, synthetic, write_trace};
use hedgerow_sim::record::Ended;
use hedgerow_sim::scenario::{Scenario, Setting, TraceFormat, load, load_text};
use hedgerow_sim::units::{Share, Span};
use hedgerow_sim::{Summary, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn scenario(name: &str, settings: &[&str]) -> Scenario {
    let settings: Vec<Setting> = settings.iter().map(|setting| setting.parse().unwrap()).collect();
    load(&folder().join(name).with_extension("toml"), &settings).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a scenario; no rule may be broken.
fn go(name: &str, settings: &[&str], seed: u64) -> Summary {
    let summary = run(&scenario(name, settings), seed, &folder(), |_| true).unwrap();
    assert!(summary.passed(), "{name} {settings:?}, seed {seed}: {:#?}", summary.checks);
    summary
}

fn verdict(summary: &Summary, rule: Rule) -> Verdict {
    summary.checks.iter().find(|check| check.rule == rule).unwrap().verdict
}

#[test]
fn every_scenario_can_be_planned_and_says_what_it_is_for() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# "), "{name} begins with a comment");
        // Planning takes time with its length.
        let scenario = scenario(&name, if name == "waypoint" { &["stop.after=10 min"] } else { &[] });
        assert_eq!(scenario.name, name);
        assert!(scenario.question.ends_with('?'), "{name}: {}", scenario.question);
        Plan::draw(&scenario, 1, &folder()).unwrap_or_else(|error| panic!("{name}: {error}"));
        count += 1;
    }
    assert!(count >= 20, "{count} scenarios");
}

#[test]
fn loss_is_answered_by_few_sends() {
    for (loss, most) in [("0", 1.0), ("0.3", 1.6), ("0.5", 2.3)] {
        let setting = format!("loss={loss}");
        let sends: u64 = (0..40)
            .map(|seed| {
                let summary = go("mvds-loss", &[&setting], seed);
                assert_eq!((summary.delivery_ratio, summary.ended), (1.0, Ended::Acknowledged));
                summary.kinds.message.records
            })
            .sum();
        let mean = sends as f64 / 40.0;
        assert!(mean <= most, "{mean} sends at a loss of {loss}");
    }
}

#[test]
fn short_windows_are_used_as_soon_as_there_are_any() {
    for name in ["s1-windows", "s1-windows-30s"] {
        for seed in 0..10 {
            let summary = go(name, &["loss=0.5"], seed);
            assert_eq!(summary.ended, Ended::Delivered);
            let best = summary.oracle.unwrap();
            assert_eq!(best.reached_ratio, 1.0, "{name}, seed {seed}");
        }
    }
    let relayed = go("s2-relay", &[], 3);
    assert_eq!((relayed.wanted, relayed.delivered), (10, 10), "the relay counts for nothing itself");
}

#[test]
fn what_can_be_reached_is_reached() {
    for (name, settings) in [
        ("contact-trace", &[][..]),
        ("contacts-36", &["stop.after=1 d", "topology.contacts=1000"]),
        ("courier", &["stop.after=3 d", "workload.0.end=2 d"]),
    ] {
        let summary = go(name, settings, 1);
        let best = summary.oracle.as_ref().unwrap();
        assert!(best.reachable > 100, "{name}: {best:?}");
        assert_eq!(best.reached, best.reachable, "{name}");
        assert_eq!(summary.delivered, best.reached, "{name}: nothing comes by magic");
        // What a peer may have from somebody else by then is offered to it.
        assert!(summary.sends_per_delivery <= 1.02, "{name}: {}", summary.sends_per_delivery);
        let settings = [settings, &["engine.push=offer-first"]].concat();
        let asked = go(name, &settings, 1);
        assert_eq!(asked.delivered, best.reachable, "{name}");
        assert!(asked.sends_per_delivery <= 1.02, "{name}: {}", asked.sends_per_delivery);
    }
}

#[test]
fn a_mesh_sends_each_message_about_once_and_is_silent_then() {
    let summary = go("full-mesh", &[], 1);
    assert_eq!((summary.wanted, summary.delivered), (19, 19));
    assert!(summary.sends_per_delivery <= 1.05, "{}", summary.sends_per_delivery);
    assert_eq!(verdict(&summary, Rule::Silence), Verdict::Passed);
    assert_eq!(verdict(&summary, Rule::Convergence), Verdict::Passed);
    let sparse = go("sparse-mesh", &[], 1);
    assert_eq!(sparse.delivery_ratio, 1.0);
    assert!(sparse.sends_per_delivery <= 1.1, "{}", sparse.sends_per_delivery);
}

#[test]
fn a_partition_heals() {
    let summary = go("partition-heal", &[], 1);
    assert_eq!(verdict(&summary, Rule::EqualCanonicalOrder), Verdict::Passed);
    let hour = 3_600_000.0;
    assert!(summary.delivery.max_ms <= hour + 60_000.0, "{:?}", summary.delivery.max_ms);
    assert!(summary.delivery.max_ms > hour / 2.0, "{:?}", summary.delivery.max_ms);
}

#[test]
fn crashes_and_lost_disks_lose_nothing() {
    let summary = go("crashes", &[], 1);
    assert!(summary.delivery_ratio > 0.99, "{}", summary.delivery_ratio);
    assert_eq!(verdict(&summary, Rule::NoLoss), Verdict::Passed);
    assert_eq!(verdict(&summary, Rule::NoRepeat), Verdict::Passed);
}

#[test]
fn liars_do_not_keep_the_others_from_anything() {
    let summary = go("adversary", &["stop.after=5 min", "workload.0.end=3 min"], 1);
    assert_eq!(summary.delivery_ratio, 1.0);
    assert_eq!(summary.violations, 0);
    for deed in ["garbage", "flood-messages"] {
        let setting = format!("deeds=[\"{deed}\"]");
        let summary = go("adversary", &[&setting, "stop.after=2 min", "workload.0.end=1 min"], 2);
        assert_eq!(summary.delivery_ratio, 1.0, "{deed}");
        match deed {
            "garbage" => assert!(summary.adversary_links_ended > 10, "{}", summary.adversary_links_ended),
            _ => assert!(summary.junk_delivered > 100, "{}", summary.junk_delivered),
        }
    }
    let holes = go("black-holes", &[], 1);
    assert_eq!(holes.delivery_ratio, 1.0);
}

#[test]
fn stores_stay_within_their_caps() {
    let settings = ["stop.after=1 d", "storage=300 kB", "workload.0.every=2 min"];
    let summary = go("retention", &settings, 1);
    assert!(summary.pruned > 1_000, "{}", summary.pruned);
    assert_eq!(verdict(&summary, Rule::BoundedMemory), Verdict::Passed);
    assert_eq!(verdict(&summary, Rule::Convergence), Verdict::Untested);
}

#[test]
fn who_comes_later_gets_what_was_said_before() {
    let summary = go("joins-leaves", &["stop.after=6 h"], 1);
    assert!(summary.delivery_ratio > 0.9, "{}", summary.delivery_ratio);
    assert_eq!(verdict(&summary, Rule::NoRepeat), Verdict::Passed);
}

#[test]
fn a_slow_line_is_used_well() {
    let summary = go("bulk", &["workload.0.total=200 kB"], 1);
    assert_eq!((summary.ended, summary.too_large), (Ended::Acknowledged, 0));
    let bytes_per_s = summary.delivered_bytes as f64 / summary.simulated_s;
    assert!(bytes_per_s > 0.75 * 50_000.0, "{bytes_per_s} B/s of 50 kB/s");
}

#[test]
fn a_bad_radio_link_carries_a_chat() {
    let summary = go("lossy-bursts", &[], 1);
    assert_eq!(summary.ended, Ended::Acknowledged);
    assert!(summary.frames_lost > 0 && summary.frames_corrupted > 0 && summary.frames_repeated > 0);
}

/// The traces that come with the scenarios are what the generator makes: with HEDGEROW_UPDATE=1 it makes them anew.
#[test]
fn shipped_traces_are_the_generators_own() {
    let wish = Synthetic {
        nodes: 12,
        length: Span::from_s(2 * 86_400),
        contacts: 400,
        exponent: 1.6,
        pairs: Share::new(0.6),
        mean: Span::from_s(240),
        night: Span::from_s(8 * 3_600),
    };
    let contacts = synthetic(&wish, 1).unwrap();
    for (name, format) in [("small.txt", TraceFormat::One), ("small.csv", TraceFormat::Csv)] {
        let path = folder().join("traces").join(name);
        let text = format!(
            "# Contacts of {} nodes in {} s, drawn by Hedgerow's own generator; nobody's real contacts.\n{}",
            wish.nodes,
            wish.length.seconds(),
            write_trace(&contacts, format)
        );
        if std::env::var_os("HEDGEROW_UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let shipped = std::fs::read_to_string(&path).unwrap();
        assert_eq!(shipped, text, "{name}");
        assert_eq!(read_trace(&shipped, format, Span::default()).unwrap(), contacts, "{name}");
    }
}

/// Why a scenario of two nodes with these links and this workload has no plan.
fn refused(links: &str, size: &str) -> String {
    let text = format!(
        r#"
            name = "narrow"
            stop = {{ after = "1 h", when_delivered = true }}
            nodes = {{ count = 2 }}
            links = {{ {links} }}
            workload = [
                {{ kind = "burst", from = [0], count = 1, size = "20 B" }},
                {{ kind = "burst", from = [0], count = 2, size = "{size}", at = "1 min" }},
            ]
        "#
    );
    let scenario = load_text(&text, Path::new("narrow.toml"), &[]).unwrap();
    match run(&scenario, 1, Path::new("."), |_| true) {
        Ok(summary) => {
            assert_eq!(summary.delivered, 3, "{links}, {size}: {summary:#?}");
            String::new()
        }
        Err(error) => error.to_string(),
    }
}

/// To the byte: what the plan lets through does go through, with a dependency.
#[test]
fn a_body_that_does_not_go_through_a_link_is_refused_before_the_run() {
    for (mtu, most) in [(256, 47), (1_200, 980), (20_000, 19_343)] {
        let links = format!("carrier = \"datagram\", mtu = \"{mtu} B\"");
        assert_eq!(refused(&links, &format!("{most} B")), "");
        let error = refused(&links, &format!("{} B", most + 1));
        assert!(error.starts_with("workload.1.size: "), "{error}");
        assert!(error.contains(&format!("at most {most} B")) && error.contains("`links`"), "{error}");
    }
    let narrow = "except = [{ pairs = [[0, 1]], links = { mtu = \"300 B\" } }]";
    let error = refused(narrow, "200 B");
    assert!(error.contains("`links.except.0.links` with an MTU of 300 B"), "{error}");
    assert_eq!(refused(narrow, "100 B"), "");
}

/// A broadcast that loses a fifth: neighbours fill the gaps; without them, and over streams, all of it arrives by itself.
#[test]
fn what_goes_one_way_arrives_and_nothing_comes_back() {
    let summary = go("broadcast", &[], 1);
    assert_eq!(summary.delivery_ratio, 1.0);
    let text = "name = \"x\"\nstop = { after = \"1 h\" }\nnodes = { count = 5 }\ntopology = { kind = \"star\", hub = 0 }\n\
                oracle = true\n[links]\nsimplex = true\n[[workload]]\nkind = \"poisson\"\nevery = \"1 min\"\n\
                size = \"20 B\"\n";
    let scenario = load_text(text, Path::new("star.toml"), &[]).unwrap();
    let summary = run(&scenario, 3, &folder(), |_| true).unwrap();
    assert!(summary.passed(), "{:#?}", summary.checks);
    // Only the hub is heard, and that is all that could be had.
    assert!(summary.delivered > 0 && summary.delivery_ratio < 0.5, "{}", summary.delivery_ratio);
    assert_eq!(summary.oracle.unwrap().reached_ratio, 1.0);
}
