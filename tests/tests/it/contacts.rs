//! Contacts are mutual, whoever dials, and in whatever order the tickets come.

use serde_json::Value;

use crate::support::{Device, eventually};

fn state_of(device: &Device, peer: &str) -> Option<Value> {
    device
        .json(&["peer", "list"])
        .into_iter()
        .find(|line| line["peer_id"] == peer)
        .map(|line| line["state"].clone())
}

/// Both say something, and both get both.
fn chat(ada: &Device, ben: &Device) {
    ada.ok(&["send", "Ben", "from Ada"]);
    ben.ok(&["send", "Ada", "from Ben"]);
    for (device, chat) in [(ada, "Ben"), (ben, "Ada")] {
        eventually("both messages are there", || {
            let mut texts = device.texts(chat);
            texts.sort();
            texts == ["from Ada", "from Ben"]
        });
    }
}

#[test]
fn a_stranger_is_refused_shown_as_waiting_and_synced_once_added() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    ada.ok(&["peer", "add", &ben.ticket()]);
    ada.ok(&["send", "Ben", "from Ada"]);
    eventually("Ada waits at Ben", || state_of(&ben, &ada.peer_id()) == Some("waiting".into()));
    eventually("Ben's daemon says so", || ben.saw("waiting"));
    eventually("Ada's daemon says that it was refused", || ada.saw("refused"));
    assert_eq!(ben.json(&["status"])[0]["waiting"], 1);
    assert!(ben.fails(1, &["read", "Ada"]).contains("Ada"), "a stranger has said nothing");

    // The ticket without addresses does: it is Ada who dials.
    ben.ok(&["peer", "add", &ada.ticket()]);
    assert_eq!(state_of(&ben, &ada.peer_id()), Some("contact".into()));
    eventually("it has arrived", || ben.texts("Ada") == ["from Ada"]);
    ben.ok(&["send", "Ada", "from Ben"]);
    eventually("the answer too", || ada.texts("Ben") == ["from Ada", "from Ben"]);
}

#[test]
fn a_stranger_that_waits_can_be_removed() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    ada.ok(&["peer", "add", &ben.ticket()]);
    let id = ada.peer_id();
    eventually("Ada waits at Ben", || state_of(&ben, &id) == Some("waiting".into()));
    ada.kill();
    ben.ok(&["peer", "remove", &id]);
    assert_eq!(state_of(&ben, &id), None);
    assert!(ben.fails(1, &["peer", "remove", &id]).contains(&id));
}

#[test]
fn it_does_not_matter_who_dials() {
    for ada_dials in [true, false] {
        let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
        // Made while no daemon runs: no addresses.
        let (ada_offline, ben_offline) = (ada.ticket(), ben.ticket());
        ada.start();
        ben.start();
        let (for_ada, for_ben) =
            if ada_dials { (ben.ticket(), ada_offline) } else { (ben_offline, ada.ticket()) };
        ben.ok(&["peer", "add", &for_ben]);
        ada.ok(&["peer", "add", &for_ada]);
        chat(&ada, &ben);
    }
}

#[test]
fn tickets_are_exchanged_before_any_daemon_runs_and_addresses_follow() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.ok(&["peer", "add", &ben.ticket(), "--alias", "Ben"]);
    ben.ok(&["peer", "add", &ada.ticket()]);
    ada.ok(&["send", "Ben", "from Ada"]);
    ada.start();
    ben.start();
    // A newer ticket of a contact brings its addresses, and takes effect at once.
    ben.ok(&["peer", "add", &ada.ticket()]);
    eventually("it has arrived", || ben.texts("Ada") == ["from Ada"]);
    eventually("the link shows", || {
        let peers = ben.json(&["peer", "list"]);
        peers[0]["connected"] == true
            && ben.json(&["status"])[0]["links"].as_array().is_some_and(|all| !all.is_empty())
    });
}

#[test]
fn a_contact_that_is_removed_is_a_stranger_again() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    crate::support::befriend(&ada, &ben);
    chat(&ada, &ben);
    ben.ok(&["peer", "remove", "Ada"]);
    ada.ok(&["send", "Ben", "too late"]);
    eventually("Ada waits at Ben", || state_of(&ben, &ada.peer_id()) == Some("waiting".into()));
    // What was said before is still there to be read, by the id of the chat.
    let group = ada.json(&["peer", "list"])[0]["direct_group"].clone();
    let texts = ben.texts(group.as_str().unwrap());
    assert!(texts.len() == 2 && !texts.contains(&"too late".to_owned()), "{texts:?}");
}
