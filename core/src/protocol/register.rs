//! Registering a client, and what is done to one afterwards (RFC 6749 section 2, RFC 7591).

use crate::model::{
    ApplicationType, Client, ClientAuthMethod, ClientId, ClientSecret, ClientType, GrantType,
    RedirectUri, ScopeSet, SecretHash, SecretString,
};
use crate::protocol::{Context, Decision, Entropy, Event, Refusal, extension};
use crate::storage::Record;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What is to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The identifier; `None`: a random one. Chosen by operators only: a client that could choose
    /// might choose the name of a user (RFC 9700 section 4.15.1).
    pub client_id: Option<ClientId>,
    /// Human-readable name.
    pub name: String,
    /// Whether it can keep a secret. One is made if so.
    pub client_type: ClientType,
    /// Web or native.
    pub application_type: ApplicationType,
    /// How it may present its secret; empty: Basic or form.
    pub auth_methods: Vec<ClientAuthMethod>,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// Extends the any-port rule of loopback IP literals to `localhost`.
    pub localhost_any_port: bool,
    /// The grant types that it may use.
    pub grant_types: Vec<GrantType>,
    /// The host's own grant types that it may use, by their URIs.
    pub extension_grants: Vec<String>,
    /// The scopes that it may ask for.
    pub scope: ScopeSet,
    /// Its home page.
    pub client_uri: Option<String>,
    /// Its logo.
    pub logo_uri: Option<String>,
    /// Its privacy policy.
    pub policy_uri: Option<String>,
    /// Its terms of service.
    pub tos_uri: Option<String>,
    /// See [`Client::pkce_optional`].
    pub pkce_optional: bool,
    /// See [`Client::skip_consent`].
    pub skip_consent: bool,
    /// See [`Client::resource_server`].
    pub resource_server: bool,
}

impl Registration {
    /// A web application with a secret, for the code flow with refresh tokens.
    pub fn confidential(
        name: impl Into<String>,
        redirect_uri: impl Into<String>,
        scope: ScopeSet,
    ) -> Self {
        Self {
            client_type: ClientType::Confidential,
            application_type: ApplicationType::Web,
            ..Self::public(name, redirect_uri, scope)
        }
    }

    /// A program on the user's device or in the browser, without a secret, for the code flow with
    /// refresh tokens.
    pub fn public(
        name: impl Into<String>,
        redirect_uri: impl Into<String>,
        scope: ScopeSet,
    ) -> Self {
        Self {
            client_id: None,
            name: name.into(),
            client_type: ClientType::Public,
            application_type: ApplicationType::Native,
            auth_methods: vec![],
            redirect_uris: vec![redirect_uri.into()],
            localhost_any_port: false,
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            extension_grants: vec![],
            scope,
            client_uri: None,
            logo_uri: None,
            policy_uri: None,
            tos_uri: None,
            pkce_optional: false,
            skip_consent: false,
            resource_server: false,
        }
    }

    /// A service that acts for itself (client credentials).
    pub fn service(name: impl Into<String>, scope: ScopeSet) -> Self {
        Self {
            client_type: ClientType::Confidential,
            application_type: ApplicationType::Web,
            redirect_uris: vec![],
            grant_types: vec![GrantType::ClientCredentials],
            ..Self::public(name, "", scope)
        }
    }
}

impl From<&Client> for Registration {
    /// What a client is registered with: to change some of it, see
    /// [`update_client`](crate::AuthorizationServer::update_client).
    fn from(client: &Client) -> Self {
        Self {
            client_id: Some(client.id.clone()),
            name: client.name.clone(),
            client_type: client.client_type,
            application_type: client.application_type,
            auth_methods: client.auth_methods.clone(),
            redirect_uris: client.redirect_uris.iter().map(ToString::to_string).collect(),
            localhost_any_port: client.localhost_any_port,
            grant_types: client.grant_types.clone(),
            extension_grants: client.extension_grants.clone(),
            scope: client.scope.clone(),
            client_uri: client.client_uri.clone(),
            logo_uri: client.logo_uri.clone(),
            policy_uri: client.policy_uri.clone(),
            tos_uri: client.tos_uri.clone(),
            pkce_optional: client.pkce_optional,
            skip_consent: client.skip_consent,
            resource_server: client.resource_server,
        }
    }
}

/// A registered client and its secret, which is shown now and never again.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The registration as it was accepted.
    pub client: Client,
    /// The secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
}

