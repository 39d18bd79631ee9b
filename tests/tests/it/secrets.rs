//! What is secret stays so: in logs, in printed values, in the file system, on the control socket.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use hedgerow::transports::{TcpTransport, UdpTransport};
use hedgerow::{Home, Identity, MemoryNetwork, Node, Role};

use crate::support::{Device, befriend, eventually, hedgerow, signal};

/// What stands for these bytes in a text: as digits, as letters, and as lists of numbers. Of the bytes the first fifteen,
/// of which base 32 and base 64 make whole letters whatever follows.
fn forms(secret: &[u8]) -> Vec<String> {
    let start = &secret[..15];
    let list =
        |separator: &str, form: fn(&u8) -> String| start.iter().map(form).collect::<Vec<_>>().join(separator);
    let base32 = BASE32_NOPAD.encode(start);
    let mut forms = vec![HEXLOWER.encode(start), base32.to_lowercase(), BASE64.encode(start)];
    forms.extend([",", ", ", " ", ",\n"].map(|separator| list(separator, ToString::to_string)));
    forms.extend([",", ", ", " ", ":"].map(|separator| list(separator, |byte| format!("{byte:02x}"))));
    forms.extend([",", ", "].map(|separator| list(separator, |byte| format!("{byte:#x}"))));
    forms
}

/// All secrets that come of a seed.
fn secrets(seed: &[u8; 32]) -> Vec<Vec<u8>> {
    let link = blake3::derive_key("hedgerow 2026-11 link x25519 static key", seed);
    let scalar = ed25519_dalek::SigningKey::from_bytes(seed).to_scalar_bytes();
    vec![seed.to_vec(), link.to_vec(), scalar.to_vec()]
}

/// Where a secret stands in a text, if it does, whatever the case and the spaces.
fn find(text: &str, seed: &[u8; 32]) -> Option<String> {
    let flat = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let (lower, flat_text) = (text.to_lowercase(), flat(text));
    let forms = secrets(seed).iter().flat_map(|secret| forms(secret)).collect::<Vec<_>>();
    forms.into_iter().find(|form| {
        text.contains(form.as_str())
            || lower.contains(&form.to_lowercase())
            || (form.contains(',') && flat_text.contains(&flat(form)))
    })
}

fn seed_of(home: &Path) -> [u8; 32] {
    let text = fs::read_to_string(home.join("identity")).unwrap();
    HEXLOWER.decode(text.trim().as_bytes()).unwrap().try_into().unwrap()
}

#[test]
fn the_search_for_secrets_finds_them() {
    let seed: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 7 + 1).unwrap());
    for secret in secrets(&seed) {
        let shown = [
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{secret:02x?}"),
            HEXLOWER.encode(&secret).to_uppercase(),
            BASE32_NOPAD.encode(&secret),
            BASE64.encode(&secret),
        ];
        for text in shown {
            assert!(find(&format!("it is {text}."), &seed).is_some(), "{text}");
        }
    }
    assert_eq!(find("nothing", &seed), None);
}

