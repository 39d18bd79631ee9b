//! `init`: a new home.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hedgerow::{Home, HomeError, Node, Role};
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;

#[derive(Debug, Serialize)]
struct InitItem {
    home: String,
    peer_id: String,
    name: Option<String>,
}

/// Makes keys and an empty store.
pub(super) async fn init(path: &Path, name: Option<&str>, output: Output) -> Result<(), CliError> {
    let home = Home::create(path, name, Role::Command)?;
    // The folder may have been there before.
    make_private(path)?;
    let item = InitItem {
        home: path.display().to_string(),
        peer_id: home.peer_id().to_string(),
        name: home.name().map(str::to_owned),
    };
    let node = Node::builder().open_home(home).offline().spawn().await?;
    node.shutdown().await?;
    output.item(&item, |item| format!("home     {}\npeer id  {}", item.home, item.peer_id))
}

/// Takes all access from everybody but the owner.
pub(super) fn make_private(path: &Path) -> Result<(), CliError> {
    let failed = |error| CliError::Home(HomeError::Io { path: path.to_owned(), error });
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}
