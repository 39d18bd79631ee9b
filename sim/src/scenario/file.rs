//! Reading scenario files: includes, settings of the command line, and errors that point at the line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Scenario;

/// How deep files may include each other.
const MAX_DEPTH: usize = 16;

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("{file}: {source}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no TOML, or a value in it is not what is allowed there.
    #[error("{place}: {message}")]
    Wrong {
        /// File and line, or the setting of the command line.
        place: Place,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// Files include each other in a circle.
    #[error("{file} includes itself, by way of {through}", file = file.display())]
    Circle {
        /// Which.
        file: PathBuf,
        /// The files between.
        through: String,
    },
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file, at a line (from 1).
    Line(PathBuf, usize),
    /// Somewhere in the scenario of a file.
    Whole(PathBuf),
    /// On the command line.
    Setting(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}, line {line}", file.display()),
            Self::Whole(file) => write!(f, "{}", file.display()),
            Self::Setting(text) => write!(f, "--set {text}"),
        }
    }
}

/// A value set on the command line, as `links.loss=0.1` or `workload.0.count=5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    text: String,
    path: Vec<String>,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| format!("`{text}`: a setting is written key=value"))?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("`{key}` is no key: names with dots between, like links.loss"));
        }
        // What is no value of TOML is a text: units need no quotes here.
        let value = format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        let value = value.unwrap_or_else(|| {
            let (_, text) = text.split_once('=').unwrap_or_default();
            Value::String(text.trim().to_owned())
        });
        Ok(Self { text: text.to_owned(), path, value })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One file that was read.
struct Source {
    file: PathBuf,
    text: String,
}

/// Reads a scenario with all that it includes, and applies settings.
///
/// # Errors
/// Says which file and line, or which setting, and what is allowed.
pub fn load(file: &Path, settings: &[Setting]) -> Result<Scenario, ScenarioError> {
    let mut sources = Vec::new();
    let table = read(file, &mut Vec::new(), &mut sources)?;
    finish(table, file, &sources, settings)
}

/// Reads a scenario from a text, with files beside `file` where it includes some.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, file: &Path, settings: &[Setting]) -> Result<Scenario, ScenarioError> {
    let mut sources = Vec::new();
    let table = take(text.to_owned(), file, &mut vec![file.to_owned()], &mut sources)?;
    finish(table, file, &sources, settings)
}

fn read(file: &Path, open: &mut Vec<PathBuf>, sources: &mut Vec<Source>) -> Result<Table, ScenarioError> {
    let failed = |source| ScenarioError::File { file: file.to_owned(), source };
    let real = file.canonicalize().map_err(failed)?;
    if open.contains(&real) || open.len() >= MAX_DEPTH {
        let through: Vec<String> = open.iter().map(|file| file.display().to_string()).collect();
        return Err(ScenarioError::Circle { file: file.to_owned(), through: through.join(", ") });
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    open.push(real);
    let table = take(text, file, open, sources)?;
    open.pop();
    Ok(table)
}

/// The table of a text, over those that it includes.
fn take(
    text: String,
    file: &Path,
    open: &mut Vec<PathBuf>,
    sources: &mut Vec<Source>,
) -> Result<Table, ScenarioError> {
    let mut own: Table = text.parse().map_err(|error: toml::de::Error| ScenarioError::Wrong {
        place: Place::Line(file.to_owned(), error.span().map_or(1, |span| line_of(&text, span.start))),
        message: error.message().to_owned(),
    })?;
    let included = own.remove("include");
    let wrong = || ScenarioError::Wrong {
        place: place_of(&text, file, &["include".to_owned()]),
        message: "`include` is a list of files".to_owned(),
    };
    let files: Vec<PathBuf> = match included {
        None => Vec::new(),
        Some(Value::String(name)) => vec![name.into()],
        Some(Value::Array(names)) => {
            let names = names.into_iter().map(|name| name.as_str().map(PathBuf::from));
            names.collect::<Option<_>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    let mut table = Table::new();
    for name in files {
        let beside = file.parent().unwrap_or(Path::new(".")).join(name);
        merge(&mut table, read(&beside, open, sources)?);
    }
    merge(&mut table, own);
    sources.push(Source { file: file.to_owned(), text });
    Ok(table)
}

/// Puts a table over another: tables are merged, everything else is replaced.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn finish(
    mut table: Table,
    file: &Path,
    sources: &[Source],
    settings: &[Setting],
) -> Result<Scenario, ScenarioError> {
    let settings = named(&table, settings)?;
    for setting in &settings {
        set(&mut table, setting)?;
    }
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path: Vec<String> = error.path().iter().filter_map(name_of).collect();
        let message = error.into_inner().message().to_owned();
        wrong_value(path, message, file, sources, &settings)
    })
}

