//! The JSON schema of scenario files: it is that of the code, and says of files what the reader of files says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use hedgerow_sim::scenario::{load_text, schema};
use regex::Regex;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The schema that comes with the docs is that of the code: with HEDGEROW_UPDATE=1 it is made anew.
#[test]
fn the_schema_is_up_to_date() {
    let path = root().join("docs/scenario.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("HEDGEROW_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "run this test once with HEDGEROW_UPDATE=1");
}

#[test]
fn every_scenario_is_as_the_schema_says() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let wrong = check_text(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(wrong, None, "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 20, "{count} scenarios");
    assert_eq!(check_text(include_str!("../../cli/src/sim/starter.toml")), None);
}

const PLAIN: &str = r#"name = "plain"
stop = { after = "10 s" }
nodes = { count = 2 }
links = { loss = "10 %", bandwidth = "1 Mbit/s", latency = { from = "1 ms", to = "2 ms" } }
topology = { kind = "grid", width = 2 }
workload = [{ kind = "burst", count = 1, size = "200 B" }]
"#;

/// What the reader of files refuses, for what stands in one place, the schema refuses too.
#[test]
fn what_is_wrong_for_the_reader_is_wrong_for_the_schema() {
    assert_eq!(check_text(PLAIN), None);
    for (from, to) in [
        ("name = \"plain\"", ""),
        ("count = 2", "cuont = 2"),
        ("count = 2", "count = -2"),
        ("count = 2", "count = \"2\""),
        ("nodes = { count = 2 }", ""),
        ("after = \"10 s\"", "when_delivered = true"),
        ("10 s", "10 parsec"),
        ("10 s", "s"),
        ("10 %", "10 kg"),
        ("1 Mbit/s", "1 MB"),
        ("to = \"2 ms\"", "too = \"2 ms\""),
        ("grid", "gird"),
        ("width = 2", "radius = 2.0"),
        ("burst", "bang"),
        ("count = 1, ", ""),
        ("size = \"200 B\"", "size = 200"),
        ("size = \"200 B\"", "size = \"200 B\", every = \"1 s\""),
    ] {
        let text = PLAIN.replace(from, to);
        assert_ne!(text, PLAIN, "{from}");
        let refused = load_text(&text, Path::new("plain.toml"), &[]).is_err();
        assert!(refused && check_text(&text).is_some(), "{from} became {to}: {refused}");
    }
    // What is needed may be included.
    assert_eq!(check_text("include = \"base.toml\"\nnodes = { clock_skew = \"1 s\" }\n"), None);
}

fn check_text(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().unwrap();
    let schema = schema();
    check(&schema, &schema, &serde_json::to_value(table).unwrap()).err()
}

/// The part of JSON Schema that these schemas are written in; any other key of a schema is an error.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(rules) = schema.as_object() else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{value} is not allowed")) };
    };
    let wrong = |why: &str| Err(format!("{value}: {why}"));
    for (rule, is) in rules {
        let schemas = || is.as_array().unwrap().iter().map(|one| check(root, one, value));
        match rule.as_str() {
            "$schema" | "title" | "description" | "default" | "format" | "$defs" => {}
            "$ref" => {
                let place = is.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(place).unwrap(), value)?;
            }
            "type" => {
                let types = is.as_array().cloned().unwrap_or_else(|| vec![is.clone()]);
                if !types.iter().any(|one| is_of_type(value, one.as_str().unwrap())) {
                    return wrong(&format!("no {is}"));
                }
            }
            "const" if value != is => return wrong(&format!("not {is}")),
            "enum" if !is.as_array().unwrap().contains(value) => return wrong(&format!("none of {is}")),
            "const" | "enum" => {}
            "anyOf" => schemas().find(Result::is_ok).unwrap_or_else(|| schemas().next().unwrap())?,
            "oneOf" if schemas().filter(Result::is_ok).count() != 1 => return wrong("not one of the forms"),
            "oneOf" => {}
            "minimum" if value.as_f64().is_some_and(|value| value < is.as_f64().unwrap()) => {
                return wrong("too small");
            }
            "maximum" if value.as_f64().is_some_and(|value| value > is.as_f64().unwrap()) => {
                return wrong("too large");
            }
            "minItems" if value.as_array().is_some_and(|all| (all.len() as u64) < is.as_u64().unwrap()) => {
                return wrong("too few");
            }
            "maxItems" if value.as_array().is_some_and(|all| (all.len() as u64) > is.as_u64().unwrap()) => {
                return wrong("too many");
            }
            "minimum" | "maximum" | "minItems" | "maxItems" => {}
            "pattern" => {
                let pattern = Regex::new(is.as_str().unwrap()).unwrap();
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    return wrong(&format!("not like {is}"));
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| check(root, is, item))?,
            "prefixItems" => {
                let pairs = value.as_array().into_iter().flatten().zip(is.as_array().unwrap());
                pairs.into_iter().try_for_each(|(item, is)| check(root, is, item))?;
            }
            "required" => {
                for key in is.as_array().unwrap() {
                    if value.as_object().is_some_and(|all| !all.contains_key(key.as_str().unwrap())) {
                        return wrong(&format!("{key} is missing"));
                    }
                }
            }
            "properties" => {
                for (key, is) in is.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(root, is, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(key)) {
                        check(root, is, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
            }
            other => panic!("the schema has `{other}`, which this test does not know"),
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}
