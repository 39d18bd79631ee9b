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

#[cfg(unix)]
#[test]
fn access_that_others_had_is_taken_from_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    // A folder that was there, with a piece of an identity from an attempt that did not come to its end.
    fs::create_dir(&path).unwrap();
    set(&path, 0o755);
    let part = path.join("identity.part");
    fs::write(&part, "old").unwrap();
    set(&part, 0o644);
    assert!(matches!(Home::create(&path, None, Role::Node), Err(HomeError::NotPrivate(_))));
    assert_eq!((mode(&path), mode(&part)), (0o755, 0o644), "nothing is changed");
    fs::remove_file(&part).unwrap();
    drop(Home::create(&path, Some("a"), Role::Node).unwrap());
    assert_eq!(mode(&path), 0o700, "an empty one is ours");

    set(&path, 0o777);
    for file in ["identity", "name", "lock"] {
        set(&path.join(file), 0o664);
    }
    fs::write(path.join("store.db"), "").unwrap();
    set(&path.join("store.db"), 0o644);
    // A link is not followed: what it leads to is not of this home.
    fs::write(folder.path().join("other"), "").unwrap();
    set(&folder.path().join("other"), 0o644);
    std::os::unix::fs::symlink(folder.path().join("other"), path.join("link")).unwrap();
    drop(Home::open(&path, Role::Node, NOW).unwrap());
    assert_eq!(mode(&path), 0o700);
    for file in ["identity", "name", "lock", "store.db"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&folder.path().join("other")), 0o644);
}

#[test]
fn debug_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), Some("a"), Role::Node).unwrap();
    let seed = home.seed();
    for text in [format!("{home:?}"), format!("{home:#?}")] {
        assert!(
            text.contains(&home.peer_id().short()) || text.contains(&home.peer_id().to_string()),
            "{text}"
        );
        let flat: String = text.split_whitespace().collect();
        let list = seed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        assert!(
            !flat.contains(&list) && !flat.contains(&HEXLOWER_PERMISSIVE.encode(seed.as_ref())),
            "{text}"
        );
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
