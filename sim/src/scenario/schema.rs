//! What a scenario file looks like, for editors and other programs.

use serde_json::{Value, json};

use super::Scenario;

/// The JSON schema (draft 2020-12) of a scenario file: its keys, their types, units and explanations. What depends on
/// several keys, as numbers of nodes that must be there, is not in it.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Scenario).to_value();
    let Some(whole) = schema.as_object_mut() else { return schema };
    if let Some(keys) = whole.get_mut("properties").and_then(Value::as_object_mut) {
        let files = json!({
            "description": "Files that are under this one, as seen from its folder.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        });
        keys.insert("include".to_owned(), files);
    }
    // What is needed may stand in a file that is included.
    let needed = whole.remove("required").unwrap_or_default();
    let mut tables = serde_json::Map::new();
    for (key, table) in [("stop", "Stop"), ("nodes", "Nodes")] {
        let table = whole.get_mut("$defs").and_then(|all| all.get_mut(table)).and_then(Value::as_object_mut);
        if let Some(required) = table.and_then(|table| table.remove("required")) {
            tables.insert(key.to_owned(), json!({ "required": required }));
        }
    }
    let alone = json!({ "required": needed, "properties": tables });
    whole.insert("anyOf".to_owned(), json!([{ "required": ["include"] }, alone]));
    schema
}
