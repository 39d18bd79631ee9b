//! What must hold of every run, and whether it does.

use serde::{Deserialize, Serialize};

/// A rule that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// What was delivered is still there at the end, or was let go by a rule of retention; what was acknowledged is
    /// held by who acknowledged it. A lost or restored disk is no loss of the protocol.
    NoLoss,
    /// Nothing is delivered twice.
    NoRepeat,
    /// Nothing is delivered that nobody wrote.
    NothingMadeUp,
    /// Every message is delivered after all of its dependencies.
    CausalOrder,
    /// A message has the same place in the canonical order at all nodes.
    EqualCanonicalOrder,
    /// Two nodes whose link is idle at the end hold the same of the groups that they share.
    Convergence,
    /// What peers can make grow stays within its limits, and a cap on the store holds.
    BoundedMemory,
    /// When everything is everywhere and nothing changes, nothing is sent.
    Silence,
    /// No honest peer ends a link because another honest one broke a rule of the wire.
    Conformance,
}

impl Rule {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 9] = [
        Self::NoLoss,
        Self::NoRepeat,
        Self::NothingMadeUp,
        Self::CausalOrder,
        Self::EqualCanonicalOrder,
        Self::Convergence,
        Self::BoundedMemory,
        Self::Silence,
        Self::Conformance,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoLoss => "no-loss",
            Self::NoRepeat => "no-repeat",
            Self::NothingMadeUp => "nothing-made-up",
            Self::CausalOrder => "causal-order",
            Self::EqualCanonicalOrder => "equal-canonical-order",
            Self::Convergence => "convergence",
            Self::BoundedMemory => "bounded-memory",
            Self::Silence => "silence",
            Self::Conformance => "conformance",
        }
    }
}

/// Whether a rule holds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It was broken.
    Broken,
    /// The run gave no occasion to tell.
    Untested,
}

/// The verdict on a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// Whether it holds.
    pub verdict: Verdict,
    /// How often it was looked at.
    pub looked: u64,
    /// How often it was broken.
    pub broken: u64,
    /// The first cases, in words; of an untested rule, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<String>,
}

/// So many cases are told in words.
const MAX_CASES: usize = 10;

/// The rules as they stand while a run goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    rows: [Row; Rule::ALL.len()],
}

#[derive(Debug, Clone, Default)]
struct Row {
    looked: u64,
    broken: u64,
    cases: Vec<String>,
}

impl Checks {
    fn row(&mut self, rule: Rule) -> Option<&mut Row> {
        let at = Rule::ALL.iter().position(|one| *one == rule)?;
        self.rows.get_mut(at)
    }

    /// A rule was looked at, and holds if `case` is `None`.
    pub(crate) fn look(&mut self, rule: Rule, case: Option<impl FnOnce() -> String>) {
        let Some(row) = self.row(rule) else { return };
        row.looked += 1;
        if let Some(case) = case {
            row.broken += 1;
            if row.cases.len() < MAX_CASES {
                row.cases.push(case());
            }
        }
    }

    /// A rule was looked at.
    pub(crate) fn expect(&mut self, rule: Rule, holds: bool, case: impl FnOnce() -> String) {
        self.look(rule, (!holds).then_some(case));
    }

    /// Why a rule could not be looked at.
    pub(crate) fn untested(&mut self, rule: Rule, why: &str) {
        if let Some(row) = self.row(rule).filter(|row| row.looked == 0) {
            row.cases = vec![why.to_owned()];
        }
    }

    pub(crate) fn verdicts(&self) -> Vec<Check> {
        let checks = Rule::ALL.iter().zip(&self.rows).map(|(rule, row)| Check {
            rule: *rule,
            verdict: match (row.looked, row.broken) {
                (0, _) => Verdict::Untested,
                (_, 0) => Verdict::Passed,
                _ => Verdict::Broken,
            },
            looked: row.looked,
            broken: row.broken,
            cases: row.cases.clone(),
        });
        checks.collect()
    }
}
