//! Grantor on axum: `grantor memory`, `grantor sled DIRECTORY` or `grantor redis URL`. What is not said is as it comes.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use grantor::model::{Account, Authentication, ClientId, GrantType, ScopeSet, Subject, Timestamp};
use grantor::protocol::register::Registration;
use grantor::resource::{Guard, RequiredScope};
use grantor::storage::{MemoryStorage, Storage};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};
use grantor_axum::Bearer;
use grantor_bench::contender::{
    self, CALLBACK, CHALLENGE, CONFIDENTIAL, Fatal, PUBLIC, Ready, SCOPE, USERS, serve,
};
use grantor_redis::RedisStorage;
use grantor_sled::SledStorage;
use http::{HeaderMap, Request, header};
use serde_json::Value;

#[derive(Debug)]
struct Users;

/// What the resource asks for.
struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = SCOPE;
}

async fn resource(Bearer(token, _): Bearer<Read>) -> String {
    format!("{:?}", token.subject)
}

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn verify(&self, _: &Credentials) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Refused)
    }

    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), subject.as_str())))
    }
}

/// A person in a browser, before anything is measured.
struct Person<'a> {
    server: &'a AuthorizationServer,
    authentication: Authentication,
    cookies: Vec<String>,
}

impl Person<'_> {
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

    /// Allows a client what it asks for.
    async fn allow(&mut self, client: &str) -> Result<(), Fatal> {
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
        if location.contains("code=") { Ok(()) } else { Err(done.to_string().into()) }
    }
}

fn authentication(user: &str, auth_time: Timestamp) -> Option<Authentication> {
    Some(Authentication { subject: Subject::parse(user).ok()?, auth_time })
}

async fn storage() -> Result<Arc<dyn Storage>, Fatal> {
    let mut arguments = std::env::args().skip(1);
    Ok(match (arguments.next().as_deref(), arguments.next()) {
        (Some("memory"), None) => Arc::new(MemoryStorage::new()),
        (Some("sled"), Some(directory)) => Arc::new(SledStorage::open(directory)?),
        (Some("redis"), Some(url)) => Arc::new(RedisStorage::open(&url).await?),
        _ => return Err("grantor memory | sled DIRECTORY | redis URL".into()),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let server = AuthorizationServer::builder("http://127.0.0.1:8400".parse()?)
        .shared_storage(storage().await?)
        .authenticator(Users)
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
    let secret = registered.client_secret.ok_or("there is no secret")?.expose().to_owned();
    let public = Registration {
        client_id: Some(ClientId::parse(PUBLIC)?),
        ..Registration::public("Phone App", CALLBACK, scope.clone())
    };
    server.register_client(&public).await?;
    let auth_time = server.now();
    for number in 0..USERS {
        let authentication = authentication(&format!("u{number}"), auth_time).ok_or("a name")?;
        let mut person = Person { server: &server, authentication, cookies: vec![] };
        person.allow(CONFIDENTIAL).await?;
        person.allow(PUBLIC).await?;
    }

    let who = move |headers: HeaderMap| {
        let user = contender::signed_in(&headers).and_then(|user| authentication(&user, auth_time));
        std::future::ready(Ok::<_, std::convert::Infallible>(user))
    };
    let resource = Router::new().route("/resource", get(resource)).with_state(Guard::from(&server));
    let browser = grantor_axum::router(server).layer(grantor_axum::signed_in(who));
    serve(Router::new().merge(resource).merge(browser), Ready { secret, ..Ready::usual() }).await
}
