//! What the engines log at their loudest, and what they say of broken rules, tells no body and no secret. A program of
//! its own: the log is of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use hedgerow_tests::swarm::{BODY_MARK, Setup, run_seed};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether bytes stand in a text: as they are, in hexadecimal, or as Rust prints them.
fn leaks(text: &str, secret: &[u8]) -> bool {
    let listed = format!("{secret:?}");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let raw = std::str::from_utf8(secret).is_ok_and(|secret| text.contains(secret));
    raw || text.contains(listed.trim_matches(['[', ']'])) || text.to_lowercase().contains(&hex)
}

#[test]
fn no_log_line_and_no_error_tells_a_body_or_a_secret() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (mut secrets, mut errors) = (Vec::new(), Vec::new());
    // These have liars, and links that let damaged frames through.
    for seed in 0..30 {
        let outcome = run_seed(Setup { seed, steps: Some(30), ..Setup::default() });
        secrets.extend(outcome.secrets);
        errors.extend(outcome.errors);
    }
    let mut text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("link up") && text.contains("link ended"), "there is a log");
    assert!(!errors.is_empty() && !secrets.is_empty());
    text.push_str(&errors.join("\n"));
    assert!(!leaks(&text, BODY_MARK.as_bytes()), "a body");
    for secret in &secrets {
        assert!(!leaks(&text, secret), "{secret:?}");
    }
    // A leak would be seen.
    for form in [format!("{:?}", secrets[0]), secrets[0].iter().map(|byte| format!("{byte:02X}")).collect()] {
        assert!(leaks(&format!("{text} {form}"), &secrets[0]));
    }
    assert!(leaks(&format!("{text} {BODY_MARK} 7"), BODY_MARK.as_bytes()));
}
