//! automerge's sync: a list with an entry for each message, each a change of its own. On file, what came is appended as
//! an incremental save.

use anyhow::{Result, ensure};
use automerge::sync::{Message, State, SyncDoc as _};
use automerge::transaction::Transactable as _;
use automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc as _, ScalarValue};

use crate::work::{Kept, Meter, Outcome, Wire, Work, append, body, folder};

struct Sides {
    docs: [AutoCommit; 2],
    states: [State; 2],
    wire: Wire,
    file: Option<std::path::PathBuf>,
}

impl Sides {
    fn sync(&mut self) -> Result<()> {
        loop {
            let mut said = 0;
            for from in 0..2 {
                let Some(message) = self.docs[from].sync().generate_sync_message(&mut self.states[from])
                else {
                    continue;
                };
                let bytes = message.encode();
                self.wire.cross(from, bytes.len());
                said += 1;
                let to = 1 - from;
                let message = Message::decode(&bytes)?;
                self.docs[to].sync().receive_sync_message(&mut self.states[to], message)?;
                if let (1, Some(file)) = (to, &self.file) {
                    let saved = self.docs[1].save_incremental();
                    if !saved.is_empty() {
                        append(file, &saved)?;
                    }
                }
            }
            if said == 0 {
                return Ok(());
            }
        }
    }

    fn part(&mut self) -> Result<()> {
        for state in &mut self.states {
            // What its documentation says is to be kept between contacts.
            *state = State::decode(&state.encode())?;
        }
        self.wire = Wire::default();
        Ok(())
    }
}

fn write(doc: &mut AutoCommit, list: &ObjId, from: usize, to: usize) -> Result<()> {
    for n in from..to {
        doc.insert(list, n, ScalarValue::Bytes(body(n)))?;
        doc.commit();
    }
    Ok(())
}

pub fn run(work: Work) -> Result<Outcome> {
    let (_folder, path) = folder()?;
    let mut a = AutoCommit::new();
    let list = a.put_object(ROOT, "log", ObjType::List)?;
    a.commit();
    write(&mut a, &list, 0, work.before())?;
    let file = (work.kept == Kept::File).then(|| path.join("b"));
    let mut sides =
        Sides { docs: [a, AutoCommit::new()], states: Default::default(), wire: Wire::default(), file };
    if work.before() > 0 {
        sides.sync()?;
        sides.part()?;
    }
    write(&mut sides.docs[0], &list, work.before(), work.messages)?;
    let meter = Meter::start()?;
    sides.sync()?;
    let outcome = meter.stop(&sides.wire)?;
    ensure!(sides.docs[1].length(&list) == work.messages, "not everything arrived");
    ensure!(sides.docs[0].get_heads() == sides.docs[1].get_heads(), "the two differ");
    Ok(outcome)
}