/// Decides a registration. `existing` is the record of the chosen identifier, if one was chosen.
pub fn register(
    registration: &Registration,
    existing: Option<&Client>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<Registered> {
    if existing.is_some() {
        return Decision::refuse(Refusal::ClientExists);
    }
    let redirect_uris = match check(registration, ctx) {
        Ok(uris) => uris,
        Err(refusal) => return Decision::refuse(refusal),
    };
    let confidential = registration.client_type == ClientType::Confidential;
    let (client_secret, secrets) = confidential
        .then(|| {
            let (text, secret) = new_secret(ctx, entropy);
            (text, vec![secret])
        })
        .unzip();
    let random_id = || {
        // Random and of a shape of its own: never the name of a user, never attacker-chosen.
        let text = URL_SAFE_NO_PAD.encode(entropy.bytes::<15>());
        ClientId::parse(format!("client-{text}"))
            .map_err(|_| Refusal::RegistrationInvalid("client_id"))
    };
    let id = match registration.client_id.clone().map_or_else(random_id, Ok) {
        Ok(id) => id,
        Err(refusal) => return Decision::refuse(refusal),
    };
    let client = Client {
        id,
        client_type: registration.client_type,
        application_type: registration.application_type,
        secrets: secrets.unwrap_or_default(),
        auth_methods: auth_methods(registration),
        redirect_uris,
        localhost_any_port: registration.localhost_any_port,
        grant_types: registration.grant_types.clone(),
        extension_grants: registration.extension_grants.clone(),
        scope: registration.scope.clone(),
        name: registration.name.trim().to_owned(),
        client_uri: registration.client_uri.clone(),
        logo_uri: registration.logo_uri.clone(),
        policy_uri: registration.policy_uri.clone(),
        tos_uri: registration.tos_uri.clone(),
        pkce_optional: registration.pkce_optional,
        skip_consent: registration.skip_consent,
        resource_server: registration.resource_server,
        epoch: 0,
        created_at: ctx.now,
        removed_at: None,
    };
    let event = Event::ClientRegistered { client_id: client.id.clone() };
    Decision::write(Record::Client(client.clone()), event, Registered { client, client_secret })
}

/// How a client may present its secret: as it was chosen, or in any way.
fn auth_methods(registration: &Registration) -> Vec<ClientAuthMethod> {
    match (registration.client_type, registration.auth_methods.as_slice()) {
        (ClientType::Public, _) => vec![],
        (ClientType::Confidential, []) => {
            vec![ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost]
        }
        (ClientType::Confidential, chosen) => chosen.to_vec(),
    }
}

/// Decides a change of a registration (RFC 7592 section 2.2, without its endpoint): everything is as in
/// `registration` afterwards, but for the identifier and the secrets, which stay. Whether it can keep a
/// secret does not change: that would be another client.
///
/// Access tokens stay as they were issued; a refresh gives of its scope what the client may still have.
pub fn update(
    registration: &Registration,
    client: Option<&Client>,
    ctx: Context<'_>,
) -> Decision<Client> {
    let Some(client) = client.filter(|client| client.removed_at.is_none()) else {
        return Decision::refuse(Refusal::ClientUnknown);
    };
    if registration.client_id.as_ref().is_some_and(|id| *id != client.id) {
        return Decision::refuse(Refusal::RegistrationInvalid("the client_id cannot change"));
    }
    if registration.client_type != client.client_type {
        return Decision::refuse(Refusal::RegistrationInvalid(
            "the type of a client cannot change",
        ));
    }
    let redirect_uris = match check(registration, ctx) {
        Ok(uris) => uris,
        Err(refusal) => return Decision::refuse(refusal),
    };
    let next = Client {
        application_type: registration.application_type,
        auth_methods: auth_methods(registration),
        redirect_uris,
        localhost_any_port: registration.localhost_any_port,
        grant_types: registration.grant_types.clone(),
        extension_grants: registration.extension_grants.clone(),
        scope: registration.scope.clone(),
        name: registration.name.trim().to_owned(),
        client_uri: registration.client_uri.clone(),
        logo_uri: registration.logo_uri.clone(),
        policy_uri: registration.policy_uri.clone(),
        tos_uri: registration.tos_uri.clone(),
        pkce_optional: registration.pkce_optional,
        skip_consent: registration.skip_consent,
        resource_server: registration.resource_server,
        ..client.clone()
    };
    let event = Event::ClientUpdated { client_id: next.id.clone() };
    Decision::write(Record::Client(next.clone()), event, next)
}

fn check(registration: &Registration, ctx: Context<'_>) -> Result<Vec<RedirectUri>, Refusal> {
    use GrantType::{AuthorizationCode, ClientCredentials, RefreshToken};

    let invalid = |why| Err(Refusal::RegistrationInvalid(why));
    let may_use = |grant_type| registration.grant_types.contains(&grant_type);
    let public = registration.client_type == ClientType::Public;
    check_name(&registration.name)?;
    if registration.redirect_uris.len() > Client::MAX_REDIRECT_URIS {
        return invalid("at most 32 redirect_uris");
    }
    let mut redirect_uris = Vec::new();
    for uri in &registration.redirect_uris {
        let uri = RedirectUri::parse(uri.as_str()).map_err(Refusal::RegistrationRedirectUri)?;
        if !redirect_uris.contains(&uri) {
            redirect_uris.push(uri);
        }
    }
    let together = redirect_uris.iter().map(|uri: &RedirectUri| uri.as_str().len()).sum::<usize>();
    if together > Client::MAX_REDIRECT_URIS_LEN {
        return invalid("the redirect_uris are longer than 8 KiB together");
    }
    if registration.extension_grants.len() > Client::MAX_EXTENSION_GRANTS
        || !registration.extension_grants.iter().all(|name| extension::is_name(name))
    {
        return invalid(
            "an extension grant is an absolute URI (RFC 6749 section 4.5), and 16 at most",
        );
    }
    if registration.grant_types.is_empty() && registration.extension_grants.is_empty() {
        return invalid("at least one grant type");
    }
    if may_use(AuthorizationCode) && redirect_uris.is_empty() {
        return invalid("the code grant needs a redirect_uri (RFC 6749 section 3.1.2.2)");
    }
    if may_use(RefreshToken) && !may_use(AuthorizationCode) {
        return invalid("refresh_token needs authorization_code");
    }
    if may_use(ClientCredentials) && public {
        return invalid("client_credentials needs a confidential client (RFC 6749 section 4.4)");
    }
    if registration.resource_server && public {
        return invalid("a resource server has to authenticate (RFC 7662 section 2.1)");
    }
    if registration.pkce_optional
        && (public || registration.application_type == ApplicationType::Native)
    {
        return invalid("only a confidential web client may leave PKCE out");
    }
    if registration.skip_consent
        && (public || registration.application_type == ApplicationType::Native)
    {
        return invalid("only a confidential web client may skip the consent page");
    }
    if registration.auth_methods.contains(&ClientAuthMethod::None) {
        return invalid("a confidential client has to authenticate");
    }
    if public && !registration.auth_methods.is_empty() {
        return invalid("a public client has no secret to present");
    }
    if !registration.scope.is_subset(&ctx.policy.known_scope()) {
        return invalid("a scope that does not exist");
    }
    let pages = [
        &registration.client_uri,
        &registration.logo_uri,
        &registration.policy_uri,
        &registration.tos_uri,
    ];
    if !pages.into_iter().flatten().all(|uri| is_web_page(uri)) {
        return invalid("client_uri, logo_uri, policy_uri and tos_uri must be https URLs");
    }
    Ok(redirect_uris)
}

/// A name that can stand on a page without pretending to be something else (ATTACKS G08, G09).
fn check_name(name: &str) -> Result<(), Refusal> {
    let disguise = |c: char| {
        c.is_control()
            // Zero-width characters, marks and overrides of direction, and the byte order mark.
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if name.trim().is_empty() {
        return Err(Refusal::RegistrationInvalid("the name is empty"));
    }
    if name.chars().count() > Client::MAX_NAME_CHARS {
        return Err(Refusal::RegistrationInvalid("the name is longer than 80 characters"));
    }
    if name.chars().any(disguise) {
        return Err(Refusal::RegistrationInvalid("the name holds invisible characters"));
    }
    Ok(())
}

/// An address that leads where it says. Without both slashes a browser takes it for a path of the page that it stands
/// on, and it reads a backslash as a slash.
fn is_web_page(uri: &str) -> bool {
    uri.len() <= Client::MAX_PAGE_LEN
        && uri.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && uri.starts_with("https://")
        && url::Url::parse(uri)
            .is_ok_and(|url| url.username().is_empty() && url.password().is_none())
}

fn new_secret(ctx: Context<'_>, entropy: &mut Entropy) -> (SecretString, ClientSecret) {
    let text = SecretString::client_secret(&entropy.secret());
    let hash = SecretHash::of_text(text.expose());
    (text, ClientSecret { hash, created_at: ctx.now, expires_at: None })
}

/// Gives a confidential client a new secret. The one it has works on for the policy's overlap, so
/// that every instance of the client can be switched over.
pub fn rotate_secret(
    client: Option<&Client>,
    ctx: Context<'_>,
    entropy: &mut Entropy,
) -> Decision<Registered> {
    let Some(client) = client.filter(|client| client.removed_at.is_none()) else {
        return Decision::refuse(Refusal::ClientUnknown);
    };
    if client.client_type == ClientType::Public {
        return Decision::refuse(Refusal::RegistrationInvalid("a public client has no secret"));
    }
    let (text, secret) = new_secret(ctx, entropy);
    let mut next = client.clone();
    let until = ctx.now.plus(ctx.policy.secret_overlap);
    for old in &mut next.secrets {
        old.expires_at = Some(old.expires_at.map_or(until, |at| at.min(until)));
    }
    next.secrets.insert(0, secret);
    next.secrets.truncate(Client::MAX_SECRETS);
    let event = Event::ClientSecretRotated { client_id: next.id.clone() };
    let reply = Registered { client: next.clone(), client_secret: Some(text) };
    Decision::write(Record::Client(next), event, reply)
}

/// Removes a client. Everything that was issued to it is dead with it, in the same write.
pub fn remove(client: Option<&Client>, ctx: Context<'_>) -> Decision<()> {
    let Some(client) = client.filter(|client| client.removed_at.is_none()) else {
        return Decision::refuse(Refusal::ClientUnknown);
    };
    let mut next = client.clone();
    next.removed_at = Some(ctx.now);
    next.epoch = next.epoch.wrapping_add(1);
    next.secrets.clear();
    let event = Event::ClientRemoved { client_id: next.id.clone() };
    Decision::write(Record::Client(next), event, ())
}
