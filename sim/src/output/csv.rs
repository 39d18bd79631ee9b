//! Tables that other programs read: one line of names, then one line for each message, link or node.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::metrics::METRICS;
use crate::record::WayRecord;
use crate::{Run, Summary};

/// The first line of `messages.csv`.
pub(crate) const MESSAGES: &str = "seed,message,id,group,author,size_bytes,written_ms,wanted,delivered,sends,\
    stored_first_ms,delivered_first_ms,delivered_p50_ms,delivered_last_ms,acknowledged,acknowledged_last_ms\n";

/// The first line of `links.csv`.
pub(crate) const LINKS: &str = "seed,from,to,ups,up_ms,frames,bytes,message_bytes,offer_bytes,request_bytes,\
    ack_bytes,other_bytes,messages,lost,corrupted,repeated,cut_off\n";

/// The first line of `nodes.csv`.
pub(crate) const NODES: &str = "seed,node,starts,on_ms,published,delivered,bytes_sent,bytes_received,frames_sent,\
    messages_sent,duplicates,refused,parked_most,state_most_bytes,state_end_bytes\n";

/// The first line of `deliveries.csv`.
pub(crate) const DELIVERIES: &str = "seed,message,node,wanted_ms,stored_ms,delivered_ms\n";

/// The lines of a run in each table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) messages: String,
    pub(crate) links: String,
    pub(crate) nodes: String,
    pub(crate) deliveries: String,
}

impl Rows {
    /// Those of a run. `deliveries` are many, and only made if they are wanted.
    pub(crate) fn of(run: &Run, deliveries: bool) -> Self {
        let mut rows = Self::default();
        rows.messages(run);
        rows.links(run);
        rows.nodes(run);
        if deliveries {
            for one in &run.record.deliveries {
                let (wanted, stored) = (ms(one.wanted_us), ms(one.stored_us));
                let line =
                    [run.seed.to_string(), one.message.to_string(), one.node.to_string(), wanted, stored];
                let _ = writeln!(rows.deliveries, "{},{}", line.join(","), ms(one.delivered_us));
            }
        }
        rows
    }

    fn messages(&mut self, run: &Run) {
        let mut reached: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
        for one in &run.record.deliveries {
            let times = (one.stored_us - one.wanted_us, one.delivered_us - one.wanted_us);
            reached.entry(one.message).or_default().push(times);
        }
        let mut known: HashMap<u32, (u64, u64)> = HashMap::new();
        for one in &run.record.acknowledgements {
            let (count, last) = known.entry(one.message).or_default();
            *count += 1;
            *last = (*last).max(one.at_us);
        }
        for (number, message) in (0_u32..).zip(&run.record.messages) {
            let mut times = reached.remove(&number).unwrap_or_default();
            times.sort_unstable_by_key(|(_, delivered)| *delivered);
            let delivered = |at: usize| times.get(at).map(|(_, us)| ms(*us)).unwrap_or_default();
            let stored = times.iter().map(|(us, _)| *us).min().map(ms).unwrap_or_default();
            let (count, last) = known.get(&number).copied().unwrap_or_default();
            let acknowledged = if count > 0 { ms(last.saturating_sub(message.at_us)) } else { String::new() };
            let group = run.plan.groups.get(message.group as usize).map(|(name, _)| quoted(name));
            let _ = writeln!(
                self.messages,
                "{},{number},{},{},{},{},{},{},{},{},{stored},{},{},{},{count},{acknowledged}",
                run.seed,
                message.id,
                group.unwrap_or_default(),
                message.author,
                message.size,
                ms(message.at_us),
                message.wanted,
                message.delivered,
                message.sends,
                delivered(0),
                delivered(times.len().div_ceil(2).saturating_sub(1)),
                delivered(times.len().saturating_sub(1)),
            );
        }
    }

    fn links(&mut self, run: &Run) {
        for link in &run.record.links {
            let mut way = |from: u32, to: u32, way: &WayRecord| {
                let kinds = &way.sent;
                let main = [kinds.message.bytes, kinds.offer.bytes, kinds.request.bytes, kinds.ack.bytes];
                let numbers = [kinds.frame.records, kinds.bytes()]
                    .into_iter()
                    .chain(main)
                    .chain([kinds.bytes() - main.iter().sum::<u64>(), kinds.message.records])
                    .chain([way.lost, way.corrupted, way.repeated, way.cut_off]);
                let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
                let (seed, ups, up) = (run.seed, link.ups, ms(link.up_us));
                let _ = writeln!(self.links, "{seed},{from},{to},{ups},{up},{}", numbers.join(","));
            };
            way(link.a, link.b, &link.forth);
            way(link.b, link.a, &link.back);
        }
    }

    fn nodes(&mut self, run: &Run) {
        for (number, node) in run.record.nodes.iter().enumerate() {
            let numbers = [
                node.published,
                node.delivered,
                node.sent.bytes(),
                node.received.bytes(),
                node.sent.frame.records,
                node.sent.message.records,
                node.duplicates,
                node.refused,
                node.parked_most,
                node.state_most,
                node.state_end,
            ];
            let numbers = numbers.map(|number| number.to_string()).join(",");
            let (seed, starts, on) = (run.seed, node.starts, ms(node.on_us));
            let _ = writeln!(self.nodes, "{seed},{number},{starts},{on},{numbers}");
        }
    }
}

/// One line for each run, with the values of what was varied before its figures.
pub(crate) fn runs<'a>(varied: &[String], runs: impl Iterator<Item = (&'a [String], &'a Summary)>) -> String {
    let mut text: String = varied.iter().map(|key| format!("{},", quoted(key))).collect();
    text.push_str("seed,passed");
    METRICS.iter().for_each(|metric| {
        let _ = write!(text, ",{}", metric.key);
    });
    text.push('\n');
    for (values, run) in runs {
        text.extend(values.iter().map(|value| format!("{},", quoted(value))));
        let _ = write!(text, "{},{}", run.seed, run.passed());
        for metric in &METRICS {
            let value = (metric.of)(run).map(|value| value.to_string()).unwrap_or_default();
            let _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// In ms, to the us.
fn ms(us: u64) -> String {
    match us % 1_000 {
        0 => (us / 1_000).to_string(),
        rest => format!("{}.{rest:03}", us / 1_000),
    }
}

/// A text as one field.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_fields() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!((ms(0), ms(1_500), ms(2_000)), ("0".to_owned(), "1.500".to_owned(), "2".to_owned()));
    }
}