#[test]
fn no_log_and_no_output_shows_a_secret() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    let folder = tempfile::tempdir().unwrap();
    let mut daemons = Vec::new();
    let mut texts = String::new();
    for (device, name) in [(&ada, "ada"), (&ben, "ben")] {
        let log = File::create(folder.path().join(name)).unwrap();
        let mut run = hedgerow(
            device.home(),
            &["run", "--listen", "tcp://127.0.0.1:0", "--listen", "udp://127.0.0.1:0"],
        );
        let run = run.env("HEDGEROW_LOG", "trace").stdin(Stdio::null());
        daemons.push(run.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }
    let serves =
        |device: &Device| device.json(&["id"])[0]["addresses"].as_array().is_some_and(|all| !all.is_empty());
    eventually("both daemons run", || serves(&ada) && serves(&ben));
    befriend(&ada, &ben);
    // Things that work, and things that do not.
    ada.ok(&["send", "Ben", "hello"]);
    eventually("they are linked", || ben.texts("Ada") == ["hello"]);
    for args in [
        &["id"][..],
        &["status"],
        &["peer", "list"],
        &["group", "create", "garden"],
        &["group", "invite", "garden", "Ben"],
        &["group", "list"],
        &["check"],
        &["peer", "add", "hedgerow-peer:nonsense"],
        &["init"],
        &["run"],
        &["send", "nobody", "x"],
    ] {
        let mut command = hedgerow(ada.home(), args);
        let output = command.env("HEDGEROW_LOG", "trace").stdin(Stdio::null()).output().unwrap();
        texts.push_str(&String::from_utf8_lossy(&output.stdout));
        texts.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    // Somebody who does not speak the protocol.
    let address = ada.json(&["id"])[0]["addresses"][0].as_str().unwrap().to_owned();
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let _ =
        std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| stream.write_all(b"hello"));
    for mut daemon in daemons {
        signal("TERM", daemon.id());
        daemon.wait().unwrap();
    }
    // Without the daemon, so that the command itself opens keys and store.
    let output = hedgerow(ada.home(), &["status"]).env("HEDGEROW_LOG", "trace").output().unwrap();
    texts.push_str(&String::from_utf8_lossy(&output.stderr));
    // A damaged identity is not quoted.
    let identity = ben.home().join("identity");
    let seed_of_ben = seed_of(ben.home());
    fs::write(&identity, format!("{}x\n", HEXLOWER.encode(&seed_of_ben))).unwrap();
    texts.push_str(&ben.fails(1, &["status"]));
    for name in ["ada", "ben"] {
        let log = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log of {name} is on");
        texts.push_str(&log);
    }
    assert!(texts.contains(&ada.peer_id()), "public keys are shown");
    for seed in [seed_of(ada.home()), seed_of_ben] {
        let shown = find(&texts, &seed);
        assert!(shown.is_none(), "a secret is shown: {shown:?}");
    }
}

#[test]
fn no_debug_text_shows_a_secret() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), Some("Ada"), Role::Node).unwrap();
    let seed = seed_of(folder.path());
    let identity = Identity::from_seed(&seed);
    let network = MemoryNetwork::new();
    let builder = Node::builder().memory_with_key(seed);
    let mut texts = vec![format!("{home:?}{home:#?}"), format!("{identity:?}{identity:#?}")];
    texts.push(format!("{builder:?}{builder:#?}"));
    let node = runtime.block_on(builder.spawn()).unwrap();
    texts.push(format!("{node:?}{node:#?}"));
    let author = hedgerow::clients::Author::from_seed(&seed);
    texts.push(format!("{author:?}{author:#?}"));
    let (tcp, udp) = (TcpTransport::new(identity.clone()), UdpTransport::new(identity.clone()));
    let memory = network.transport(identity);
    texts.push(format!("{tcp:?}{tcp:#?}{udp:?}{udp:#?}{memory:?}{memory:#?}"));
    let opened = Node::builder().open_home(home);
    texts.push(format!("{opened:?}{opened:#?}"));
    for text in texts {
        assert_eq!(find(&text, &seed), None, "{text}");
    }
}

#[test]
fn a_home_is_private_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("deep/home");
        let binary = env!("CARGO_BIN_EXE_hedgerow-under-test");
        let start = |args: &str| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("umask {umask}; exec {binary} {args}"));
            command.env("HEDGEROW_HOME", &home).env_remove("HEDGEROW_LOG").stdin(Stdio::null());
            command
        };
        assert!(start("init --name Ada").output().unwrap().status.success());
        let mut daemon = start("run --listen tcp://127.0.0.1:0").stdout(Stdio::null()).spawn().unwrap();
        eventually("the daemon serves", || UnixStream::connect(home.join("control.sock")).is_ok());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let mut files = Vec::new();
        for entry in fs::read_dir(&home).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{} under umask {umask}", path.display());
            files.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
        for file in ["identity", "name", "lock", "store.db", "store.db-wal", "listen.json", "control.sock"] {
            assert!(files.iter().any(|other| other == file), "{file} is not among {files:?}");
        }
        assert_eq!(mode(&home), 0o700);
        signal("TERM", daemon.id());
        daemon.wait().unwrap();
    }
}

