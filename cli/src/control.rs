//! The control socket: a Unix domain socket in the home, through which commands reach the daemon.
//!
//! Only processes of the same user, and of root, are served. What is said on it stands in [`request`](crate::request).

pub(crate) mod client;
pub(crate) mod lines;
pub(crate) mod server;
mod socket;
