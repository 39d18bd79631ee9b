use super::*;

const NOW: Duration = Duration::ZERO;

#[test]
fn a_home_keeps_its_keys_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/home");
    assert!(matches!(Home::open(&path, Role::Node, NOW), Err(HomeError::NotAHome(_))));
    let peer = {
        let mut home = Home::create(&path, Some("alice"), Role::Command).unwrap();
        home.set_name("Alice B.").unwrap();
        home.peer_id()
    };
    let home = Home::open(&path, Role::Daemon, NOW).unwrap();
    assert_eq!((home.peer_id(), home.name()), (peer, Some("Alice B.")));
    drop(home);
    assert!(matches!(Home::create(&path, None, Role::Node), Err(HomeError::Exists(_))));
    assert_eq!(Home::open_or_create(&path, None, Role::Node, NOW).unwrap().peer_id(), peer);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), None, Role::Daemon).unwrap();
    let expected = Holder { role: Some(Role::Daemon), pid: Some(std::process::id()) };
    let Err(HomeError::Locked { holder, .. }) = Home::open(folder.path(), Role::Command, NOW) else {
        panic!("opened twice");
    };
    assert_eq!(holder, expected);
    assert_eq!(Home::holder(folder.path()).unwrap(), Some(expected));
    drop(home);
    assert_eq!(Home::holder(folder.path()).unwrap(), None);
    assert!(Home::open(folder.path(), Role::Command, NOW).is_ok());
}

#[test]
fn one_who_waits_gets_it_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), None, Role::Command).unwrap();
    let path = folder.path().to_owned();
    let waiting = std::thread::spawn(move || Home::open(path, Role::Node, Duration::from_secs(60)).map(drop));
    std::thread::sleep(Duration::from_millis(30));
    drop(home);
    assert!(waiting.join().unwrap().is_ok());
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    Home::create(&path, Some("a"), Role::Node).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in [IDENTITY_FILE, NAME_FILE, "lock"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
}

#[test]
fn damage_and_bad_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(Home::create(folder.path(), Some(name), Role::Node), Err(HomeError::Name(_))));
    }
    assert!(!Home::exists(folder.path()));
    drop(Home::create(folder.path(), None, Role::Node).unwrap());
    fs::write(folder.path().join(IDENTITY_FILE), "00ff").unwrap();
    assert!(matches!(Home::open(folder.path(), Role::Node, NOW), Err(HomeError::BadIdentity(_))));
}
