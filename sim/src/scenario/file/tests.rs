use super::*;
use crate::scenario::Loss;
use crate::units::{Share, Span};

const PLAIN: &str = r#"name = "plain"

[stop]
after = "10 s"

[nodes]
count = 2

[[workload]]
kind = "burst"
count = 1
size = "200 B"
"#;

fn file() -> PathBuf {
    PathBuf::from("some.toml")
}

fn error(text: &str, settings: &[&str]) -> String {
    let settings: Vec<Setting> = settings.iter().map(|setting| setting.parse().unwrap()).collect();
    load_text(text, &file(), &settings).unwrap_err().to_string()
}

#[test]
fn a_scenario_is_read_with_settings() {
    let settings = ["links.loss=0.1", "stop.after=2 h", "workload.0.count=5", "nodes.uptime.model=always"];
    let settings = settings.map(|setting| setting.parse().unwrap());
    let scenario = load_text(PLAIN, &file(), &settings).unwrap();
    assert_eq!(scenario.links.loss, Loss::Independent(Share::new(0.1)));
    assert_eq!(scenario.stop.after, Span::from_s(7_200));
    let text = toml::to_string(&scenario).unwrap();
    assert_eq!(load_text(&text, &file(), &[]).unwrap(), scenario, "written and read: {text}");
}

#[test]
fn errors_point_at_the_line_and_say_what_is_allowed() {
    let cases = [
        (("count = 2", "cuont = 2"), "some.toml, line 7: `nodes.cuont`: unknown field `cuont`, expected"),
        (("count = 2", "count = -2"), "line 7: `nodes.count`: invalid value"),
        (("10 s", "10 parsec"), "line 4: `stop.after`: `10 parsec` is no time: a number and one of us, ms"),
        (("\"burst\"", "\"bang\""), "unknown variant `bang`, expected"),
        (("size = \"200 B\"", "size = 200"), "`workload.0"),
        (("[nodes]", "[nodes"), "line 6: "),
        (("[nodes]\ncount = 2\n", ""), "missing field `nodes`"),
    ];
    for ((from, to), expected) in cases {
        let message = error(&PLAIN.replace(from, to), &[]);
        assert!(message.contains(expected), "{from} became {to}: {message}");
    }
}

#[test]
fn short_names_stand_for_keys() {
    let text = format!("{PLAIN}\n[parameters]\nloss = \"links.loss\"\nbody = \"workload.0.size\"\n");
    let settings = ["loss=0.25", "body=100 B"].map(|setting| setting.parse().unwrap());
    let scenario = load_text(&text, &file(), &settings).unwrap();
    assert_eq!(scenario.links.loss, Loss::Independent(Share::new(0.25)));
    assert!(
        error(&text, &["loss=2"]).starts_with("--set loss=2: `links.loss`: "),
        "{}",
        error(&text, &["loss=2"])
    );
    assert!(error(&text, &["los=2"]).contains("unknown field `los`"));
}

#[test]
fn a_short_name_may_be_that_of_a_table() {
    let text = format!("{PLAIN}\n[parameters]\nnodes = \"nodes.count\"\n");
    for setting in ["nodes=7", "nodes.count=7"] {
        let scenario = load_text(&text, &file(), &[setting.parse().unwrap()]).unwrap();
        assert_eq!(scenario.nodes.count, 7, "{setting}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    assert!(error(PLAIN, &["links.loss=2"]).starts_with("--set links.loss=2: "));
    assert!(error(PLAIN, &["links.lost=0.1"]).starts_with("--set links.lost=0.1: "));
    assert!(error(PLAIN, &["workload.3.count=1"]).contains("there is no `3`"));
    assert!("loss".parse::<Setting>().is_err());
    assert!("a..b=1".parse::<Setting>().is_err());
}

#[test]
fn files_are_included_and_circles_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("base.toml"), PLAIN).unwrap();
    std::fs::write(path("more.toml"), "include = \"base.toml\"\nname = \"more\"\n[nodes]\ncount = 7\n")
        .unwrap();
    let scenario = load(&path("more.toml"), &[]).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.nodes.count), ("more", 7));

    std::fs::write(path("wrong.toml"), "include = [\"more.toml\"]\n[nodes]\ncount = \"x\"\n").unwrap();
    let message = load(&path("wrong.toml"), &[]).unwrap_err().to_string();
    assert!(message.contains("wrong.toml, line 3"), "{message}");

    std::fs::write(path("a.toml"), "include = \"b.toml\"\n").unwrap();
    std::fs::write(path("b.toml"), "include = \"a.toml\"\n").unwrap();
    assert!(matches!(load(&path("a.toml"), &[]), Err(ScenarioError::Circle { .. })));
    std::fs::write(path("b.toml"), "include = \"c.toml\"\n").unwrap();
    let message = load(&path("a.toml"), &[]).unwrap_err().to_string();
    assert!(message.contains("c.toml"), "{message}");
}
