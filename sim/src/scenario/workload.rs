//! Who says what when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Share, Size, Span};

/// Who says what when.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Workload {
    /// So many messages of each author at one time.
    Burst {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// When.
        #[serde(default)]
        at: Span,
        /// Messages of each author.
        count: usize,
        /// Body of each.
        size: Size,
    },
    /// Messages at random times, at a rate.
    Poisson {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors, one drawn for each message; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// Mean time between two messages of all authors together.
        every: Span,
        /// Body of each.
        size: Size,
        /// From when.
        #[serde(default)]
        start: Span,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
    /// A conversation: somebody begins, and who reads a message answers it with some probability, after a while.
    Chat {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two beginnings.
        every: Span,
        /// Probability that a reader answers.
        reply: Share,
        /// Mean time to an answer.
        think: Span,
        /// Bodies are this long on average, and exponentially distributed.
        size: Size,
        /// No answer is given to what is older than this when it is read; without a limit if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patience: Option<Span>,
    },
    /// Much at once: a file, or a history.
    Bulk {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// When.
        #[serde(default)]
        at: Span,
        /// How many bytes each author writes.
        total: Size,
        /// In bodies of this size; the last one may be smaller.
        size: Size,
    },
    /// A long public chat: few write most, and most write little (the author of rank r with a weight of r^-skew).
    PublicChat {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two messages of all authors together.
        every: Span,
        /// Bodies are this long on average, and exponentially distributed.
        size: Size,
        /// How unequal authors are: 0 for equal ones.
        #[serde(default = "skew")]
        skew: f64,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
    /// Nodes come into a group. They are to get all that was ever said there.
    Join {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Who.
        nodes: Vec<usize>,
        /// When.
        at: Span,
    },
    /// Nodes leave a group, and forget it.
    Leave {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Who.
        nodes: Vec<usize>,
        /// When.
        at: Span,
    },
    /// Again and again somebody comes into a group or leaves it.
    Churn {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two changes.
        every: Span,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
}

fn skew() -> f64 {
    1.0
}
