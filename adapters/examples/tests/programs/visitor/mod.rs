//! Somebody who uses a client at a program that embeds Grantor: a browser, and the client itself.

pub(crate) mod login;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grantor::AuthorizationServer;
use grantor::model::ScopeSet;
use grantor::protocol::register::Registration;
use grantor::storage::MemoryStorage;
use grantor_conformance::protocol::http::hidden;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

/// What the client redeems its code with (RFC 7636 appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Where the client waits, on another site.
pub(crate) const CALLBACK: &str = "https://client.example/callback";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// For one answer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place for a program, its records, and a client that it knows.
pub(crate) struct Site {
    pub(crate) origin: String,
    pub(crate) storage: Arc<MemoryStorage>,
    client_id: String,
}

/// Somebody who administers the records and knows no users.
#[derive(Debug)]
struct Administrator;

#[async_trait::async_trait]
impl grantor::Authenticator for Administrator {
    async fn account(
        &self,
        _: &grantor::model::Subject,
    ) -> Result<Option<grantor::model::Account>, grantor::AuthenticatorError> {
        Ok(None)
    }
}

impl Site {
    pub(crate) async fn new() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let storage = Arc::new(MemoryStorage::new());
        let scope = ScopeSet::parse("profile").expect("a scope");
        let administration = builder(&origin, &storage)
            .authenticator(Administrator)
            .scope("profile", "See your name")
            .build()
            .expect("a server");
        let client = Registration::public("Calendar", CALLBACK, scope);
        let client = administration.register_client(&client).await.expect("registered").client;
        (Self { origin, storage, client_id: client.id.to_string() }, listener)
    }

    /// What the program is given to build on.
    pub(crate) fn builder(&self) -> grantor::engine::Builder {
        builder(&self.origin, &self.storage)
    }

    pub(crate) fn authorize(&self, more: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&format!("{}/authorize", self.origin)).expect("an address");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("state", "a state")
            .append_pair("scope", "profile")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        url.into()
    }

    /// The client redeems the code that it got at this address.
    pub(crate) async fn redeem(&self, location: &str) -> String {
        assert!(location.starts_with(CALLBACK), "{location}");
        assert_eq!(parameter(location, "state"), "a state");
        assert_eq!(parameter(location, "iss"), self.origin);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("code", &parameter(location, "code")),
        ];
        let token = Browser::new(self);
        let request = token.client.post(format!("{}/token", self.origin)).form(&form);
        let answer = Page::of(request.send().await.expect("answered")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let token = answer.json();
        let token = token.get("access_token").and_then(Value::as_str).expect("a token");
        token.to_owned()
    }

    /// The client asks the program for what the token opens.
    pub(crate) async fn me(&self, token: &str) -> Page {
        let request = Browser::new(self).client.get(format!("{}/me", self.origin));
        Page::of(request.bearer_auth(token).send().await.expect("answered")).await
    }
}

fn builder(origin: &str, storage: &Arc<MemoryStorage>) -> grantor::engine::Builder {
    let issuer = origin.parse().expect("an issuer");
    AuthorizationServer::builder(issuer).shared_storage(storage.clone())
}

/// A parameter of an address.
pub(crate) fn parameter(location: &str, name: &str) -> String {
    let url = Url::parse(location).or_else(|_| Url::parse(&format!("http://here{location}")));
    let url = url.expect("an address");
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {location}")).1.into_owned()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) body: String,
    /// Where it is.
    pub(crate) url: String,
    cookies: Vec<String>,
}

impl Page {
    async fn of(response: Response) -> Self {
        let text = |name| response.headers().get_all(name).iter();
        let text = |name| text(name).map(|value| value.to_str().expect("text").to_owned());
        let (location, cookies) = (text(LOCATION).next(), text(SET_COOKIE).collect());
        Self {
            status: response.status(),
            location: location.unwrap_or_default(),
            cookies,
            url: response.url().to_string(),
            body: response.text().await.expect("a whole body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether it is the page of the program itself on which people sign in.
    pub(crate) fn is_login(&self) -> bool {
        Url::parse(&self.url).expect("an address").path() == "/login"
            && self.body.contains("name=\"password\"")
    }

    pub(crate) fn is_consent(&self) -> bool {
        self.status == StatusCode::OK && self.body.contains("id=\"allow\"")
    }
}

/// A browser, which keeps cookies and follows redirects within the program.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    client: Client,
    /// Of the page that posts.
    pub(crate) origin: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(site: &Site) -> Self {
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(PATIENCE);
        let client = client.no_proxy().build().expect("a client");
        Self { client, origin: site.origin.clone(), cookies: BTreeMap::new() }
    }

    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Page {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(COOKIE, cookies.join("; "));
        let page = Page::of(request.send().await.expect("answered")).await;
        for cookie in &page.cookies {
            let (pair, attributes) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
                continue;
            }
            // Else it would not come along from the client's site, or be read by any script.
            let guarded = ["SameSite=Lax", "HttpOnly"].iter().all(|one| attributes.contains(one));
            assert!(guarded, "{cookie}");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        page
    }

    fn address(&self, target: &str) -> String {
        if target.starts_with('/') { format!("{}{target}", self.origin) } else { target.to_owned() }
    }

    pub(crate) fn get(&self, target: &str) -> RequestBuilder {
        self.client.get(self.address(target))
    }

    /// What a form of a page of the program posts.
    pub(crate) fn post(&self, target: &str) -> RequestBuilder {
        self.client.post(self.address(target)).header(ORIGIN, &self.origin)
    }

    /// As far as it goes by itself: a page, or a redirect elsewhere.
    pub(crate) async fn open(&mut self, target: &str) -> Page {
        let mut page = self.send(self.get(target)).await;
        for _ in 0..10 {
            let within = page.location.starts_with('/') || page.location.starts_with(&self.origin);
            if !(page.status.is_redirection() && within) {
                return page;
            }
            page = self.send(self.get(&page.location)).await;
        }
        panic!("redirected without end: {page:?}");
    }

    /// Fills in the sign-in page that is shown: it posts to its own address.
    pub(crate) async fn sign_in(&mut self, login: &Page, name: &str, password: &str) -> Page {
        assert!(login.is_login(), "{login:?}");
        let form = [("username", name), ("password", password)];
        let page = self.send(self.post(&login.url).form(&form)).await;
        if page.status.is_redirection() { self.open(&page.location).await } else { page }
    }

    /// Allows what the page asks. Where the client is then.
    pub(crate) async fn allow(&mut self, consent: &Page) -> String {
        assert!(consent.is_consent(), "{consent:?}");
        let mut form = hidden(&consent.body);
        form.extend(
            [("scope", "profile"), ("decision", "allow")].map(|(n, v)| (n.into(), v.into())),
        );
        let page = self.send(self.post("/interaction/consent").form(&form)).await;
        assert!(page.status.is_redirection(), "{page:?}");
        page.location
    }

    /// From the authorization request to a token, at a program that never saw this browser.
    pub(crate) async fn token(&mut self, site: &Site, name: &str) -> String {
        let login = self.open(&site.authorize(&[])).await;
        let consent = self.sign_in(&login, name, PASSWORD).await;
        let location = self.allow(&consent).await;
        site.redeem(&location).await
    }
}
