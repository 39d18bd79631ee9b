//! p2panda's log sync: one log of signed operations in its SQLite store. What arrives is verified, and stored in
//! transactions of a thousand, which the library leaves to the application.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use anyhow::{Result, anyhow, bail, ensure};
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use p2panda_core::cbor::{decode_cbor, encode_cbor};
use p2panda_core::{Body, Hash, Header, Operation, SigningKey, validate_operation};
use p2panda_store::logs::LogStore;
use p2panda_store::operations::OperationStore as _;
use p2panda_store::{SqliteStore, SqliteStoreBuilder, Transaction as _};
use p2panda_sync::protocols::{LogSync, LogSyncEvent, LogSyncMessage};
use p2panda_sync::traits::Protocol as _;
use tokio::sync::broadcast;

use crate::work::{BATCH, Kept, Meter, Outcome, Wire, Work, body, folder};

const LOG: u64 = 1;
type Event = LogSyncEvent<()>;
type Sync = LogSync<u64, (), SqliteStore, Event>;

async fn insert(store: &SqliteStore, operations: &[Operation<()>]) -> Result<()> {
    let permit = store.begin().await?;
    for operation in operations {
        store.insert_operation(&operation.hash, operation, &LOG).await?;
    }
    store.commit(permit).await?;
    Ok(())
}

/// Writes and stores operations, each after the one before.
async fn write(
    store: &SqliteStore,
    key: &SigningKey,
    last: &mut Option<Hash>,
    from: usize,
    to: usize,
) -> Result<()> {
    let mut batch = Vec::new();
    for n in from..to {
        let body = Body::new(&body(n));
        let mut header = Header::<()> {
            version: 1,
            verifying_key: key.verifying_key(),
            signature: None,
            payload_size: body.size(),
            payload_hash: Some(body.hash()),
            timestamp: (1_700_000_000_000 + n as u64).into(),
            seq_num: n as u64,
            backlink: *last,
            extensions: (),
        };
        header.sign(key);
        *last = Some(header.hash());
        batch.push(Operation { hash: header.hash(), header, body: Some(body) });
        if batch.len() == BATCH || n + 1 == to {
            insert(store, &batch).await?;
            batch.clear();
        }
    }
    Ok(())
}

/// Stores what arrives until the session is over.
async fn take(store: &SqliteStore, mut events: broadcast::Receiver<Event>) -> Result<usize> {
    let (mut batch, mut count) = (Vec::new(), 0);
    loop {
        let event = match events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(error) => bail!("{error}"),
        };
        let over = event.is_none();
        if let Some(LogSyncEvent::OperationReceived { operation, .. }) = event {
            validate_operation(operation.as_ref())?;
            batch.push(*operation);
            count += 1;
        }
        if batch.len() >= BATCH || (over && !batch.is_empty()) {
            insert(store, &batch).await?;
            batch.clear();
        }
        if over {
            return Ok(count);
        }
    }
}

/// One way of the wire: messages are written to bytes and read from them.
fn way(
    wire: &Rc<RefCell<Wire>>,
    from: usize,
) -> (
    impl futures::Sink<LogSyncMessage<u64>, Error = mpsc::SendError> + Unpin + use<>,
    impl futures::Stream<Item = Result<LogSyncMessage<u64>, Infallible>> + Unpin + use<>,
) {
    let (tx, rx) = mpsc::channel::<(u32, Vec<u8>)>(512);
    let (said, heard) = (Rc::clone(wire), Rc::clone(wire));
    let sink = Box::pin(tx.with(move |message: LogSyncMessage<u64>| {
        let bytes = encode_cbor(&message).unwrap_or_default();
        let trip = said.borrow_mut().say(from, bytes.len());
        futures::future::ready(Ok((trip, bytes)))
    }));
    let stream = rx.filter_map(move |(trip, bytes)| {
        heard.borrow_mut().hear(1 - from, trip);
        futures::future::ready(decode_cbor(&bytes[..]).ok().map(Ok))
    });
    (sink, Box::pin(stream))
}

/// A contact. `most`: so many operations come at most; the library drops what is not taken in time.
async fn sync(stores: &[SqliteStore; 2], key: &SigningKey, most: usize) -> Result<(Wire, usize)> {
    let wire = Rc::new(RefCell::new(Wire::default()));
    let logs = BTreeMap::from([(key.verifying_key(), vec![LOG])]);
    let session = |store: &SqliteStore| {
        let (tx, rx) = broadcast::channel(most + 16);
        (Sync::new(store.clone(), logs.clone(), tx), rx)
    };
    let ((a, events_a), (b, events_b)) = (session(&stores[0]), session(&stores[1]));
    let ((mut to_b, mut from_a), (mut to_a, mut from_b)) = (way(&wire, 0), way(&wire, 1));
    let (one, other, arrived, stored) = tokio::join!(
        a.run(&mut to_b, &mut from_b),
        b.run(&mut to_a, &mut from_a),
        take(&stores[1], events_b),
        take(&stores[0], events_a),
    );
    one.map_err(|error| anyhow!("{error}"))?;
    other.map_err(|error| anyhow!("{error}"))?;
    stored?;
    let wire = *wire.borrow();
    Ok((wire, arrived?))
}

pub async fn run(work: Work) -> Result<Outcome> {
    let (_folder, path) = folder()?;
    let open = async |name: &str| -> Result<SqliteStore> {
        let url = match work.kept {
            Kept::Memory => format!("sqlite://{name}?mode=memory&cache=private"),
            Kept::File => format!("sqlite://{}", path.join(name).display()),
        };
        // More than one connection to a memory database would each see its own.
        let connections = if work.kept == Kept::Memory { 1 } else { 4 };
        Ok(SqliteStoreBuilder::new().database_url(&url).max_connections(connections).build().await?)
    };
    let stores = [open("a").await?, open("b").await?];
    let key = SigningKey::from_bytes(&[5; 32]);
    let mut last = None;
    write(&stores[0], &key, &mut last, 0, work.before()).await?;
    if work.before() > 0 {
        sync(&stores, &key, work.messages).await?;
    }
    write(&stores[0], &key, &mut last, work.before(), work.messages).await?;
    let meter = Meter::start()?;
    let (wire, arrived) = sync(&stores, &key, work.messages).await?;
    let outcome = meter.stop(&wire)?;
    ensure!(arrived == work.missing, "{arrived} of {} arrived", work.missing);
    let newest: Option<Operation<()>> =
        LogStore::<_, _, u64, u64, Hash>::get_latest_entry(&stores[1], &key.verifying_key(), &LOG).await?;
    ensure!(newest.is_some_and(|newest| Some(newest.hash) == last), "the newest operation is not there");
    Ok(outcome)
}
