//! `docs/security.md` says what adversaries cannot do, and names the test of each such sentence. Here it is held to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The tests that a text names as ``[`name`](path)``, with their files.
fn named_tests(text: &str) -> Vec<(String, String)> {
    let links = text.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (path, _) = rest.split_once(')')?;
        path.ends_with(".rs").then(|| (name.to_owned(), path.to_owned()))
    });
    links.collect()
}

/// The items of the lists of a section, each as one line.
fn items(section: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut open = false;
    for line in section.lines() {
        if let Some(start) = line.strip_prefix("- ") {
            items.push(start.to_owned());
            open = true;
        } else if open && line.starts_with("  ") {
            let item = items.last_mut().unwrap();
            item.push(' ');
            item.push_str(line.trim());
        } else {
            open = false;
        }
    }
    items
}

/// What is wrong with a document of this kind.
fn problems(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for section in text.split("\n## An adversary who ").skip(1) {
        let who = section.lines().next().unwrap_or_default();
        let cannot: Vec<String> =
            items(section).into_iter().filter(|item| item.starts_with("cannot ")).collect();
        if cannot.is_empty() {
            problems.push(format!("an adversary who {who}: nothing that it cannot do"));
        }
        for item in cannot.iter().filter(|item| named_tests(item).is_empty()) {
            problems.push(format!("an adversary who {who} {item}: no test"));
        }
    }
    for (name, path) in named_tests(text) {
        match read(&path) {
            None => problems.push(format!("{name}: no file {path}")),
            Some(code) if !is_test_of(&code, &name) => {
                problems.push(format!("{name}: no such test in {path}"));
            }
            Some(_) => {}
        }
    }
    problems
}

/// Whether there is a test function of this name, plain or of tokio, or one that a property-test macro makes.
fn is_test_of(code: &str, name: &str) -> bool {
    let Some(at) = code.find(&format!("fn {name}(")) else { return false };
    let before: Vec<&str> = code[..at].lines().rev().take(12).collect();
    let own = before.iter().take_while(|line| !line.starts_with('}') && !line.starts_with("    }"));
    own.into_iter().any(|line| {
        let line = line.trim();
        line.starts_with("#[test") || line.starts_with("#[tokio::test")
    })
}

#[test]
fn everything_that_an_adversary_cannot_do_has_its_test() {
    let text = std::fs::read_to_string(docs().join("security.md")).unwrap();
    let problems = problems(&text, |path| std::fs::read_to_string(docs().join(path)).ok());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(named_tests(&text).len() > 60, "only {} tests are named", named_tests(&text).len());
}

#[test]
fn a_sentence_without_a_test_and_a_test_that_is_not_there_are_found() {
    let code = "/// Says so.\n#[test]\nfn there() {\n    assert!(true);\n}\n\nfn helper() {}\n";
    let read = |path: &str| (path == "a.rs").then(|| code.to_owned());
    let sound =
        "# T\n\n## An adversary who reads\n\n- can look\n- cannot write,\n  nor erase: [`there`](a.rs)\n";
    assert_eq!(problems(sound, read), Vec::<String>::new());
    for (from, to) in
        [("[`there`](a.rs)", "surely"), ("`there`", "`gone`"), ("a.rs", "b.rs"), ("`there`", "`helper`")]
    {
        assert_eq!(problems(&sound.replace(from, to), read).len(), 1, "{from} became {to}");
    }
    assert_eq!(problems("\n## An adversary who waits\n\n- can wait\n", read).len(), 1);
}
