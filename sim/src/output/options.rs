//! Everything that a scenario says, as keys and values: what `--set` takes, and what is printed with every result.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scenario::Scenario;

/// Every key of a scenario with its value, in the spelling of `--set`, ascending.
#[must_use]
pub fn options(scenario: &Scenario) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    // Scenarios came from text: they can be text again.
    if let Ok(value) = serde_json::to_value(scenario) {
        flatten(String::new(), &value, &mut all);
    }
    all
}

fn flatten(key: String, value: &Value, all: &mut BTreeMap<String, String>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| flatten(below(name), value, all)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(below(&index.to_string()), item, all);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            all.insert(key, text.clone());
        }
        other => {
            all.insert(key, other.to_string());
        }
    }
}

/// The whole key that a short one stands for: the one that the scenario's `parameters` name, itself if the scenario has
/// it, or the only one that ends with it.
///
/// # Errors
/// When several keys end with it: which ones.
pub fn full_key(scenario: &Scenario, short: &str) -> Result<String, String> {
    if let Some(key) = scenario.parameters.get(short) {
        return Ok(key.clone());
    }
    let all = options(scenario);
    let mut names: Vec<&str> = all.keys().map(String::as_str).collect();
    // Tables, too, can be set as a whole.
    names.extend(all.keys().flat_map(|key| key.match_indices('.').filter_map(|(at, _)| key.get(..at))));
    names.retain(|name| !name.starts_with("parameters"));
    names.sort_unstable();
    names.dedup();
    if names.contains(&short) {
        return Ok(short.to_owned());
    }
    let ending = format!(".{short}");
    let found: Vec<&str> = names.into_iter().filter(|name| name.ends_with(&ending)).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Ok(short.to_owned()),
        several => Err(format!("`{short}` may be {}: name one of them", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn pair() -> Scenario {
        let text = r#"
            name = "pair"
            stop = { after = "1 min" }
            nodes = { count = 2 }
            links = { loss = 0.5, carrier = "datagram" }
            parameters = { many = "workload.1.count", loss = "links.loss" }
            workload = [
                { kind = "burst", from = [0], count = 1, size = "200 B" },
                { kind = "burst", from = [1], count = 2, size = "300 B" },
            ]
        "#;
        crate::scenario::load_text(text, Path::new("pair.toml"), &[]).unwrap()
    }

    #[test]
    fn keys_are_those_of_the_command_line() {
        let scenario = pair();
        let all = options(&scenario);
        assert_eq!(all.get("nodes.count").map(String::as_str), Some("2"));
        assert_eq!(all.get("stop.after").map(String::as_str), Some("1 min"));
        assert_eq!(all.get("workload.1.size").map(String::as_str), Some("300 B"));
        assert_eq!(all.get("workload.0.from").map(String::as_str), Some("[0]"));
    }

    #[test]
    fn a_short_key_stands_for_the_only_one_that_ends_so() {
        let scenario = pair();
        assert_eq!(full_key(&scenario, "loss").unwrap(), "links.loss");
        assert_eq!(full_key(&scenario, "many").unwrap(), "workload.1.count");
        assert_eq!(full_key(&scenario, "after").unwrap(), "stop.after");
        assert_eq!(full_key(&scenario, "links").unwrap(), "links");
        assert_eq!(full_key(&scenario, "nodes.count").unwrap(), "nodes.count");
        // What no key ends with is left to the reader of scenarios, who knows the keys that are not there.
        assert_eq!(full_key(&scenario, "nonsense").unwrap(), "nonsense");
        let error = full_key(&scenario, "size").unwrap_err();
        assert!(error.contains("workload.0.size") && error.contains("workload.1.size"), "{error}");
        let error = full_key(&scenario, "count").unwrap_err();
        assert!(error.contains("nodes.count"), "{error}");
    }
}
