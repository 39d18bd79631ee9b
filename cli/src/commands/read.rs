//! `read`: the messages of a chat.

use crate::access::Access;
use crate::args::Order;
use crate::error::CliError;
use crate::items::MessageItem;
use crate::limits::{FOLLOW_PAUSE, READ_PAGE, RETRY_PAUSE};
use crate::output::{Output, on_one_line, shown, utc};
use crate::request::{Key, Page, Request};

/// What is to be read, and how.
pub(super) struct Reading {
    pub(super) target: String,
    pub(super) from: u64,
    pub(super) order: Order,
    pub(super) follow: bool,
}

pub(super) async fn read(access: &Access, reading: Reading, output: Output) -> Result<(), CliError> {
    match (reading.order, reading.follow) {
        (Order::Delivery, false) => in_delivery_order(access, &reading, output).await.map(drop),
        (Order::Delivery, true) => follow(access, reading, output).await,
        (Order::Canonical, false) => in_canonical_order(access, &reading, output).await,
        (Order::Canonical, true) => Err(CliError::Usage(
            "--follow goes with --order delivery: in the canonical order what comes late has its place in the middle"
                .to_owned(),
        )),
    }
}

/// Gives the last position that was printed.
async fn in_delivery_order(access: &Access, reading: &Reading, output: Output) -> Result<u64, CliError> {
    let mut after = reading.from.saturating_sub(1);
    loop {
        let items = page(access, reading, Page::Delivery { after }).await?;
        for item in &items {
            output.item(item, line)?;
        }
        after = items.last().map_or(after, |item| item.position);
        if items.len() < READ_PAGE {
            return Ok(after);
        }
    }
}

async fn in_canonical_order(access: &Access, reading: &Reading, output: Output) -> Result<(), CliError> {
    let mut after = None;
    loop {
        let items = page(access, reading, Page::Canonical { after }).await?;
        for item in items.iter().filter(|item| item.position >= reading.from) {
            output.item(item, line)?;
        }
        if items.len() < READ_PAGE {
            return Ok(());
        }
        after = items.into_iter().next_back().map(|item| Key {
            eff_ms: item.eff_ms,
            height: item.height,
            id: item.id,
        });
    }
}

async fn page(access: &Access, reading: &Reading, page: Page) -> Result<Vec<MessageItem>, CliError> {
    access.ask(Request::Read { target: reading.target.clone(), page, limit: READ_PAGE }).await
}

/// Goes on until it is interrupted, also over the end of one daemon and the start of another.
async fn follow(access: &Access, mut reading: Reading, output: Output) -> Result<(), CliError> {
    loop {
        let mut after = reading.from.saturating_sub(1);
        let request = Request::Follow { target: reading.target.clone(), after };
        let followed = access.ask_daemon(request, |item: MessageItem| {
            output.item(&item, line)?;
            after = item.position;
            Ok(())
        });
        let followed = followed.await;
        reading.from = after.saturating_add(1);
        match followed {
            Ok(true) => tokio::time::sleep(RETRY_PAUSE).await,
            Ok(false) => {
                // No daemon, so nothing comes but what other commands send.
                reading.from = in_delivery_order(access, &reading, output).await?.saturating_add(1);
                tokio::time::sleep(FOLLOW_PAUSE).await;
            }
            Err(error) if error.may_pass() => tokio::time::sleep(FOLLOW_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

fn line(item: &MessageItem) -> String {
    let author = item.author_name.clone().unwrap_or_else(|| match item.author.as_str() {
        "" => "?".to_owned(),
        author => author.chars().take(8).collect(),
    });
    let author = on_one_line(&author);
    let mark = match (item.gap, item.fork) {
        (_, true) => " [its author said two things under this number]",
        (true, _) => " [something is missing before this]",
        _ => "",
    };
    let time = utc(item.timestamp_ms);
    match &item.notice {
        None => format!("{time}  {author}: {}{mark}", shown(&item.text)),
        Some(notice) => format!("{time}  * {author} {}{mark}", shown(notice)),
    }
}
