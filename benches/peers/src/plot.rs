//! A picture for each question: bars on a logarithmic scale, the shorter the better.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::work::Kept;
use crate::{Case, Library};

/// A question, and how a case answers it.
struct Question {
    file: &'static str,
    title: &'static str,
    unit: &'static str,
    cold: bool,
    kept: Kept,
    figure: fn(&Case) -> f64,
}

const QUESTIONS: [Question; 6] = [
    Question {
        file: "cpu-cold-memory",
        title: "CPU time of both sides, everything to an empty peer, in memory",
        unit: "ms",
        cold: true,
        kept: Kept::Memory,
        figure: |case| case.outcome.cpu_ms,
    },
    Question {
        file: "cpu-cold-file",
        title: "CPU time of both sides, everything to an empty peer, on files",
        unit: "ms",
        cold: true,
        kept: Kept::File,
        figure: |case| case.outcome.cpu_ms,
    },
    Question {
        file: "cpu-delta-file",
        title: "CPU time of both sides, the last hundred, on files",
        unit: "ms",
        cold: false,
        kept: Kept::File,
        figure: |case| case.outcome.cpu_ms,
    },
    Question {
        file: "bytes-cold",
        title: "Bytes both ways, everything to an empty peer",
        unit: "B",
        cold: true,
        kept: Kept::Memory,
        figure: |case| case.outcome.bytes as f64,
    },
    Question {
        file: "bytes-delta",
        title: "Bytes both ways, the last hundred",
        unit: "B",
        cold: false,
        kept: Kept::Memory,
        figure: |case| case.outcome.bytes as f64,
    },
    Question {
        file: "peak-cold-file",
        title: "Most memory, both sides, everything to an empty peer, on files",
        unit: "MiB",
        cold: true,
        kept: Kept::File,
        figure: |case| case.outcome.peak_mib,
    },
];

/// Draws what can be drawn of these cases into a folder.
pub fn all(cases: &[Case], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut sizes: Vec<usize> = cases.iter().map(|case| case.work.messages).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for question in &QUESTIONS {
        for &size in &sizes {
            let of = |case: &&Case| {
                let work = case.work;
                work.messages == size
                    && (work.missing == work.messages) == question.cold
                    && work.kept == question.kept
            };
            let bars: Vec<(Library, f64)> =
                cases.iter().filter(of).map(|case| (case.library, (question.figure)(case))).collect();
            if !bars.is_empty() {
                let path = folder.join(format!("{}-{size}.svg", question.file));
                draw(question, size, &bars, &path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn draw(
    question: &Question,
    size: usize,
    bars: &[(Library, f64)],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let height = 90 + 34 * u32::try_from(bars.len())?;
    let root = SVGBackend::new(path, (760, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = bars.iter().map(|(_, figure)| *figure).fold(1.0, f64::max);
    let least = bars.iter().map(|(_, figure)| *figure).fold(most, f64::min);
    // Whole powers of ten, with room for the figures behind the bars.
    let (from, to) = (10f64.powf(least.log10().floor() - 0.3), 10f64.powf(most.log10() + 0.9));
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{}: {size} messages of 200 B", question.title), ("sans-serif", 16))
        .margin(10)
        .set_label_area_size(LabelAreaPosition::Left, 130)
        .set_label_area_size(LabelAreaPosition::Bottom, 30)
        .build_cartesian_2d((from..to).log_scale(), 0.0..bars.len() as f64)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc(question.unit).draw()?;
    let dark = |anchor| ("sans-serif", 14).into_font().color(&BLACK).pos(anchor);
    let middle = |h| Pos::new(h, VPos::Center);
    for (n, (library, figure)) in bars.iter().enumerate() {
        let row = (bars.len() - n) as f64;
        let ours = matches!(library, Library::Hedgerow | Library::HedgerowSigned);
        let color = if ours { RGBColor(46, 125, 50) } else { RGBColor(144, 164, 174) };
        chart.draw_series([Rectangle::new([(from, row - 0.8), (*figure, row - 0.2)], color.filled())])?;
        let text = if *figure < 10.0 { format!(" {figure:.2}") } else { format!(" {figure:.0}") };
        chart.draw_series([Text::new(text, (*figure, row - 0.5), dark(middle(HPos::Left)))])?;
        let (x, y) = chart.backend_coord(&(from, row - 0.5));
        root.draw(&Text::new(library.name(), (x - 8, y), dark(middle(HPos::Right))))?;
    }
    root.present()?;
    Ok(())
}
