//! What runs leave behind: figures as JSON and tables, a report as one HTML page, tables for terminals.
//!
//! [`Writer`] takes runs one by one, in the order of their seeds, and makes a folder of them:
//!
//! | file | what |
//! |---|---|
//! | `summary.json` | all figures ([`Batch`]): the same scenario and seeds give the same bytes on every machine |
//! | `runs.csv` | one line for each run |
//! | `messages.csv` | one line for each message |
//! | `links.csv` | one line for each direction of each link |
//! | `nodes.csv` | one line for each node |
//! | `deliveries.csv` | one line for each delivery, if asked for |
//! | `report.html` | the report, in one file |
//! | `spacetime.svg` | the diagram of space and time, if the run is small |

mod batch;
mod compare;
mod csv;
mod folder;
mod html;
mod metrics;
mod options;
mod picture;
mod plot;
mod report;
mod show;
mod spacetime;
mod sweep_report;
mod table;

use std::path::PathBuf;

pub use self::batch::{Batch, Pooled};
pub use self::compare::{Compared, compare};
pub use self::folder::{RECORDED, Writer, detail_for};
pub use self::metrics::Stat;
pub use self::options::{full_key, options};
pub use self::picture::{SIDE, places, walks};
pub use self::plot::PlotError;
pub use self::report::report;
pub use self::spacetime::{Diagram, diagram};
pub use self::table::{figures, plain, verdicts};
pub(crate) use self::{
    batch::merged, batch::totals, csv::runs as runs_csv, folder::write as write_whole,
    sweep_report::sweep_report,
};

/// Why results cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file or folder.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {what}", path = path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A figure cannot be written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl OutputError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
