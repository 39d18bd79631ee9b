//! Small worlds that are explored whole, and broken ones in which the checker must find what is broken.

use hedgerow_sync_core::record::{AckState, Facts, Hold, Input, step};

use super::*;

/// Explores all of a scenario, or as much as fits into a test.
fn whole(scenario: &Scenario) -> Report {
    explore(scenario, Options { max_states: 200_000, ..Options::default() }, |_, _| {})
}

fn of(name: &str) -> Scenario {
    catalogue().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn holds(scenario: &Scenario) {
    let report = whole(scenario);
    assert!(report.breach.is_none(), "{}: {:#?}", scenario.name, report.breach);
    assert!(report.complete, "{}: {} states and more", scenario.name, report.states);
    assert!(report.states > 100 && report.fair_runs == report.states, "{report:?}");
}

#[test]
fn one_message_over_a_link_that_breaks() {
    holds(&of("cut").posts(&[(0, &[])]));
}

#[test]
fn a_node_that_stops_at_any_moment() {
    holds(&of("crash").budgets(Budgets { crashes: 1, capacity: 1, ..Budgets::default() }));
}

#[test]
fn a_lossy_link_that_loses_and_repeats() {
    holds(&of("lossy").budgets(Budgets { losses: 1, repeats: 1, capacity: 1, ..Budgets::default() }));
}

#[test]
fn a_message_that_is_offered_first() {
    holds(&of("offer").posts(&[(0, &[])]));
}

#[test]
fn a_peer_that_lies_once() {
    let report = explore(&of("lie"), Options { max_states: 5_000, ..Options::default() }, |_, _| {});
    assert!(report.breach.is_none(), "{:#?}", report.breach);
    assert_eq!(report.fair_runs, report.states);
}

#[test]
fn a_message_that_expires_at_any_moment() {
    holds(&of("expiry").budgets(Budgets { timers: 1, capacity: 1, ..Budgets::default() }));
}

#[test]
fn a_peer_that_lies_about_what_was_pruned() {
    let report = explore(&of("tombstone"), Options { max_states: 5_000, ..Options::default() }, |_, _| {});
    assert!(report.breach.is_none(), "{:#?}", report.breach);
    assert_eq!(report.fair_runs, report.states);
}

#[test]
fn three_peers_in_a_line() {
    holds(&of("line").posts(&[(0, &[])]));
}

#[test]
fn the_search_is_the_same_every_time() {
    let (first, second) = (whole(&of("fork")), whole(&of("fork")));
    assert_eq!((first.states, first.transitions), (second.states, second.transitions));
    assert_eq!((first.nodes, first.frames), (second.nodes, second.frames));
}

#[test]
fn a_search_that_was_stopped_says_so() {
    let stopped = |max_states, max_nodes| {
        let report = explore(&of("pair"), Options { max_states, max_nodes }, |_, _| {});
        assert!(report.breach.is_none());
        assert_eq!(report.complete, report.stopped.is_none());
        report.stopped
    };
    assert_eq!(stopped(100, u64::MAX), Some(Stopped::States(100)));
    assert_eq!(stopped(u64::MAX, 50), Some(Stopped::Nodes(50)));
    assert_eq!(stopped(u64::MAX, u64::MAX), None);
}

#[test]
fn the_function_of_one_peer_and_one_message_holds() {
    let report = records::check();
    assert!(report.breach.is_none(), "{:#?}", report.breach);
    assert!(report.pairs == 432 * 15 && report.states > 1000, "{report:?}");
}

/// Breaks a world and expects the checker to say this, with the way there.
fn finds(scenario: Scenario, sabotage: Sabotage, what: &str) {
    let report = whole(&scenario.broken(sabotage));
    let breach =
        report.breach.unwrap_or_else(|| panic!("{sabotage:?} was not seen in {} states", report.states));
    assert!(breach.what.contains(what), "{sabotage:?}: {breach:#?}");
    assert!(breach.path.len() > 2 && breach.path.iter().all(|step| !step.is_empty()), "{breach:#?}");
}

#[test]
fn a_store_that_forgets_its_last_commit_is_seen() {
    finds(of("crash"), Sabotage::CommitForgets, "the application was given");
}

#[test]
fn a_carrier_that_drops_a_frame_and_goes_on_is_seen() {
    let budgets = Budgets { losses: 1, capacity: 1, ..Budgets::default() };
    finds(of("pair").posts(&[(0, &[])]).budgets(budgets), Sabotage::CarrierDrops, "");
}

#[test]
fn an_acknowledgement_of_too_much_is_seen() {
    finds(of("pair"), Sabotage::AcksTooMuch, "acknowledges");
}

#[test]
fn an_acknowledgement_of_a_lost_frame_is_seen() {
    finds(of("lossy"), Sabotage::FramesAcknowledgedBlindly, "in a fair network");
}

#[test]
fn a_client_that_forgets_its_cursor_is_seen() {
    finds(of("crash"), Sabotage::CursorForgotten, "delivery goes on at 1");
}

#[test]
fn a_frame_in_the_wrong_session_is_seen() {
    finds(of("two-links"), Sabotage::WrongSession, "accused");
}

#[test]
fn a_client_that_forgets_when_a_message_expires_is_seen() {
    finds(of("expiry"), Sabotage::ExpiryForgotten, "after its time");
}

#[test]
fn broken_functions_of_one_peer_and_one_message_are_seen() {
    let broken: [(records::StepFn, &str); 4] = [
        // Acknowledges what it was only offered.
        (
            |facts, input| {
                let ack = if input == Input::Offer { AckState::Owed } else { step(facts, input).ack };
                Facts { ack, ..step(facts, input) }
            },
            "not held",
        ),
        // Takes an ACK that was lost for one that arrived.
        (
            |facts, input| {
                let after = step(facts, input);
                let lost = input == Input::Lost && facts.ack == AckState::Sent;
                if lost { Facts { ack: AckState::Settled, ..after } } else { after }
            },
            "taken for arrived",
        ),
        // Believes that whatever it sends arrives.
        (
            |facts, input| Facts {
                peer_has: step(facts, input).peer_has || input == Input::SentMessage,
                ..step(facts, input)
            },
            "did not say",
        ),
        // Does not keep what comes.
        (
            |facts, input| {
                let after = step(facts, input);
                let keeps = facts.hold != Hold::Absent || input != Input::Message;
                if keeps { after } else { Facts { hold: Hold::Absent, ack: AckState::Settled, ..after } }
            },
            "never arrives",
        ),
    ];
    for (step, what) in broken {
        let breach = records::check_with(step).breach.expect(what);
        assert!(breach.what.contains(what), "{breach:#?}");
        assert!(!breach.path.is_empty());
    }
}
