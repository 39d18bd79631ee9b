//! A group whose members never all meet.

use std::collections::HashSet;

use crate::support::{Device, befriend, eventually, text};

const EACH: usize = 20;

#[test]
fn a_group_message_reaches_who_never_meets_its_author_signed_and_dependencies_first() {
    let (mut ada, mut ben, mut cleo) = (Device::new("Ada"), Device::new("Ben"), Device::new("Cleo"));
    ada.start();
    ben.start();
    befriend(&ada, &ben);
    befriend(&ben, &cleo);
    ada.ok(&["group", "create", "garden"]);
    ada.ok(&["group", "invite", "garden", "Ben"]);
    // Ben finds the invitation in the chat with Ada; Cleo gets hers by hand.
    eventually("Ben is invited", || {
        ben.json(&["group", "list"]).iter().any(|line| line["state"] == "invited")
    });
    ben.ok(&["group", "join", "garden"]);
    let ticket = ada.json(&["group", "invite", "garden", &cleo.peer_id()]);
    cleo.ok(&["group", "join", &text(&ticket[0]["ticket"])]);

    // They answer each other, so that there are dependencies across authors.
    for number in 1..=EACH {
        ada.ok(&["send", "garden", &format!("Ada {number}")]);
        eventually("Ben has it", || ben.texts("garden").contains(&format!("Ada {number}")));
        ben.ok(&["send", "garden", &format!("Ben {number}")]);
        eventually("Ada has the answer", || ada.texts("garden").contains(&format!("Ben {number}")));
    }
    let (ada_id, ben_id) = (ada.peer_id(), ben.peer_id());
    // Ada is gone for good before Cleo comes.
    assert!(ada.stop().success());
    cleo.start();
    eventually("Cleo has everything", || cleo.texts("garden").len() == 2 * EACH);
    assert!(!cleo.json(&["peer", "list"]).iter().any(|peer| peer["peer_id"] == ada_id.as_str()));

    let lines = cleo.json(&["read", "garden"]);
    let mut seen = HashSet::new();
    for line in &lines {
        for dependency in line["deps"].as_array().unwrap() {
            assert!(seen.contains(&text(dependency)), "{line} came before {dependency}");
        }
        assert!(seen.insert(text(&line["id"])), "{line} came twice");
        let said = text(&line["text"]);
        if let Some((who, _)) = said.split_once(' ') {
            let author = if who == "Ada" { &ada_id } else { &ben_id };
            assert_eq!(
                (line["author"].as_str(), line["author_name"].as_str()),
                (Some(author.as_str()), Some(who))
            );
        }
    }
    let answers = |number: usize| format!("Ben {number}");
    let texts: Vec<_> =
        lines.iter().filter(|line| line["kind"] == "text").map(|line| text(&line["text"])).collect();
    let expected: Vec<_> = (1..=EACH).flat_map(|number| [format!("Ada {number}"), answers(number)]).collect();
    assert_eq!(texts, expected);
    for device in [&ben, &cleo] {
        device.check();
    }
    let canonical = |device: &Device| -> Vec<String> {
        device
            .json(&["read", "garden", "--order", "canonical"])
            .iter()
            .map(|line| text(&line["id"]))
            .collect()
    };
    eventually("Ben has what Cleo said at joining", || canonical(&ben) == canonical(&cleo));
}
