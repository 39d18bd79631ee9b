//! A carrier on the way to a daemon that cuts and alters what it carries.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What happens to a connection, in the direction of the dialler's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is cut after so many bytes.
    Cut(usize),
    /// The byte at this place is altered.
    Flip(usize),
}

/// Listens on the loopback and carries each connection to a port, the first ones with these faults.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    used: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) fn start(to: u16, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let used = Arc::new(AtomicUsize::new(0));
        let (faults, count) = (Mutex::new(faults.into_iter()), used.clone());
        std::thread::spawn(move || {
            for incoming in listener.incoming().map_while(Result::ok) {
                let Ok(outgoing) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let fault = faults.lock().unwrap().next();
                let (back_from, back_to) = (outgoing.try_clone().unwrap(), incoming.try_clone().unwrap());
                std::thread::spawn(move || carry(back_from, back_to, None));
                let count = count.clone();
                std::thread::spawn(move || {
                    carry(incoming, outgoing, fault);
                    if fault.is_some() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { port, used }
    }

    /// How many connections with a fault have ended.
    pub(crate) fn faults_done(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, fault: Option<Fault>) {
    let (mut buffer, mut carried) = ([0; 4096], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut part = &mut buffer[..read];
        match fault {
            Some(Fault::Flip(at)) if (carried..carried + read).contains(&at) => part[at - carried] ^= 0x55,
            Some(Fault::Cut(at)) if carried + read >= at => part = &mut part[..at - carried],
            _ => {}
        }
        carried += part.len();
        if to.write_all(part).is_err() || matches!(fault, Some(Fault::Cut(at)) if carried >= at) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
