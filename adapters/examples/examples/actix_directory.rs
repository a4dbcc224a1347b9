//! An actix-web program that has sessions (`actix-session`) and asks a directory over HTTP who its users are.
//! The directory is slow at times, and at times it is not there.
//!
//! Grantor sends a visitor whom it does not know to `/login`. This program finds out who it is and keeps
//! that in its session, as it always did. What the directory did not say is never taken for "no".

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use actix_session::storage::CookieSessionStore;
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::error::ErrorServiceUnavailable;
use actix_web::web::{Data, Form, Html, post, resource};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder};
use grantor::engine::Builder;
use grantor::model::{Account, Authentication, Subject};
use grantor::wire::LoginRequest;
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials};
use grantor_actix_web::{Token, configure, login_request, require_scope, signed_in};
use grantor_sled::SledStorage;
use reqwest::Client;

/// Who the users are: a client that does not wait for ever, and where the directory is.
#[derive(Clone, Debug)]
pub struct Users(pub Client, pub String);

impl Users {
    /// What the directory says. An error is nothing that it has said.
    async fn ask(&self, what: &str, form: &[(&str, &str)]) -> reqwest::Result<Option<String>> {
        let answer = self.0.post(format!("{}{what}", self.1)).form(form).send().await?;
        answer.error_for_status()?.json().await
    }
}

#[async_trait::async_trait]
impl Authenticator for Users {
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        let name = self.ask("/name", &[("id", subject.as_str())]).await;
        let name = name.map_err(AuthenticatorError::unavailable)?;
        Ok(name.map(|name| Account::new(subject.clone(), name)))
    }
}

/// The form is posted to the address of the page, and so with its query.
const PAGE: &str = r#"<!doctype html><title>Sign in</title><form method="post">
    <input name="username"><input name="password" type="password"><button>Sign in</button></form>"#;

type Host = Data<(AuthorizationServer, Users)>;

async fn sign_in(host: Host, request: HttpRequest, given: Form<Credentials>) -> impl Responder {
    let (server, users) = &**host;
    let login = login_request(server, &request)?;
    let form = [("name", given.username.as_str()), ("password", given.password.expose())];
    let subject = match users.ask("/check", &form).await {
        Ok(Some(id)) => Subject::parse(id).map_err(ErrorServiceUnavailable)?,
        Ok(None) => return Ok(HttpResponse::Forbidden().content_type("text/html").body(PAGE)),
        Err(_) => return Ok(HttpResponse::ServiceUnavailable().body("Try again in a moment.")),
    };
    let session = request.get_session();
    session.renew();
    session.insert("user", Authentication { subject, auth_time: server.now() })?;
    let to = login.as_ref().map_or("/", LoginRequest::return_to);
    Ok::<_, actix_web::Error>(HttpResponse::SeeOther().insert_header(("location", to)).finish())
}

/// The program: its pages, the authorization server, and a protected resource.
pub async fn run(at: TcpListener, builder: Builder, users: Users) -> Result<(), Box<dyn Error>> {
    let builder = builder.authenticator(users.clone()).login_page("/login");
    let server = builder.scope("profile", "See your name").build()?;
    let guard = require_scope(&server, "profile".parse()?);
    // Kept by whoever wants sessions to outlive the program.
    let key = Key::generate();
    let sign_out = async |session: Session| session.remove("user").map(|_| "Signed out.");
    let app = move || {
        App::new()
            .app_data(Data::new((server.clone(), users.clone())))
            .configure(configure(&server))
            .service(resource("/login").get(async || Html::new(PAGE)).post(sign_in))
            .route("/logout", post().to(sign_out))
            .service(resource("/me").wrap(guard.clone()).get(async |Token(it): Token| it.username))
            .wrap(signed_in(&server, async |session: Session| session.get("user")))
            .wrap(SessionMiddleware::new(CookieSessionStore::default(), key.clone()))
    };
    Ok(HttpServer::new(app).listen(at)?.run().await?)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder().timeout(Duration::from_secs(3)).build()?;
    let users = Users(client, std::env::var("DIRECTORY")?);
    let issuer = "http://127.0.0.1:8400".parse()?;
    let builder = AuthorizationServer::builder(issuer).storage(SledStorage::open("data")?);
    run(TcpListener::bind("127.0.0.1:8400")?, builder, users).await
}
