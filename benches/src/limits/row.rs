//! One line of the table: what was measured, beside what, against which goal.

use serde_json::{Value, json};

/// What a figure is measured beside.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// What it is.
    pub(crate) name: &'static str,
    /// Its value, in the unit of the row.
    pub(crate) value: f64,
    /// Whether it was measured or reckoned in this run; if not, it was published elsewhere.
    pub(crate) here: bool,
}

/// What is to be reached: by the figure itself, or by its ratio to the anchor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// The figure is at most this.
    AtMost(f64),
    /// The figure is at least this.
    AtLeast(f64),
    /// The figure is at most so many times the anchor.
    TimesAtMost(f64),
    /// The figure is at least so many times the anchor.
    TimesAtLeast(f64),
}

/// How a row came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The goal is reached.
    Pass,
    /// It is not.
    Short,
    /// There is no figure, since the run did not converge or a store was not sound.
    Failed,
}

impl Outcome {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Short => "short",
            Self::Failed => "failed",
        }
    }
}

/// A measured row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name, for `--only`.
    pub(crate) name: &'static str,
    /// What was measured, in words.
    pub(crate) what: String,
    /// The unit of figure and anchor.
    pub(crate) unit: &'static str,
    /// Ours. Not a number if there is none.
    pub(crate) figure: f64,
    /// Beside what.
    pub(crate) anchor: Option<Anchor>,
    /// What is to be reached.
    pub(crate) goal: Goal,
}

impl Row {
    /// A row with an anchor that was measured or reckoned in this run.
    pub(crate) fn new(
        name: &'static str,
        goal: Goal,
        unit: &'static str,
        figure: f64,
        anchor: (&'static str, f64),
        what: impl Into<String>,
    ) -> Self {
        let anchor = Some(Anchor { name: anchor.0, value: anchor.1, here: true });
        Self { name, what: what.into(), unit, figure, anchor, goal }
    }

    /// A row without an anchor.
    pub(crate) fn alone(
        name: &'static str,
        goal: Goal,
        unit: &'static str,
        figure: f64,
        what: impl Into<String>,
    ) -> Self {
        Self { name, what: what.into(), unit, figure, anchor: None, goal }
    }

    /// The same beside a figure that was published elsewhere.
    pub(crate) fn published(mut self, name: &'static str, value: f64) -> Self {
        self.anchor = Some(Anchor { name, value, here: false });
        self
    }

    /// A row that has no figure.
    pub(crate) fn failed(name: &'static str, why: impl Into<String>) -> Self {
        Self::alone(name, Goal::AtMost(0.0), "", f64::NAN, why)
    }

    /// The figure over the anchor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.anchor.as_ref().map(|anchor| self.figure / anchor.value)
    }

    /// How much of what the goal allows is used up: 1 exactly at the goal, more beyond it.
    pub(crate) fn used(&self) -> f64 {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        match self.goal {
            Goal::AtMost(goal) => part(self.figure, goal),
            Goal::AtLeast(goal) => part(goal, self.figure),
            Goal::TimesAtMost(goal) => part(ratio, goal),
            Goal::TimesAtLeast(goal) => part(goal, ratio),
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        if self.figure.is_nan() {
            Outcome::Failed
        } else if self.used() <= 1.0 {
            Outcome::Pass
        } else {
            Outcome::Short
        }
    }

    /// One JSON object.
    pub(crate) fn to_json(&self) -> Value {
        let (word, goal, of) = match self.goal {
            Goal::AtMost(goal) => ("at most", goal, "figure"),
            Goal::AtLeast(goal) => ("at least", goal, "figure"),
            Goal::TimesAtMost(goal) => ("at most", goal, "ratio"),
            Goal::TimesAtLeast(goal) => ("at least", goal, "ratio"),
        };
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "figure": self.figure,
            "anchor": self.anchor.as_ref().map(|anchor| json!({
                "name": anchor.name, "value": anchor.value, "here": anchor.here,
            })),
            "ratio": self.ratio(),
            "goal": { "of": of, "is": word, "value": goal },
            "used": self.used(),
            "outcome": self.outcome().word(),
        })
    }
}

/// `a` over `b`, where nothing of nothing is nothing.
fn part(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, figure: f64, anchor: f64) -> Row {
        Row::new("row", goal, "B", figure, ("anchor", anchor), "what")
    }

    #[test]
    fn a_limit_is_reached_up_to_itself() {
        assert_eq!(row(Goal::AtMost(10.0), 10.0, 1.0).outcome(), Outcome::Pass);
        assert_eq!(row(Goal::AtMost(10.0), 10.1, 1.0).outcome(), Outcome::Short);
        assert_eq!(row(Goal::AtLeast(10.0), 10.0, 1.0).outcome(), Outcome::Pass);
        assert_eq!(row(Goal::AtLeast(10.0), 9.9, 1.0).outcome(), Outcome::Short);
    }

    #[test]
    fn a_ratio_is_ours_over_the_anchor() {
        let row = row(Goal::TimesAtMost(2.0), 30.0, 10.0);
        assert_eq!(row.ratio(), Some(3.0));
        assert_eq!(row.used(), 1.5);
        assert_eq!(row.outcome(), Outcome::Short);
        assert_eq!(self::row(Goal::TimesAtLeast(0.5), 6.0, 10.0).outcome(), Outcome::Pass);
        assert_eq!(self::row(Goal::TimesAtLeast(0.5), 4.0, 10.0).used(), 1.25);
    }

    #[test]
    fn nothing_is_within_a_limit_of_nothing_and_something_is_not() {
        assert_eq!(row(Goal::AtMost(0.0), 0.0, 0.0).outcome(), Outcome::Pass);
        assert_eq!(row(Goal::AtMost(0.0), 1.0, 0.0).outcome(), Outcome::Short);
    }

    #[test]
    fn what_has_no_figure_has_failed() {
        let row = Row::failed("row", "it did not converge");
        assert_eq!(row.outcome(), Outcome::Failed);
        assert_eq!(row.to_json()["outcome"], "failed");
        // A ratio to nothing is not a pass.
        assert_eq!(self::row(Goal::TimesAtMost(1.0), 1.0, 0.0).outcome(), Outcome::Short);
    }

    #[test]
    fn json_tells_what_the_goal_is_of() {
        let json = row(Goal::TimesAtLeast(0.5), 6.0, 10.0).to_json();
        assert_eq!(json["goal"]["of"], "ratio");
        assert_eq!(json["goal"]["is"], "at least");
        assert_eq!(json["anchor"]["value"], 10.0);
        assert_eq!(json["ratio"], 0.6);
    }
}
