//! Grantor as it is embedded here: its clients, the people who are signed in at its host, and its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use grantor::engine::Clock;
use grantor::model::{
    Account, Authentication, ClientId, GrantType, ScopeSet, SecretString, Subject, Timestamp,
};
use grantor::protocol::register::Registration;
use grantor::resource::RequiredScope;
use grantor::storage::{MemoryStorage, Storage};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_redis::RedisStorage;
use grantor_sled::SledStorage;
use http::{Request, header};
use serde_json::Value;

use crate::contender::{CALLBACK, CHALLENGE, CONFIDENTIAL, Fatal, PUBLIC, SCOPE, USERS};
use crate::fill::FIRST_MADE;

#[derive(Debug)]
struct Users;

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), subject.as_str())))
    }
}

/// What the resource asks for.
#[derive(Debug)]
pub struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = SCOPE;
}

/// A clock that stands still until it is put forward.
#[derive(Clone, Debug)]
pub struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    /// Stopped when the first grant of [`fill`](crate::fill) is made.
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(i64::from(FIRST_MADE) * 1000)))
    }

    /// Puts it forward.
    pub fn advance(&self, time: Duration) {
        self.0.store(self.now().plus(time).as_millis(), Ordering::Relaxed);
    }
}

impl Default for StoppedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The store that the arguments of a program name: `memory`, `sled DIRECTORY` or `redis URL`.
pub async fn store(
    arguments: &mut impl Iterator<Item = String>,
) -> Result<Arc<dyn Storage>, Fatal> {
    let mut next = || arguments.next().unwrap_or_default();
    Ok(match next().as_str() {
        "memory" => Arc::new(MemoryStorage::new()),
        "sled" => Arc::new(SledStorage::open(next())?),
        "redis" => Arc::new(RedisStorage::open(&next()).await?),
        _ => return Err("memory | sled DIRECTORY | redis URL".into()),
    })
}

/// A server on this store, with what is not said as it comes, and the secret of [`CONFIDENTIAL`].
pub async fn server(
    storage: Arc<dyn Storage>,
    clock: impl Clock,
) -> Result<(AuthorizationServer, SecretString), Fatal> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .shared_storage(storage)
        .authenticator(Users)
        .clock(clock)
        .interaction_page("/app")
        .scope(SCOPE, "See your calendar")
        .build()?;
    let scope: ScopeSet = SCOPE.parse()?;
    let confidential = Registration {
        client_id: Some(ClientId::parse(CONFIDENTIAL)?),
        resource_server: true,
        grant_types: GrantType::ALL.to_vec(),
        ..Registration::confidential("Web App", CALLBACK, scope.clone())
    };
    let registered = server.register_client(&confidential).await?;
    let public = Registration {
        client_id: Some(ClientId::parse(PUBLIC)?),
        ..Registration::public("Phone App", CALLBACK, scope)
    };
    server.register_client(&public).await?;
    Ok((server, registered.client_secret.ok_or("there is no secret")?))
}

/// A person in a browser, who is signed in at the host.
#[derive(Debug)]
pub struct Person<'a> {
    server: &'a AuthorizationServer,
    authentication: Authentication,
    cookies: Vec<String>,
}

impl<'a> Person<'a> {
    /// Somebody who signed in at this time.
    pub fn new(
        server: &'a AuthorizationServer,
        user: &str,
        auth_time: Timestamp,
    ) -> Result<Self, Fatal> {
        let authentication = Authentication { subject: Subject::parse(user)?, auth_time };
        Ok(Self { server, authentication, cookies: vec![] })
    }

    /// Sends a request, the way a script on the host's page does, and returns where it leads or what it says.
    async fn send(&mut self, address: &str, body: Option<&Value>) -> Result<Value, Fatal> {
        let mut request = Request::builder()
            .method(if body.is_some() { "POST" } else { "GET" })
            .uri(address)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::COOKIE, self.cookies.join("; "))
            .header("sec-fetch-site", "same-origin")
            .body(Bytes::from(body.map(Value::to_string).unwrap_or_default()))?;
        request.extensions_mut().insert(self.authentication.clone());
        let answer = self.server.handle(request).await;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            self.cookies.extend(cookie.to_str()?.split(';').next().map(str::to_owned));
        }
        match answer.headers().get(header::LOCATION) {
            Some(location) => Ok(Value::from(location.to_str()?)),
            None => Ok(serde_json::from_slice(answer.body())?),
        }
    }

    /// Allows a client what it asks for. The answer is the code.
    pub async fn allow(&mut self, client: &str) -> Result<String, Fatal> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", client),
                ("redirect_uri", CALLBACK),
                ("response_type", "code"),
                ("scope", SCOPE),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let to = self.send(&format!("/authorize?{query}"), None).await?;
        let (_, handle) =
            to.as_str().and_then(|to| to.split_once('?')).ok_or_else(|| to.to_string())?;
        let page = self.send(&format!("/interaction?{handle}"), None).await?;
        let member = |name: &str| page.get(name).ok_or_else(|| page.to_string());
        let mut form = member("fields")?.as_object().cloned().ok_or_else(|| page.to_string())?;
        form.insert("decision".to_owned(), "allow".into());
        form.insert("scope".to_owned(), Value::from(vec![SCOPE]));
        let action = member("action")?.as_str().ok_or_else(|| page.to_string())?;
        let done = self.send(action, Some(&form.into())).await?;
        let location = done.get("location").unwrap_or(&done).as_str().unwrap_or_default();
        code_in(location).ok_or_else(|| done.to_string().into())
    }
}

/// Has everybody allow both clients what these ask for, and returns when they all signed in.
pub async fn remember_consents(server: &AuthorizationServer) -> Result<Timestamp, Fatal> {
    let auth_time = server.now();
    for number in 0..USERS {
        let mut person = Person::new(server, &format!("u{number}"), auth_time)?;
        person.allow(CONFIDENTIAL).await?;
        person.allow(PUBLIC).await?;
    }
    Ok(auth_time)
}

/// The code in an address that a browser is sent to.
pub fn code_in(location: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "code").map(|(_, code)| code.into_owned())
}
