//! The demonstration.

use std::collections::HashMap;

use serde_json::Value;

use crate::support::{hedgerow, text};

#[test]
fn the_demonstration_converges_and_says_so_in_its_last_line() {
    let home = tempfile::tempdir().unwrap();
    let args = ["demo", "--json", "--seed", "7", "--loss", "0.3", "--peers", "4", "--messages", "40"];
    let output = hedgerow(home.path(), &args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{errors}\n{printed}");
    assert_eq!(errors, "");
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["seed"], 7);
    for event in ["offline", "online", "split", "heal"] {
        assert_eq!(lines.iter().filter(|line| line["event"] == event).count(), 1, "{event}");
    }
    let last = lines.last().unwrap();
    assert_eq!(last["problems"], Value::Array(vec![]));
    for (field, value) in [("peers", 4), ("messages", 40), ("duplicates", 0), ("seed", 7)] {
        assert_eq!(last[field], value, "{field}");
    }
    assert_eq!(last["converged"], true);
    let number = |field: &str| last[field].as_u64().unwrap();
    assert!(number("wire_bytes") > number("body_bytes") && number("body_bytes") > 0);
    assert!(number("delivered") > number("messages") && number("frames_dropped") > 0);
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for digest in last["order_digests"].as_array().unwrap() {
        groups.entry(text(&digest["group"])).or_default().push(text(&digest["digest"]));
    }
    let mut members: Vec<_> = groups.values().map(Vec::len).collect();
    members.sort_unstable();
    assert_eq!(members, [2, 3, 4]);
    for digests in groups.values() {
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    }
    assert!(home.path().read_dir().unwrap().next().is_none(), "it leaves the home alone");
}

#[test]
fn for_people_it_shows_the_conversation_and_the_seed_first_and_last() {
    let home = tempfile::tempdir().unwrap();
    let args = ["demo", "--seed", "11", "--loss", "0", "--peers", "2", "--messages", "10"];
    let output = hedgerow(home.path(), &args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (first, last) = (printed.lines().next().unwrap(), printed.lines().last().unwrap());
    assert!(first.contains("seed 11") && last.contains("converged") && last.contains("seed 11"), "{printed}");
    for chat in ["1:1 chat", "private group", "public chat"] {
        assert!(printed.contains(chat), "{printed}");
    }
}
