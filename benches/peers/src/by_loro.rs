//! loro's updates: a version vector one way, the operations after it the other. Nothing is verified but a checksum. On
//! file, what came is appended.

use anyhow::{Result, ensure};
use loro::{ExportMode, LoroDoc, VersionVector};

use crate::work::{Kept, Meter, Outcome, Wire, Work, append, body, folder};

fn write(doc: &LoroDoc, from: usize, to: usize) -> Result<()> {
    let list = doc.get_list("log");
    for n in from..to {
        list.push(body(n))?;
        doc.commit();
    }
    Ok(())
}

fn sync(a: &LoroDoc, b: &LoroDoc, wire: &mut Wire, file: Option<&std::path::Path>) -> Result<()> {
    let has = b.oplog_vv().encode();
    wire.cross(1, has.len());
    let update = a.export(ExportMode::updates(&VersionVector::decode(&has)?))?;
    wire.cross(0, update.len());
    b.import(&update)?;
    if let Some(file) = file {
        append(file, &update)?;
    }
    Ok(())
}

pub fn run(work: Work) -> Result<Outcome> {
    let (_folder, path) = folder()?;
    let path = path.join("b");
    let file = (work.kept == Kept::File).then_some(path.as_path());
    let (a, b) = (LoroDoc::new(), LoroDoc::new());
    write(&a, 0, work.before())?;
    if work.before() > 0 {
        sync(&a, &b, &mut Wire::default(), file)?;
    }
    write(&a, work.before(), work.messages)?;
    let mut wire = Wire::default();
    let meter = Meter::start()?;
    sync(&a, &b, &mut wire, file)?;
    let outcome = meter.stop(&wire)?;
    ensure!(b.get_list("log").len() == work.messages, "not everything arrived");
    Ok(outcome)
}
