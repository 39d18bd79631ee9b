//! `init`: a new home.

use std::path::Path;

use hedgerow::{Home, Node, Role};
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
    let item = InitItem {
        home: path.display().to_string(),
        peer_id: home.peer_id().to_string(),
        name: home.name().map(str::to_owned),
    };
    let node = Node::builder().open_home(home).offline().spawn().await?;
    node.shutdown().await?;
    output.item(&item, |item| format!("home     {}\npeer id  {}", item.home, item.peer_id))
}
