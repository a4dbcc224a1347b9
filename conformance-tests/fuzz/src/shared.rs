//! A server that stands for many inputs, and what no answer of it may hold.

use std::cell::RefCell;

use bytes::Bytes;
use grantor::protocol::register::Registered;
use http::{HeaderMap, Method, Request};
use tokio::runtime::Runtime;

use crate::world::{Answer, PASSWORD, VERIFIER, World};

/// After so many inputs the server is a new one: what an input left behind helps to find something only for a while.
const INPUTS: u32 = 2_000;

/// A server with one client of each kind.
pub(crate) struct Standing {
    pub(crate) world: World,
    pub(crate) confidential: Registered,
    pub(crate) public: Registered,
    pub(crate) service: Registered,
    left: u32,
}

impl Standing {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let confidential = world.confidential().await;
        let public = world.public().await;
        let service = world.service().await;
        Self { world, confidential, public, service, left: INPUTS }
    }

    /// What an answer never says, whatever was asked.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let clients = [&self.confidential, &self.public, &self.service].into_iter();
        let secrets = clients.filter_map(|client| client.client_secret.as_ref());
        secrets.map(|secret| secret.expose()).chain([PASSWORD, VERIFIER])
    }

    /// Sends a request, if HTTP can say it at all. The rules of the house hold for the answer, and no secret is in it.
    pub(crate) async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: &[u8],
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .body(Bytes::copy_from_slice(body))
            .ok()?;
        *request.headers_mut() = headers;
        let answer = self.world.send(request).await;
        // A `state` comes back as it was, so what is in the address may be in the answer.
        let sent = decoded(target);
        for secret in self.secrets().filter(|secret| !sent.contains(secret)) {
            let told = answer.body.contains(secret)
                || answer.headers.values().any(|value| holds(value.as_bytes(), secret.as_bytes()));
            assert!(!told, "a secret is in {answer:?}");
        }
        Some(answer)
    }
}

/// A query as it is meant, name and value after one another.
fn decoded(target: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
        .fold(String::new(), |all, (name, value)| all + &name + "=" + &value)
}

/// Whether these bytes are among those.
pub(crate) fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    static STANDING: RefCell<Option<Standing>> = const { RefCell::new(None) };
}

/// Runs a future to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Runs with a server that has clients; several inputs share it.
pub(crate) fn with_server(ask: impl AsyncFnOnce(&Standing)) {
    let standing = STANDING.take().filter(|standing| standing.left > 0);
    run(async {
        let mut standing = match standing {
            Some(standing) => standing,
            None => Standing::new().await,
        };
        ask(&standing).await;
        standing.left -= 1;
        STANDING.set(Some(standing));
    });
}
