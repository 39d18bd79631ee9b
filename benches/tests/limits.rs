//! The program `limits` as a user meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, Output};

fn limits(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_limits")).args(arguments).output().unwrap()
}

#[test]
fn a_row_alone_is_one_object() {
    let output = limits(&["--quick", "--json", "--only", "idle"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 1, "{text}");
    assert_eq!((&rows[0]["name"], &rows[0]["outcome"]), (&"idle".into(), &"pass".into()));
}

#[test]
fn a_table_is_no_wider_than_a_terminal_and_has_no_colours_in_a_file() {
    let output = limits(&["--quick", "--only", "idle"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 passed, 0 short, 0 failed"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100) && !text.contains('\x1b'), "{text}");
}

#[test]
fn wrong_usage_is_told_apart_from_a_row_that_is_short() {
    for wrong in [&["--only", "nonsense"][..], &["--slow"], &["--quick", "--only", "diff-1m-1000"]] {
        let output = limits(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
