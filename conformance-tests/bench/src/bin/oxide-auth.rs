//! oxide-auth on axum, in memory. Secrets are hashed with SHA-256, as everybody's are here: with its own Argon2 it
//! answers seven requests of confidential clients a second.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use grantor_bench::contender::{
    CALLBACK, CONFIDENTIAL, Fatal, PUBLIC, Ready, SCOPE, SECRET, SignedIn, USERS, serve,
};
use http::StatusCode;
use oxide_auth::endpoint::{
    AccessTokenFlow, AuthorizationFlow, ClientCredentialsFlow, OwnerConsent, QueryParameter,
    RefreshFlow, ResourceFlow, Scope, Solicitation,
};
use oxide_auth::frontends::simple::endpoint::{FnSolicitor, Generic, Vacant};
use oxide_auth::frontends::simple::extensions::{AddonList, Extended, Pkce};
use oxide_auth::primitives::prelude::{AuthMap, Client, ClientMap, RandomGenerator, TokenMap};
use oxide_auth::primitives::registrar::{ExactUrl, PasswordPolicy, RegisteredUrl, RegistrarError};
use oxide_auth_axum::{OAuthRequest, OAuthResource, WebError};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

struct Digested;

impl PasswordPolicy for Digested {
    fn store(&self, _: &str, secret: &[u8]) -> Vec<u8> {
        Sha256::digest(secret).to_vec()
    }

    fn check(&self, _: &str, secret: &[u8], stored: &[u8]) -> Result<(), RegistrarError> {
        let same: bool = Sha256::digest(secret).as_slice().ct_eq(stored).into();
        if same { Ok(()) } else { Err(RegistrarError::Unspecified) }
    }
}

struct App {
    clients: Mutex<ClientMap>,
    codes: Mutex<AuthMap<RandomGenerator>>,
    tokens: Mutex<TokenMap<RandomGenerator>>,
    scopes: Vec<Scope>,
    /// Who has allowed which client what: the host's, oxide-auth has no such thing.
    consents: Mutex<HashSet<(String, String, String)>>,
}

type Shared = Arc<App>;
type Endpoint<'a, S> = Extended<
    Generic<
        MutexGuard<'a, ClientMap>,
        MutexGuard<'a, AuthMap<RandomGenerator>>,
        MutexGuard<'a, TokenMap<RandomGenerator>>,
        S,
        Vec<Scope>,
    >,
    AddonList,
>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    fn endpoint<S>(&self, solicitor: S) -> Endpoint<'_, S> {
        let generic = Generic {
            registrar: lock(&self.clients),
            authorizer: lock(&self.codes),
            issuer: lock(&self.tokens),
            solicitor,
            scopes: self.scopes.clone(),
            response: Vacant,
        };
        let mut addons = AddonList::new();
        addons.push_code(Pkce::required());
        Extended::extend_with(generic, addons)
    }
}

async fn authorize(
    State(app): State<Shared>,
    SignedIn(user): SignedIn,
    request: OAuthRequest,
) -> Result<Response, WebError> {
    let Some(user) = user else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    let consents = &app.consents;
    let solicitor = FnSolicitor(move |_: &mut OAuthRequest, asked: Solicitation<'_>| {
        let grant = asked.pre_grant();
        let asked = (user.clone(), grant.client_id.clone(), grant.scope.to_string());
        if lock(consents).contains(&asked) {
            OwnerConsent::Authorized(user.clone())
        } else {
            OwnerConsent::Denied
        }
    });
    let mut flow = AuthorizationFlow::prepare(app.endpoint(solicitor))?;
    Ok(flow.execute(request)?.into_response())
}

async fn token(State(app): State<Shared>, request: OAuthRequest) -> Result<Response, WebError> {
    let grant_type = request.body().and_then(|body| body.unique_value("grant_type"));
    let response = match grant_type.as_deref() {
        Some("client_credentials") => {
            let itself = FnSolicitor(|_: &mut OAuthRequest, asked: Solicitation<'_>| {
                OwnerConsent::Authorized(asked.pre_grant().client_id.clone())
            });
            ClientCredentialsFlow::prepare(app.endpoint(itself))?.execute(request)?
        }
        Some("refresh_token") => RefreshFlow::prepare(app.endpoint(Vacant))?.execute(request)?,
        _ => {
            let mut flow = AccessTokenFlow::prepare(app.endpoint(Vacant))?;
            flow.allow_credentials_in_body(true);
            flow.execute(request)?
        }
    };
    Ok(response.into_response())
}

async fn resource(State(app): State<Shared>, request: OAuthResource) -> Result<String, Response> {
    let flow = ResourceFlow::prepare(app.endpoint(Vacant));
    let mut flow = flow.map_err(|error| WebError::from(error).into_response())?;
    match flow.execute(request.into()) {
        Ok(grant) => Ok(grant.owner_id),
        Err(Ok(challenge)) => Err(challenge.into_response()),
        Err(Err(error)) => Err(WebError::from(error).into_response()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let scope: Scope = SCOPE.parse().map_err(|_| "a scope")?;
    let callback = || ExactUrl::new(CALLBACK.to_owned()).map(RegisteredUrl::Exact);
    let mut clients = ClientMap::new();
    clients.set_password_policy(Digested);
    clients.register_client(Client::confidential(
        CONFIDENTIAL,
        callback()?,
        scope.clone(),
        SECRET.as_bytes(),
    ));
    clients.register_client(Client::public(PUBLIC, callback()?, scope.clone()));
    let consents = (0..USERS).flat_map(|number| {
        [CONFIDENTIAL, PUBLIC]
            .map(|client| (format!("u{number}"), client.to_owned(), SCOPE.to_owned()))
    });
    let app = App {
        clients: Mutex::new(clients),
        codes: Mutex::new(AuthMap::new(RandomGenerator::new(32))),
        tokens: Mutex::new(TokenMap::new(RandomGenerator::new(32))),
        scopes: vec![scope],
        consents: Mutex::new(consents.collect()),
    };
    let app = Router::new()
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/resource", get(resource))
        .with_state(Arc::new(app));
    serve(app, Ready { introspect: None, revoke: None, retired: None, ..Ready::usual() }).await
}