#[test]
fn a_home_that_was_open_to_others_is_closed_when_it_is_used() {
    let mut ada = Device::new("Ada");
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(ada.home(), 0o755);
    set(&ada.home().join("identity"), 0o644);
    let output = hedgerow(ada.home(), &["status"]).env("HEDGEROW_LOG", "warn").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("others had access"), "it is said");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(ada.home()), mode(&ada.home().join("identity"))), (0o700, 0o600));
    ada.start();
    // A folder with other things in it is nobody's home yet.
    let folder = tempfile::tempdir().unwrap();
    set(folder.path(), 0o755);
    fs::write(folder.path().join("notes"), "").unwrap();
    let output = hedgerow(folder.path(), &["init"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 700"));
    assert_eq!(mode(folder.path()), 0o755);
}

#[test]
fn the_control_socket_refuses_other_users() {
    let whoami = Command::new("id").arg("-u").output().unwrap();
    let has_setpriv =
        Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    if whoami.stdout != b"0\n" || !has_setpriv {
        eprintln!("skipped: only root can become another user, and needs setpriv for it");
        return;
    }
    // A place that others can reach, with the program itself in it.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hedgerow");
    fs::copy(env!("CARGO_BIN_EXE_hedgerow-under-test"), &program).unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(folder.path(), 0o755);
    set(&program, 0o755);
    let home = folder.path().join("home");
    let mut ada = Device::on(&home, "Ada");
    ada.start();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(args);
        command.env("HEDGEROW_HOME", &home).stdin(Stdio::null()).output().unwrap()
    };
    assert!(as_nobody(&["--version"]).status.success(), "another user can run the program");
    // The folder lets nobody in.
    let output = as_nobody(&["group", "create", "evil"]);
    assert!(!output.status.success());
    // Even when the folder and the socket are open by mistake, the daemon looks at who it is.
    set(&home, 0o755);
    set(&home.join("control.sock"), 0o666);
    let output = as_nobody(&["group", "create", "evil"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("went away"), "{error}");
    assert!(ada.json(&["group", "list"]).is_empty());
    ada.ok(&["group", "create", "mine"]);
    assert_eq!(ada.json(&["group", "list"]).len(), 1);
}

#[test]
fn a_flood_on_the_control_socket_harms_no_later_command() {
    let mut ada = Device::new("Ada");
    ada.start();
    let connect = || UnixStream::connect(ada.home().join("control.sock")).unwrap();
    // Connections that come and go, with nonsense and with nothing.
    for n in 0..1_000_u32 {
        let mut stream = connect();
        let nonsense: &[u8] = match n % 4 {
            0 => b"",
            1 => b"\n",
            2 => b"{\"v\":1,\"request\":{\"send\":{}}}\n",
            _ => b"\xff\xfe{{{{{{{{[[[[[[[[\n",
        };
        let _ = stream.write_all(nonsense);
    }
    eventually("the flood is over", || ada.run(&["status"]).status.success());
    // A line that never ends is cut off with an answer, and not kept.
    let mut endless = connect();
    let piece = vec![b'x'; 1 << 16];
    let mut written = 0;
    while written < (64 << 20) && endless.write_all(&piece).is_ok() {
        written += piece.len();
    }
    assert!(written < (8 << 20), "{written} bytes of one line were taken");
    let mut answer = String::new();
    let _ = endless.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.contains("longer than"), "{answer}");
    // Deep nesting is an error, and not the end of the daemon.
    let mut deep = connect();
    let _ = deep.write_all(&[vec![b'['; 500_000], b"\n".to_vec()].concat());
    let mut answer = String::new();
    let _ = deep.read_to_string(&mut answer);
    assert!(answer.contains("error"), "{answer}");
    eventually("commands are served", || ada.run(&["status"]).status.success());
    assert!(ada.daemon_runs());
}
