//! The server that is measured, its clients and its users.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantor::engine::{Browser, Clock, EntropySource, TokenRequest};
use grantor::model::{
    Account, Authentication, Client, ClientAuthMethod, ClientId, Grant, GrantType, RecordId,
    ScopeSet, Subject, Timestamp,
};
use grantor::protocol::authorize::{Answer, AuthorizationRequest, Outcome};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::code::{self, RedeemRequest};
use grantor::protocol::consent::{ConsentAnswer, ConsentRequest};
use grantor::protocol::refresh::{self, RefreshRequest};
use grantor::protocol::register::{Registered, Registration};
use grantor::protocol::token::TokenResponse;
use grantor::resource::Guard;
use grantor::storage::{Key, Loaded, MemoryStorage, Record};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer};

/// Where codes are sent.
pub(crate) const CALLBACK: &str = "https://client.example/cb";
/// What is asked for.
pub(crate) const SCOPE: &str = "read";
/// From RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// From RFC 7636 appendix B.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// How many people use the server, by turns: the listing of what one of them has does not grow with the
/// number of requests alone.
const USERS: u64 = 16;

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }
}

/// Counts. Every run of a case sees the same random bytes, so it makes the same tokens, and the tree of
/// the store has the same shape.
#[derive(Debug)]
struct Counting(AtomicU64);

impl EntropySource for Counting {
    fn seed(&self) -> Option<[u8; 32]> {
        let mut seed = [7; 32];
        let (first, _) = seed.split_first_chunk_mut()?;
        *first = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Some(seed)
    }
}

#[derive(Debug)]
struct Users;

#[async_trait]
impl Authenticator for Users {
    async fn account(&self, subject: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(Account::new(subject.clone(), subject.as_str())))
    }
}

/// A registered client, and how it presents itself.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) client: Client,
    pub(crate) presented: PresentedClient,
    /// The value of `Authorization`, of a client with a secret.
    pub(crate) basic: Option<String>,
}

/// A server with clients, and with users who have allowed them [`SCOPE`] before.
#[derive(Debug)]
pub struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) guard: Guard,
    pub(crate) router: axum::Router,
    /// Nothing runs on it; the adapters want to know one, should a request have to go on by itself.
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) scope: ScopeSet,
    /// May do everything that a client with a secret may, and introspect every token.
    pub(crate) confidential: Party,
    pub(crate) public: Party,
    /// Introspects the tokens of others.
    pub(crate) api: Party,
    requests: AtomicU64,
}

impl World {
    /// The same one, every time.
    #[expect(clippy::new_without_default, reason = "it is much work")]
    pub fn new() -> Self {
        let server = AuthorizationServer::builder("https://as.example".parse().expect("an issuer"))
            .storage(MemoryStorage::new())
            .authenticator(Users)
            .clock(Standing)
            .entropy(Counting(AtomicU64::new(0)))
            .scope(SCOPE, "See your calendar")
            .scope("write", "Change your calendar")
            .build()
            .expect("a server");
        let scope: ScopeSet = SCOPE.parse().expect("a scope");
        let known = server.policy().known_scope();
        let party = |id: &str, registration: Registration| {
            let client_id = Some(ClientId::parse(id).expect("an id"));
            let registration = Registration { client_id, ..registration };
            let registered = now(server.register_client(&registration)).expect("a client");
            Party::from(registered)
        };
        let confidential = Registration {
            resource_server: true,
            grant_types: GrantType::ALL.to_vec(),
            ..Registration::confidential("Web App", CALLBACK, known.clone())
        };
        let confidential = party("confidential", confidential);
        let public = party("public", Registration::public("Phone App", CALLBACK, known.clone()));
        let api = Registration { resource_server: true, ..Registration::service("API", known) };
        let api = party("api", api);
        let guard = Guard::from(&server);
        let router = crate::axum::router(&server);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let requests = AtomicU64::new(0);
        let world =
            Self { server, guard, router, runtime, scope, confidential, public, api, requests };
        for _ in 0..USERS {
            let user = world.somebody();
            for party in [&world.confidential, &world.public] {
                world.allow(party, &user);
            }
        }
        world
    }

