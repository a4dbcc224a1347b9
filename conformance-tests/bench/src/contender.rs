//! How a contender serves, and what it tells the driver about itself.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use axum::Router;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// An error that ends a program.
pub type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Where codes are sent.
pub const CALLBACK: &str = "https://client.example/cb";
/// The client with a secret.
pub const CONFIDENTIAL: &str = "confidential";
/// The client without one.
pub const PUBLIC: &str = "public";
/// The secret of [`CONFIDENTIAL`], where it can be chosen: 32 random bytes in Base64.
pub const SECRET: &str = "q7NTo1mhU7ZoDPlUQVt4Yz3Z8vXo5mXcV2r0sFJbq9Q";
/// What is asked for.
pub const SCOPE: &str = "read";
/// How many people are signed in and have allowed both clients [`SCOPE`], once and for all.
pub const USERS: u32 = 1000;
/// From RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// From RFC 7636 appendix B.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The first line that a contender writes, as JSON, when it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// On 127.0.0.1.
    pub port: u16,
    /// The secret of [`CONFIDENTIAL`].
    pub secret: String,
    /// Where codes are asked for.
    pub authorize: String,
    /// Where tokens are.
    pub token: String,
    /// RFC 7662, if there is such a thing.
    pub introspect: Option<String>,
    /// RFC 7009, if there is such a thing.
    pub revoke: Option<String>,
    /// What Bearer tokens open.
    pub resource: String,
    /// Where a refresh token that was used long ago is found out, if it is: that ends one grant.
    pub retired: Option<String>,
}

impl Ready {
    /// Everything there, under its usual name.
    pub fn usual() -> Self {
        Self {
            port: 0,
            secret: SECRET.to_owned(),
            authorize: "/authorize".to_owned(),
            token: "/token".to_owned(),
            introspect: Some("/introspect".to_owned()),
            revoke: Some("/revoke".to_owned()),
            resource: "/resource".to_owned(),
            retired: Some("/token".to_owned()),
        }
    }
}

/// Listens on a free port until the driver closes standard input, which it also does by dying.
pub async fn listen(mut ready: Ready) -> Result<TcpListener, Fatal> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready.port = listener.local_addr()?.port();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?)?;
    Ok(listener)
}

/// Serves on axum where [`listen`] does.
pub async fn serve(app: Router, ready: Ready) -> Result<(), Fatal> {
    let listener = listen(ready).await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

/// What a handler asks for who wants to know who is signed in: as with the crates for sessions, only the cookie is
/// looked at, and the other headers stay where they are.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(signed_in(&parts.headers)))
    }
}

/// Who is signed in: the host's cookie `user=u17`. A host has a session there; looking one up is not what is measured.
pub fn signed_in(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let user = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("user="))?;
    let number: u32 = user.strip_prefix('u')?.parse().ok()?;
    (number < USERS).then(|| user.to_owned())
}
