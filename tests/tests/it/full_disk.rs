//! A disk that is full: nothing that was accepted is lost, and all goes on when there is room again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Device, befriend, eventually, failure};

/// A file system of a few MiB in memory, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(at)
            .output()
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(Self(at.to_owned())),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_loses_nothing_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(folder.path()) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped: a small file system cannot be mounted here: {why}");
            return;
        }
    };
    for with_daemon in [false, true] {
        let ballast = disk.0.join("ballast");
        // As much as all the rest: what is in the log of the store goes into the database when there is room for it.
        fs::write(&ballast, vec![0; 4 << 20]).unwrap();
        let mut ada = Device::on(&disk.0.join(format!("home-{with_daemon}")), "Ada");
        befriend(&ada, &Device::new("Ben"));
        if with_daemon {
            ada.start();
        }
        let line = |number: usize| format!("{number} {}", "x".repeat(20_000));
        let input: Vec<String> = (0..2_000).map(line).collect();
        let error = failure(&ada.with_input(&["send", "Ben", "-"], input.join("\n").as_bytes()), 1);
        assert!(error.contains("no space left on its disk"), "{error}");
        let accepted = error.split(" messages were accepted").next().and_then(|text| text.rsplit(' ').next());
        let accepted: usize = accepted.and_then(|count| count.parse().ok()).unwrap_or(0);
        assert_eq!(with_daemon, ada.daemon_runs());

        fs::remove_file(&ballast).unwrap();
        eventually("the store works again", || ada.run(&["status"]).status.success());
        assert_eq!(ada.texts("Ben"), input[..accepted], "what was accepted is there, and nothing else");
        ada.ok(&["send", "Ben", "after"]);
        assert_eq!(ada.texts("Ben").last().unwrap(), "after");
        ada.check();
        let home = ada.home().to_owned();
        drop(ada);
        fs::remove_dir_all(home).unwrap();
    }
}