/// The settings, with the scenario's short names replaced by the keys that they stand for.
fn named(table: &Table, settings: &[Setting]) -> Result<Vec<Setting>, ScenarioError> {
    let names = table.get("parameters").and_then(Value::as_table);
    let mut named = Vec::new();
    for setting in settings {
        let mut setting = setting.clone();
        // A short name may be that of a table too: with more behind it, it is the table's.
        let is_key = setting.path.len() > 1 && setting.path.first().is_some_and(|first| is_table(first));
        let key = setting.path.first().filter(|_| !is_key).and_then(|first| names?.get(first));
        if let Some(key) = key {
            let key = key.as_str().filter(|key| !key.split('.').any(str::is_empty));
            let wrong = || ScenarioError::Wrong {
                place: Place::Setting(setting.text.clone()),
                message: "`parameters` gives each short name a key, as `loss = \"links.loss\"`".to_owned(),
            };
            let mut path: Vec<String> = key.ok_or_else(wrong)?.split('.').map(str::to_owned).collect();
            path.extend(setting.path.into_iter().skip(1));
            setting.path = path;
        }
        named.push(setting);
    }
    Ok(named)
}

fn is_table(name: &str) -> bool {
    ["stop", "nodes", "links", "topology", "engine", "group", "workload", "fault", "adversary"]
        .contains(&name)
}

fn name_of(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// The error for a value that is not allowed, with the place that gave it.
fn wrong_value(
    mut path: Vec<String>,
    message: String,
    file: &Path,
    sources: &[Source],
    settings: &[Setting],
) -> ScenarioError {
    if let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
        && path.last().is_none_or(|last| last != unknown)
    {
        path.push(unknown.to_owned());
    }
    let by_setting = settings.iter().rev().find(|setting| path.starts_with(&setting.path));
    let place = match by_setting {
        Some(setting) => Place::Setting(setting.text.clone()),
        // The file read last is the one whose value counts.
        None => sources
            .iter()
            .map(|source| (depth_of(&source.text, &path), source))
            .max_by_key(|((depth, _), _)| *depth)
            .map_or(Place::Whole(file.to_owned()), |((_, line), source)| {
                line.map_or(Place::Whole(file.to_owned()), |line| Place::Line(source.file.clone(), line))
            }),
    };
    let key = path.join(".");
    let message = if key.is_empty() { message } else { format!("`{key}`: {message}") };
    ScenarioError::Wrong { place, message }
}

fn place_of(text: &str, file: &Path, path: &[String]) -> Place {
    match depth_of(text, path).1 {
        Some(line) => Place::Line(file.to_owned(), line),
        None => Place::Whole(file.to_owned()),
    }
}

/// How many names of a path a text has, and the line of the last of them.
fn depth_of(text: &str, path: &[String]) -> (usize, Option<usize>) {
    let Ok(root) = DeTable::parse(text) else { return (0, None) };
    let mut line = None;
    let mut at: Option<&Spanned<DeValue<'_>>> = None;
    for (depth, name) in path.iter().enumerate() {
        let table = match at.map(Spanned::get_ref) {
            None if depth == 0 => Some(root.get_ref()),
            Some(DeValue::Table(table)) => Some(table),
            Some(DeValue::Array(array)) => {
                let Some(item) = name.parse::<usize>().ok().and_then(|index| array.get(index)) else {
                    return (depth, line);
                };
                line = Some(line_of(text, item.span().start));
                at = Some(item);
                continue;
            }
            _ => None,
        };
        let Some((key, value)) = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name))
        else {
            return (depth, line);
        };
        line = Some(line_of(text, key.span().start));
        at = Some(value);
    }
    (path.len(), line)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn set(table: &mut Table, setting: &Setting) -> Result<(), ScenarioError> {
    let wrong =
        |message: String| ScenarioError::Wrong { place: Place::Setting(setting.text.clone()), message };
    let Some((last, way)) = setting.path.split_last() else { return Ok(()) };
    // As a value, so that one kind of step serves everywhere.
    let mut root = Value::Table(std::mem::take(table));
    let mut at = &mut root;
    for name in way {
        at = step(at, name).ok_or_else(|| wrong(format!("there is no `{name}` to set something in")))?;
    }
    match at {
        Value::Table(table) => {
            table.insert(last.clone(), setting.value.clone());
        }
        Value::Array(array) => {
            let length = array.len();
            let slot = last.parse::<usize>().ok().and_then(|index| array.get_mut(index));
            let slot = slot.ok_or_else(|| wrong(format!("`{last}` is none of the {length} items")))?;
            *slot = setting.value.clone();
        }
        _ => return Err(wrong(format!("nothing can be set in what is no table: `{last}`"))),
    }
    if let Value::Table(root) = root {
        *table = root;
    }
    Ok(())
}

fn step<'a>(at: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    match at {
        Value::Table(table) => {
            Some(table.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new())))
        }
        Value::Array(array) => array.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
