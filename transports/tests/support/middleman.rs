//! A middleman on the path of datagrams: loses, repeats, reorders, alters and notes them.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hedgerow_transports::Address;
use tokio::net::UdpSocket;

pub(crate) const HELLO: u8 = 1;
pub(crate) const RETRY: u8 = 2;
pub(crate) const OTHER_VERSION: u8 = 3;
pub(crate) const REPLY: u8 = 4;
pub(crate) const FINISH: u8 = 5;
pub(crate) const DATA: u8 = 6;

/// What a middleman does with a datagram: the datagrams that it sends on in its place.
pub(crate) type Rule = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send>;

/// Datagrams in order, and whether the dialler sent them.
pub(crate) type Seen = Arc<Mutex<Vec<(bool, Vec<u8>)>>>;

/// Where datagrams pass between a dialler and `to`.
pub(crate) struct Middleman {
    pub(crate) address: Address,
    /// What went through.
    pub(crate) seen: Seen,
}

impl Middleman {
    pub(crate) async fn new(to: &Address, mut outward: Rule, mut inward: Rule) -> Self {
        let to: SocketAddr = to.rest().parse().unwrap();
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = Address::new("udp", front.local_addr().unwrap()).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            let (mut a, mut b) = (vec![0; 2048], vec![0; 2048]);
            let mut dialler = None;
            loop {
                tokio::select! {
                    Ok((len, from)) = front.recv_from(&mut a) => {
                        dialler = Some(from);
                        log.lock().unwrap().push((true, a[..len].to_vec()));
                        for datagram in outward(a[..len].to_vec()) {
                            back.send_to(&datagram, to).await.unwrap();
                        }
                    }
                    Ok((len, _)) = back.recv_from(&mut b) => {
                        log.lock().unwrap().push((false, b[..len].to_vec()));
                        for datagram in inward(b[..len].to_vec()) {
                            front.send_to(&datagram, dialler.unwrap()).await.unwrap();
                        }
                    }
                }
            }
        });
        Self { address, seen }
    }
}

pub(crate) fn pass() -> Rule {
    Box::new(|datagram| vec![datagram])
}

/// Does something to packets of one kind and lets the others pass.
pub(crate) fn on(kind: u8, mut then: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> Rule {
    Box::new(move |datagram| if datagram[0] == kind { then(datagram) } else { vec![datagram] })
}
