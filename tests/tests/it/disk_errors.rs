//! System calls of the real binary that fail: it ends with a clear error or goes on, and nothing accepted is lost.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Device, befriend};

/// Whether calls can be disturbed here; prints why not.
fn can_trace() -> bool {
    let tried =
        Command::new("strace").args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!(
                "skipped: strace does not work here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            false
        }
        Err(error) => {
            eprintln!("skipped: there is no strace: {error}");
            false
        }
    }
}

/// Runs a command of the binary under test, whose system calls fail as `inject` says.
fn disturbed(home: &Path, inject: &str, args: &[&str]) -> Output {
    let mut command = Command::new("strace");
    // The other calls are left alone, or each of them would stop the process for a while.
    let calls = inject.split_once(':').map_or(inject, |(calls, _)| calls);
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    command.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    command.arg(env!("CARGO_BIN_EXE_hedgerow-under-test")).args(args);
    command.env_remove("HEDGEROW_LOG").env("HEDGEROW_HOME", home).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_disk_that_fails_a_write_or_a_sync_loses_nothing_that_was_accepted() {
    if !can_trace() {
        return;
    }
    let rounds: usize =
        std::env::var("HEDGEROW_DISK_ERRORS").ok().map_or(1, |rounds| rounds.parse().expect("a number"));
    let ada = Device::new("Ada");
    befriend(&ada, &Device::new("Ben"));
    let mut accepted = Vec::new();
    let mut refused = 0;
    for round in 0..rounds {
        for (at, calls, error) in [
            (1, "pwrite64", "EIO"),
            (4, "pwrite64", "ENOSPC"),
            (9, "pwrite64", "EIO"),
            (1, "fdatasync,fsync", "EIO"),
            (2, "fdatasync,fsync", "EIO"),
            (3, "fdatasync,fsync", "ENOSPC"),
            (2, "ftruncate", "EIO"),
        ] {
            let at = at + round;
            let text = format!("{calls} {error} at {at}");
            let output = disturbed(
                ada.home(),
                &format!("{calls}:error={error}:when={at}"),
                &["send", "--patience", "1s", "Ben", &text],
            );
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => accepted.push(text.clone()),
                Some(1) => {
                    refused += 1;
                    assert_eq!(
                        errors.lines().filter(|line| line.contains("error")).count(),
                        1,
                        "{text}: {errors}"
                    );
                }
                other => panic!("{text}: ended with {other:?}: {errors}"),
            }
            ada.check();
            let there = ada.texts("Ben");
            // What was refused may be there after all when a sync failed: then it stays.
            let kept: Vec<&String> = there.iter().filter(|text| accepted.contains(text)).collect();
            assert!(kept.iter().copied().eq(accepted.iter()), "after {text}: {there:?}");
            if there.contains(&text) && !accepted.contains(&text) {
                accepted.push(text);
            }
        }
    }
    assert!(refused > 0, "no call was disturbed");
}
