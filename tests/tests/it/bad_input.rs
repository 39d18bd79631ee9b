//! What people get wrong: each ends in one clear line that names the rule, and the documented exit code.

use hedgerow::PeerTicket;
use serde_json::Value;

use crate::support::{Device, befriend, failure, hedgerow, text};

/// The longest text of a message, in bytes.
const MAX_TEXT: usize = 30_000;

#[test]
fn a_text_over_the_limit_is_refused_and_nothing_before_it_is_lost() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    let longest = "x".repeat(MAX_TEXT);
    ada.ok(&["send", "Ben", &longest]);
    let error = ada.fails(1, &["send", "Ben", &format!("{longest}y")]);
    assert!(error.contains("30000") && error.contains("30001"), "{error}");
    assert!(ada.fails(1, &["send", "Ben", ""]).contains("30000"));

    let input = format!("one\n\ntwo\n{longest}y\nthree\n");
    let error = failure(&ada.with_input(&["send", "Ben", "-"], input.as_bytes()), 1);
    assert!(error.contains("line 4") && error.contains("2 messages were accepted"), "{error}");
    let error = failure(&ada.with_input(&["send", "Ben", "-"], b"four\n\xff\xfe\n"), 1);
    assert!(error.contains("line 2") && error.contains("UTF-8"), "{error}");
    assert_eq!(ada.texts("Ben"), [&longest, "one", "two", "four"]);
    ada.check();
}

#[test]
fn wrong_tickets_are_told_apart() {
    let (mut ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.ok(&["group", "create", "garden"]);
    ada.ok(&["group", "create", "square", "--public"]);
    let for_ben = text(&ada.json(&["group", "invite", "garden", &ben.peer_id()])[0]["ticket"]);
    let link = text(&ada.json(&["group", "link", "square"])[0]["ticket"]);
    let (mine, theirs) = (ada.ticket(), ben.ticket());
    let other = if &theirs[30..31] == "a" { "b" } else { "a" };
    let mistyped = [&theirs[..30], other, &theirs[31..]].concat();
    let check = |ada: &Device| {
        for (args, rule) in [
            (["peer", "add", "nonsense"], "not a Hedgerow ticket"),
            (["peer", "add", &theirs[..theirs.len() - 3]], "checksum"),
            (["peer", "add", &mistyped], "checksum"),
            (["peer", "add", &link], "this is a group ticket, a peer ticket is wanted"),
            (["peer", "add", &mine], "own ticket"),
            (["group", "join", &theirs], "this is a peer ticket, a group ticket is wanted"),
            (["group", "join", &for_ben], "the invitation is for"),
            (["group", "link", "garden"], "private"),
            (["group", "link", "nowhere"], "nowhere"),
        ] {
            let error = ada.fails(1, &args);
            assert!(error.contains(rule), "{args:?}: {error}");
        }
    };
    check(&ada);
    ada.start();
    check(&ada);
    // Nothing has changed, and the right tickets work.
    assert!(ada.json(&["peer", "list"]).is_empty());
    ben.ok(&["group", "join", &for_ben]);
    ben.ok(&["group", "join", &link]);
    ada.ok(&["peer", "add", &theirs]);
}

#[test]
fn a_ticket_of_a_later_version_and_too_many_addresses_are_refused() {
    let ada = Device::new("Ada");
    let peer = Device::new("Ben").peer_id().parse().unwrap();
    assert!(PeerTicket::new(peer, None, vec!["tcp://127.0.0.1:1".to_owned(); 17]).is_err());
    let error = ada.fails(1, &["peer", "add", &format!("hedgerow-peer:{}", "a".repeat(9_000))]);
    assert!(error.contains("8192"), "{error}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_a_failed_job_is_1() {
    let ada = Device::new("Ada");
    for args in [
        &["dance"][..],
        &["send", "Ben"],
        &["read", "Ben", "--order", "random"],
        &["read", "Ben", "--from", "x"],
        &["read", "Ben", "--follow", "--order", "canonical"],
        &["run", "--listen", "127.0.0.1:1"],
        &["demo", "--loss", "2"],
        &["demo", "--peers", "1"],
        &[],
    ] {
        let output = ada.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    let help = ada.ok(&["--help"]);
    for code in ["0  the command has done its job", "1  the job failed", "2  wrong usage"] {
        assert!(help.contains(code), "{help}");
    }
    for (args, what) in [
        (&["send", "nobody", "hi"][..], "nobody"),
        (&["read", "nobody"], "nobody"),
        (&["peer", "remove", "nobody"], "nobody"),
        (&["group", "invite", "nowhere", "nobody"], "nowhere"),
        (&["init"], "already"),
        (&["group", "create", ""], "1 to 64 bytes"),
        (&["run", "--listen", "pigeon://home"], "pigeon"),
    ] {
        let error = ada.fails(1, args);
        assert!(error.contains(what), "{args:?}: {error}");
        let output = ada.run(&[args, &["--json"]].concat());
        let error: Value = serde_json::from_str(&failure(&output, 1)).unwrap();
        assert!(text(&error["error"]).contains(what) && error["exit"] == 1, "{error}");
    }
}

#[test]
fn without_a_home_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("none");
    for args in [&["id"][..], &["status"], &["run"], &["send", "a", "b"], &["check"]] {
        let error = failure(&hedgerow(&home, args).output().unwrap(), 1);
        assert!(error.contains("there is no home in") && error.contains("hedgerow init"), "{error}");
        assert!(!home.exists());
    }
    let error = failure(&hedgerow(&home, &["init", "--name", &"x".repeat(65)]).output().unwrap(), 1);
    assert!(error.contains("64"), "{error}");
    assert!(!home.exists());
}

#[test]
fn control_characters_of_others_do_not_reach_the_terminal() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "\u{1b}[2J\u{7}gone"]);
    let shown = ada.ok(&["read", "Ben"]);
    assert!(shown.contains("gone") && !shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
    assert_eq!(ada.texts("Ben"), ["\u{1b}[2J\u{7}gone"], "JSON has it as it is");
}
