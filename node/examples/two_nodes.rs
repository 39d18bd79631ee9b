//! Two nodes chat.

use hedgerow::{MemoryNetwork, Node};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two nodes in one process. In earnest: `.home("…").listen("tcp://0.0.0.0:4711")`.
    let network = MemoryNetwork::new();
    let ada = Node::builder().memory().name("Ada").network(&network, "ada").spawn().await?;
    let ben = Node::builder().memory().name("Ben").network(&network, "ben").spawn().await?;

    // Contacts are mutual: each adds the other's ticket, a text that people hand each other.
    ada.add_peer(&ben.ticket()?).await?;
    ben.add_peer(&ada.ticket()?).await?;

    // Send, and receive.
    ada.direct(ben.peer_id()).await?.send("Hello Ben!").await?;
    let message = ben.direct(ada.peer_id()).await?.stream("inbox").await?.next().await?;
    println!("{}: {}", message.shown_author(), message.text().unwrap_or_default());

    ada.shutdown().await?;
    Ok(ben.shutdown().await?)
}
