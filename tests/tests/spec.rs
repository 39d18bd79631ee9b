//! Every rule of `docs/protocol.md` has a name in brackets, and every name a test that says it proves the rule: with a
//! comment `// spec: name, name` directly above the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MARK: &str = "// spec: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.split('-').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()))
}

/// The names in a piece of the document, where they stand. A link is no name.
fn names(text: &str) -> Vec<(usize, &str)> {
    let starts = text.match_indices('[');
    let inside = starts.filter_map(|(at, _)| {
        let (name, rest) = text[at + 1..].split_once(']')?;
        (is_name(name) && !rest.starts_with(['(', '['])).then_some((at, name))
    });
    inside.collect()
}

/// Paragraphs, items of lists and rows of tables, with the line on which each begins.
fn pieces(document: &str) -> Vec<(usize, String)> {
    let mut pieces: Vec<(usize, String)> = Vec::new();
    let mut fresh = true;
    for (line, text) in document.lines().enumerate() {
        fresh |= text.trim().is_empty() || text.starts_with(['-', '|', '#']);
        if fresh {
            pieces.push((line + 1, String::new()));
        }
        let piece = &mut pieces.last_mut().unwrap().1;
        piece.push_str(text);
        piece.push('\n');
        fresh = text.trim().is_empty();
    }
    pieces
}

/// The rules of the document: their names; and where a MUST has none.
fn rules(document: &str) -> (BTreeSet<String>, Vec<String>) {
    // The sentence that says what the words mean is no rule.
    let (head, body) = document.split_once("\n## ").expect("the document has sections");
    let skipped = head.lines().count();
    let (mut found, mut bare) = (BTreeSet::new(), Vec::new());
    for (line, piece) in pieces(body) {
        let names = names(&piece);
        for (_, name) in &names {
            assert!(found.insert((*name).to_owned()), "the name {name} stands at two rules");
        }
        let musts: Vec<usize> = piece.match_indices("MUST").map(|(at, _)| at).collect();
        for (nth, at) in musts.iter().enumerate() {
            let until = musts.get(nth + 1).copied().unwrap_or(piece.len());
            if !names.iter().any(|(name, _)| (*at..until).contains(name)) {
                let around = piece[*at..].chars().take(60).collect::<String>();
                bare.push(format!("line {}: {around:?}", skipped + line));
            }
        }
    }
    (found, bare)
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, into);
        } else if name.ends_with(".rs") && path.is_file() {
            into.push(path);
        }
    }
}

/// What the comments in a source claim, with the line of each. A comment that stands above no test is a fault.
fn claims(source: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut claims = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(names) = line.strip_prefix(MARK) else { continue };
        let next =
            lines[at + 1..].iter().find(|line| !line.starts_with("//") && !line.starts_with("#[allow"));
        let above_test =
            next.is_some_and(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        assert!(above_test, "line {}: {line:?} does not stand above a test", at + 1);
        for name in names.split(", ") {
            assert!(is_name(name), "line {}: {name:?} is no name", at + 1);
            claims.push((at + 1, name.to_owned()));
        }
    }
    claims
}

#[test]
fn every_rule_has_a_name_and_a_test() {
    let document = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let (rules, bare) = rules(&document);
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut proven: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        // This file speaks of the form.
        if file.ends_with("tests/tests/spec.rs") {
            continue;
        }
        for (line, name) in claims(&fs::read_to_string(file).unwrap()) {
            proven.entry(name).or_default().push(format!("{}:{line}", file.display()));
        }
    }
    let unproven: Vec<&String> = rules.iter().filter(|name| !proven.contains_key(*name)).collect();
    let unknown: Vec<_> = proven.iter().filter(|(name, _)| !rules.contains(*name)).collect();
    println!("{} rules, {} tests", rules.len(), proven.values().flatten().collect::<BTreeSet<_>>().len());
    assert!(bare.is_empty(), "a MUST without a name after it: {bare:#?}");
    assert!(unproven.is_empty(), "rules that no test names: {unproven:#?}");
    assert!(unknown.is_empty(), "tests name rules that are not in docs/protocol.md: {unknown:#?}");
    assert!(rules.len() >= 60, "{} rules: where have they gone?", rules.len());
}

#[test]
fn a_must_without_a_name_shows() {
    let text = "Words: MUST.\n\n## 1. A\nIt MUST be so. [be-so] It\nMUST NOT be.\n\n- It MUST. [two-words]\n- MUST\n\n[x](y) [None]";
    let (found, bare) = rules(text);
    assert_eq!(found, BTreeSet::from(["be-so".to_owned(), "two-words".to_owned()]));
    assert_eq!(bare.len(), 2, "{bare:?}");
    assert!(bare[0].contains("MUST NOT be"), "{bare:?}");
}

#[test]
fn a_claim_stands_above_a_test() {
    assert_eq!(
        claims("    // spec: a-b, c\n    /// Why.\n    #[test]\n    fn f() {}"),
        [(1, "a-b".to_owned()), (1, "c".to_owned())]
    );
    assert!(std::panic::catch_unwind(|| claims("// spec: a-b\nfn f() {}")).is_err());
    assert!(std::panic::catch_unwind(|| claims("// spec: A B\n#[test]\nfn f() {}")).is_err());
}

/// Lines of code, without what is said in comments and without the tests of the crate.
fn code_of(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            code_of(&path, out);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            out.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// The engine asks what a wire can say, never which wire it is.
#[test]
fn dialect_no_code_outside_proto_asks_which_one_it_is() {
    // Who configures peers of other makers, or frames their streams, has to name what they speak.
    let may_name = [
        "sync-core/src/config.rs",
        "transports/src/plain.rs",
        "transports/src/plain/mvds.rs",
        "transports/src/plain/bsp.rs",
        "transports/src/lib.rs",
        "node/src/foreign.rs",
        "node/src/core/foreign.rs",
        "node/src/builder.rs",
        "node/src/node.rs",
        "cli/src/args.rs",
        "cli/src/items.rs",
        "cli/src/service.rs",
        "cli/src/commands/foreign.rs",
    ];
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["sync-core", "sync-sqlite", "clients", "transports", "node", "cli"] {
        code_of(&root.join(folder).join("src"), &mut files);
    }
    assert!(files.len() > 100, "only {} files are found", files.len());
    for (path, code) in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let names_one = ["Dialect::", "Mvds", "mvds", "Bramble", "bramble::", "bramble("]
            .iter()
            .any(|word| code.contains(word));
        assert!(!names_one || may_name.contains(&name.as_str()), "{name} names a dialect");
        if name.starts_with("sync-core/") {
            // Profiles are made there, and never looked into.
            let decides = ["match ", "if ", "matches!"].iter().any(|word| code.contains(word));
            assert!(!names_one || !decides, "{name} names a dialect, and decides something");
        }
    }
}