    /// The user whose turn it is, signed in at the host.
    pub(crate) fn somebody(&self) -> Authentication {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) % USERS;
        let subject = Subject::parse(format!("u{number}")).expect("a subject");
        Authentication { subject, auth_time: self.server.now() }
    }

    fn allow(&self, party: &Party, user: &Authentication) {
        let (request, browser) = self.asked(party, user);
        let outcome = now(self.server.consent(&request, &browser)).expect("an outcome");
        assert!(matches!(outcome, Outcome::Redirect(_)), "{outcome:?}");
    }

    /// The answer to the consent page of somebody who has not allowed the client before.
    pub(crate) fn asked(&self, party: &Party, user: &Authentication) -> (ConsentRequest, Browser) {
        let (request, mut browser) = (self.authorization(party), browser_of(user));
        let outcome = now(self.server.authorize(&request, &browser)).expect("an outcome");
        let Outcome::ConsentRequired(prompt) = outcome else { panic!("{outcome:?}") };
        browser.secret = Some(prompt.interaction.browser);
        let answer = ConsentAnswer::Allow(self.scope.clone());
        let (interaction, ticket) = (prompt.interaction.handle, prompt.ticket);
        (ConsentRequest { interaction, ticket, answer }, browser)
    }

    /// A record, as the store has it.
    pub(crate) fn stored(&self, key: &Key) -> Record {
        let found = now(self.server.storage().load(std::slice::from_ref(key))).expect("an answer");
        let stored = found.into_iter().flatten().next().expect("a record");
        Loaded::decode(key, &stored).expect("a record").record
    }

    pub(crate) fn grant(&self, id: RecordId) -> Grant {
        match self.stored(&Key::grant(id)) {
            Record::Grant(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn authorization(&self, party: &Party) -> AuthorizationRequest {
        AuthorizationRequest {
            client_id: Some(party.client.id.to_string()),
            redirect_uri: Some(CALLBACK.to_owned()),
            response_type: Some("code".to_owned()),
            scope: Some(SCOPE.to_owned()),
            state: Some("af0ifjsldkj".to_owned()),
            code_challenge: Some(CHALLENGE.to_owned()),
            code_challenge_method: Some("S256".to_owned()),
            ..AuthorizationRequest::default()
        }
    }

    /// A code for somebody who has allowed the client before.
    pub(crate) fn code(&self, party: &Party) -> String {
        let browser = browser_of(&self.somebody());
        let outcome = now(self.server.authorize(&self.authorization(party), &browser));
        match outcome {
            Ok(Outcome::Redirect(response)) => match response.answer {
                Answer::Code(code) => code.expose().to_owned(),
                Answer::Error(refusal) => panic!("{refusal:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The tokens for such a code.
    pub(crate) fn tokens(&self, party: &Party) -> TokenResponse {
        let request = TokenRequest::AuthorizationCode(redemption(&self.code(party)));
        now(self.server.token(&party.presented, &request)).expect("tokens")
    }

    /// The tokens after a refresh.
    pub(crate) fn refreshed(&self, party: &Party, refresh_token: &str) -> TokenResponse {
        let request = TokenRequest::RefreshToken(renewal(refresh_token));
        now(self.server.token(&party.presented, &request)).expect("tokens")
    }

    /// The refresh token of a session that has been refreshed before.
    pub(crate) fn refresh_token(&self, party: &Party) -> String {
        let first = refresh_token_of(&self.tokens(party));
        refresh_token_of(&self.refreshed(party, &first))
    }

    /// A refresh token whose successor was used: somebody else has a copy.
    pub(crate) fn stolen_refresh_token(&self, party: &Party) -> String {
        let stolen = self.refresh_token(party);
        let next = refresh_token_of(&self.refreshed(party, &stolen));
        let _ = self.refreshed(party, &next);
        stolen
    }
}

impl From<Registered> for Party {
    fn from(registered: Registered) -> Self {
        let Registered { client, client_secret } = registered;
        let basic = client_secret.as_ref().map(|secret| {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", client.id, secret.expose())))
        });
        let secret = client_secret.map(|secret| (ClientAuthMethod::ClientSecretBasic, secret));
        let presented = PresentedClient { client_id: client.id.to_string(), secret };
        Self { client, presented, basic }
    }
}

pub(crate) fn browser_of(user: &Authentication) -> Browser {
    Browser { authentication: Some(user.clone()), ..Browser::default() }
}

pub(crate) fn redemption(code: &str) -> RedeemRequest {
    RedeemRequest {
        code: Some(code::parse(code).expect("a code")),
        redirect_uri: Some(CALLBACK.to_owned()),
        code_verifier: Some(VERIFIER.to_owned()),
    }
}

pub(crate) fn renewal(refresh_token: &str) -> RefreshRequest {
    let refresh_token = refresh::parse(refresh_token).expect("a refresh token");
    RefreshRequest { refresh_token: Some(refresh_token), scope: None }
}

pub(crate) fn refresh_token_of(tokens: &TokenResponse) -> String {
    tokens.refresh_token.as_ref().expect("a refresh token").expose().to_owned()
}

/// The value of a future that waits for nothing, as all do on the store in memory.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    in_place(pin!(future))
}

/// The same, for a future that is not to be copied to where it stands: that would be counted.
pub(crate) fn in_place<F: Future>(future: Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => {
            panic!("the store in memory, and what stands around it, waits for nothing")
        }
    }
}
