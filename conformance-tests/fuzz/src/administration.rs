//! What the administration socket is sent.

use std::cell::RefCell;
use std::sync::Arc;

use grantor_server::admin::{AdminReply, AdminRequest, execute};
use grantor_server::users::{Directory, Sources};

use crate::shared::run;
use crate::world::World;

/// After so many commands the store is a new one.
const COMMANDS: u32 = 500;

thread_local! {
    /// One directory for all: it computes a password hash when it is made.
    static STANDING: RefCell<Option<(World, Directory, u32)>> = const { RefCell::new(None) };
}

/// A line of JSON.
///
/// ATTACKS J05, J10, K02, K14.
pub(crate) fn command(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<AdminRequest>(data) else {
        return;
    };
    let written = serde_json::to_string(&request).expect("it came from JSON");
    let again: AdminRequest = serde_json::from_str(&written).expect("its own JSON");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
    if let AdminRequest::UserAdd { username, password }
    | AdminRequest::UserSetPassword { username, password } = &request
    {
        let (shown, secret) = (format!("{request:?}"), password.0.expose());
        let told = secret.len() >= 12 && !username.contains(secret) && shown.contains(secret);
        assert!(!told, "{shown}");
        return; // A password hash is slow on purpose.
    }
    let standing = STANDING.take().filter(|(_, _, left)| *left > 0);
    let (world, users, left) = standing.unwrap_or_else(|| {
        let world = World::new();
        let users = Directory::new(Arc::clone(&world.storage), Sources::Direct);
        (world, users.expect("a directory"), COMMANDS)
    });
    let reply = run(execute(&world.server, &users, request));
    let text = serde_json::to_string(&reply).expect("a reply is JSON");
    serde_json::from_str::<AdminReply>(&text).expect("its own JSON");
    match &reply {
        AdminReply::Failed(reason) => assert!(!reason.is_empty()),
        AdminReply::Client { client_secret: Some(secret), .. } => {
            assert!(!format!("{reply:?}").contains(secret.0.expose()), "a secret is printed");
        }
        _ => {}
    }
    STANDING.set(Some((world, users, left - 1)));
}
