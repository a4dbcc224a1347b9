//! What a check has in its hands: the server, its clients, a user with a browser, and a record of what
//! was said.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::io::AsyncWriteExt as _;

use super::browser::{Answer, Browser, Filler, Landing, Plan, Stuck};
use super::config::{AuthMethod, Client, Config, Endpoint, Role};
use super::discovery::Discovered;
use super::evidence::Recorded;
use super::verdict::{Outcome, Stop};
use super::wire::{Call, Reply, Wire, WireError, encode};

/// The server under test and everything that is known about it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) wire: Arc<Wire>,
    pub(crate) issuer: String,
    pub(crate) config: Config,
    pub(crate) discovered: Discovered,
    pub(crate) clients: BTreeMap<Role, Client>,
    pub(crate) hook: Option<String>,
    /// How long a check may wait for something to expire.
    pub(crate) patience: Duration,
    /// How long a hook may take.
    pub(crate) hook_timeout: Duration,
    /// The first sign-in and consent of the run.
    pub(crate) story: Vec<Recorded>,
    /// The browser in which the user is signed in.
    pub(crate) session: tokio::sync::Mutex<Option<Browser>>,
}

/// A connection that remembers what was said on it.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    wire: &'a Wire,
    recorded: Mutex<Vec<Recorded>>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(wire: &'a Wire) -> Self {
        Self { wire, recorded: Mutex::default() }
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Reply, WireError> {
        let reply = self.wire.send(&call).await;
        let kept = reply.clone().map_err(|error| error.to_string());
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.push(Recorded { call, reply: kept });
        reply
    }

    /// Adds what was said earlier on another line, as evidence.
    pub(crate) fn quote(&self, earlier: &[Recorded]) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.extend_from_slice(earlier);
    }

    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.recorded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An authorization request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) endpoint: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) verifier: String,
    pub(crate) state: String,
    /// Where the answer is waited for.
    pub(crate) redirect_uri: String,
}

impl Ask {
    /// With this value of a parameter instead of the usual one.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Without a parameter.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(known, _)| known != name);
        self
    }

    /// With a parameter once more.
    #[must_use]
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without PKCE.
    #[must_use]
    pub(crate) fn plain(self) -> Self {
        self.without("code_challenge").without("code_challenge_method")
    }

    /// To another redirect URI of the client.
    #[must_use]
    pub(crate) fn back_to(mut self, uri: &str) -> Self {
        uri.clone_into(&mut self.redirect_uri);
        self.with("redirect_uri", uri)
    }

    pub(crate) fn url(&self) -> String {
        let mark = if self.endpoint.contains('?') { '&' } else { '?' };
        format!("{}{mark}{}", self.endpoint, encode(&self.parameters))
    }
}

/// A code, and what it takes to redeem it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) code: String,
    pub(crate) verifier: String,
    pub(crate) redirect_uri: String,
    pub(crate) answer: Answer,
}

impl Grant {
    /// The form that redeems it.
    pub(crate) fn form(&self) -> Form {
        Form::new(&[
            ("grant_type", "authorization_code"),
            ("code", &self.code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &self.verifier),
        ])
    }
}

/// What the token endpoint issued.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) reply: Reply,
}

impl Tokens {
    /// `None` if there is no access token in the answer.
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        let access = reply.member("access_token")?;
        Some(Self { access, refresh: reply.member("refresh_token"), reply: reply.clone() })
    }
}

/// A form under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(pub(crate) Vec<(String, String)>);

impl Form {
    pub(crate) fn new(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// With this value of a parameter instead of the one that is there.
    #[must_use]
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    #[must_use]
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One check's view of the server.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) target: &'a Target,
    pub(crate) line: Line<'a>,
}

/// As many random characters of the unreserved set.
pub(crate) fn random(length: usize) -> Outcome<String> {
    let mut bytes = vec![0; length];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Stop::Inconclusive("this machine has no random numbers".to_owned()))?;
    let mut text = URL_SAFE_NO_PAD.encode(bytes);
    text.truncate(length);
    Ok(text)
}

/// The S256 challenge of a verifier (RFC 7636 section 4.2).
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
}

/// The value of an `Authorization` header of a client (RFC 6749 section 2.3.1).
pub(crate) fn basic(id: &str, secret: &str) -> String {
    let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", coded(id), coded(secret))))
}

/// The same with every byte percent-encoded that may be.
pub(crate) fn basic_all_encoded(id: &str, secret: &str) -> String {
    let every = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", every(id), every(secret))))
}

impl<'a> Probe<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self { target, line: Line::new(&target.wire) }
    }

    /// The address of an endpoint, or why there is none.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Outcome<String> {
        self.target.endpoint(endpoint).ok_or_else(|| {
            let name = endpoint.member();
            Stop::NotApplicable(format!("the metadata names no {name}, and no option does"))
        })
    }

    pub(crate) fn client(&self, role: Role) -> Outcome<&'a Client> {
        self.target.clients.get(&role).ok_or_else(|| {
            Stop::Inconclusive(format!(
                "there is no client for this: give one under [clients.{}]",
                role.name()
            ))
        })
    }

    /// A client that uses the code grant: confidential, if there is one.
    pub(crate) fn any_client(&self) -> Outcome<&'a Client> {
        self.client(Role::Confidential).or_else(|_| self.client(Role::Public))
    }

    /// Those of the confidential and the public client that there are.
    pub(crate) fn both(&self) -> Outcome<Vec<&'a Client>> {
        let found: Vec<_> = [Role::Confidential, Role::Public]
            .into_iter()
            .filter_map(|role| self.target.clients.get(&role))
            .collect();
        if found.is_empty() {
            return self.any_client().map(|client| vec![client]);
        }
        Ok(found)
    }

    /// A client and another one of the same kind.
    pub(crate) fn two(&self) -> Outcome<(&'a Client, &'a Client)> {
        let pair = |one, other| Ok::<_, Stop>((self.client(one)?, self.client(other)?));
        pair(Role::Confidential, Role::ConfidentialOther)
            .or_else(|stop| pair(Role::Public, Role::PublicOther).map_err(|_| stop))
    }

    pub(crate) fn scope_of(&self, client: &Client) -> String {
        client.scope.clone().or_else(|| self.target.config.scope.clone()).unwrap_or_default()
    }

    // ------------------------------------------------------------------ plain requests

    pub(crate) async fn send(&self, call: Call) -> Outcome<Reply> {
        Ok(self.line.send(call).await?)
    }

    pub(crate) async fn get(&self, url: &str) -> Outcome<Reply> {
        self.send(Call::get(url)).await
    }

    /// A call of an endpoint by a client that authenticates.
    pub(crate) fn call_as(&self, client: &Client, url: &str, form: &Form) -> Call {
        let mut form = form.clone();
        let header = match client.auth() {
            AuthMethod::ClientSecretBasic => Some(basic(&client.id, client.secret())),
            AuthMethod::ClientSecretPost => {
                form = form.with("client_id", &client.id).with("client_secret", client.secret());
                None
            }
            AuthMethod::None => {
                form = form.with("client_id", &client.id);
                None
            }
        };
        let call = Call::form(url, &form.0);
        match header {
            Some(value) => {
                self.target.wire.secrets.learn("credentials", value.trim_start_matches("Basic "));
                call.header(header::AUTHORIZATION, &value)
            }
            None => call,
        }
    }

    /// A form sent to the token endpoint by a client that authenticates.
    pub(crate) async fn token(&self, client: &Client, form: &Form) -> Outcome<Reply> {
        let url = self.endpoint(Endpoint::Token)?;
        self.settled(self.call_as(client, &url, form)).await
    }

    /// A form sent to the token endpoint as it is.
    pub(crate) async fn token_bare(&self, form: &Form) -> Outcome<Reply> {
        let url = self.endpoint(Endpoint::Token)?;
        self.settled(Call::form(url, &form.0)).await
    }

    /// Sends, and ends the check if the server slows it down rather than answering.
    pub(crate) async fn settled(&self, call: Call) -> Outcome<Reply> {
        let reply = self.send(call).await?;
        if reply.is_slowed_down() {
            return Err(Stop::Inconclusive(format!(
                "the server answered {} and wants to be asked less often: try --rate",
                reply.status
            )));
        }
        Ok(reply)
    }

    // ------------------------------------------------------------------ authorization

    /// A good authorization request, with fresh state and verifier.
    pub(crate) fn ask(&self, client: &Client) -> Outcome<Ask> {
        let endpoint = self.endpoint(Endpoint::Authorization)?;
        let verifier = random(64)?;
        let state = random(22)?;
        self.target.wire.secrets.learn("code_verifier", &verifier);
        if client.redirect_uri().is_empty() {
            return Err(Stop::Inconclusive(format!("client {} has no redirect URI", client.id)));
        }
        let mut ask = Ask {
            endpoint,
            parameters: Form::new(&[
                ("client_id", &client.id),
                ("response_type", "code"),
                ("state", &state),
                ("code_challenge", &challenge(&verifier)),
                ("code_challenge_method", "S256"),
            ])
            .0,
            verifier,
            state,
            redirect_uri: client.redirect_uri().to_owned(),
        }
        .with("redirect_uri", client.redirect_uri());
        let scope = self.scope_of(client);
        if !scope.is_empty() {
            ask = ask.with("scope", &scope);
        }
        for (name, value) in &self.target.config.authorization {
            ask = ask.with(name, value);
        }
        Ok(ask)
    }

    pub(crate) fn filler(&self) -> Filler<'a> {
        Filler { user: &self.target.config.user, forms: &self.target.config.forms }
    }

    /// A browser that nobody is signed in to.
    pub(crate) fn fresh_browser(&self) -> Browser {
        Browser::new(&self.target.home())
    }

    /// Opens an authorization request in a fresh browser and looks where it leads.
    pub(crate) async fn look(&self, ask: &Ask) -> Outcome<Landing> {
        let mut browser = self.fresh_browser();
        browser
            .drive(&self.line, &ask.url(), &ask.redirect_uri, &self.filler(), Plan::Look)
            .await
            .map_err(stuck)
    }

    /// Where an authorization request leads in the end: some servers look at it only after somebody
    /// has signed in, and then the user who is signed in allows it.
    pub(crate) async fn reach(&self, ask: &Ask) -> Outcome<Landing> {
        let first = self.look(ask).await?;
        if matches!(first, Landing::SignIn(_) | Landing::Consent(_)) {
            return self.walk(ask, Plan::Allow).await;
        }
        Ok(first)
    }

    /// Opens an authorization request in the user's browser and goes as far as planned.
    pub(crate) async fn walk(&self, ask: &Ask, plan: Plan) -> Outcome<Landing> {
        if let Some(hook) = &self.target.hook {
            return self.walk_by_hook(ask, plan, hook).await;
        }
        let mut session = self.target.session.lock().await;
        let mut browser = session.clone().unwrap_or_else(|| self.fresh_browser());
        let driven =
            browser.drive(&self.line, &ask.url(), &ask.redirect_uri, &self.filler(), plan).await;
        if driven.is_ok() {
            *session = Some(browser);
        }
        driven.map_err(stuck)
    }

    /// The user's browser, signed in.
    pub(crate) async fn signed_in(&self) -> Outcome<Browser> {
        if self.target.hook.is_some() {
            return Err(Stop::Inconclusive(
                "this needs the pages themselves, and a login hook answers them".to_owned(),
            ));
        }
        let ask = self.ask(self.any_client()?)?;
        self.walk(&ask, Plan::Allow).await?;
        let session = self.target.session.lock().await;
        session.clone().ok_or_else(|| Stop::Inconclusive("there is no session".to_owned()))
    }

    async fn walk_by_hook(&self, ask: &Ask, plan: Plan, hook: &str) -> Outcome<Landing> {
        // Whatever needs no user is answered at once; the hook is for the rest.
        let first = self.look(ask).await?;
        let decision = match (plan, &first) {
            (Plan::Look, _) | (_, Landing::Client(_) | Landing::Away(_)) => return Ok(first),
            (_, Landing::Page(page)) if page.status.is_client_error() => return Ok(first),
            (Plan::SignIn, _) => {
                return Err(Stop::Inconclusive(
                    "this needs the consent page, and a login hook answers it".to_owned(),
                ));
            }
            (Plan::Allow, _) => "allow",
            (Plan::Deny, _) => "deny",
        };
        let failed = |reason: String| Stop::Inconclusive(format!("the login hook {reason}"));
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", hook])
            .env("GRANTOR_AUTHORIZATION_URL", ask.url())
            .env("GRANTOR_REDIRECT_URI", &ask.redirect_uri)
            .env("GRANTOR_DECISION", decision)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("does not run: {error}")))?;
        let finished = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A hook that takes the address from its environment need not read.
                let _ = stdin.write_all(format!("{}\n", ask.url()).as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(self.target.hook_timeout, finished)
            .await
            .map_err(|_| failed("did not end in time".to_owned()))?
            .map_err(|error| failed(format!("failed: {error}")))?;
        if !output.status.success() {
            return Err(failed(format!("failed: {}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let location = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let location = location.ok_or_else(|| failed("printed no address".to_owned()))?.to_owned();
        self.target.wire.secrets.learn_from_location(&location);
        if super::browser::belongs_to(&location, &ask.redirect_uri) {
            return Ok(Landing::Client(Answer::read(&location)));
        }
        Ok(Landing::Away(location))
    }

    /// Walks a request to its end and expects a code.
    pub(crate) async fn code(&self, ask: &Ask) -> Outcome<Grant> {
        match self.walk(ask, Plan::Allow).await? {
            Landing::Client(answer) => match answer.get("code") {
                Some(code) => Ok(Grant {
                    code: code.to_owned(),
                    verifier: ask.verifier.clone(),
                    redirect_uri: ask.redirect_uri.clone(),
                    answer,
                }),
                None => Err(Stop::Inconclusive(format!(
                    "no code, but error={} {}",
                    answer.get("error").unwrap_or("(none)"),
                    answer.get("error_description").unwrap_or_default()
                ))),
            },
            other => Err(Stop::Inconclusive(format!("no code, but {}", other.describe()))),
        }
    }

    /// A fresh code for a client.
    pub(crate) async fn grant(&self, client: &Client) -> Outcome<Grant> {
        let ask = self.ask(client)?;
        self.code(&ask).await
    }

    /// Fresh tokens for a client.
    pub(crate) async fn tokens(&self, client: &Client) -> Outcome<Tokens> {
        let grant = self.grant(client).await?;
        self.redeemed(client, &grant).await
    }

    /// Redeems a code and expects tokens.
    pub(crate) async fn redeemed(&self, client: &Client, grant: &Grant) -> Outcome<Tokens> {
        let reply = self.redeem(client, grant).await?;
        Tokens::of(&reply).ok_or_else(|| {
            Stop::Inconclusive(format!("a good code got {} and no access token", reply.status))
        })
    }

    pub(crate) async fn redeem(&self, client: &Client, grant: &Grant) -> Outcome<Reply> {
        self.token(client, &grant.form()).await
    }

    /// A refresh token of fresh tokens.
    pub(crate) async fn refreshable(&self, client: &Client) -> Outcome<(Tokens, String)> {
        let tokens = self.tokens(client).await?;
        let refresh = tokens.refresh.clone().ok_or_else(|| {
            Stop::NotApplicable(
                "the server issued no refresh token (does it want a scope or prompt for one?)"
                    .to_owned(),
            )
        })?;
        Ok((tokens, refresh))
    }

    pub(crate) async fn refresh(&self, client: &Client, token: &str) -> Outcome<Reply> {
        self.token(client, &refresh_form(token)).await
    }

    /// Refreshes and expects tokens.
    pub(crate) async fn refreshed(&self, client: &Client, token: &str) -> Outcome<Tokens> {
        let reply = self.refresh(client, token).await?;
        Tokens::of(&reply)
            .ok_or_else(|| Stop::Inconclusive(format!("a good refresh token got {}", reply.status)))
    }

    pub(crate) async fn revoke(&self, client: &Client, token: &str) -> Outcome<Reply> {
        let url = self.endpoint(Endpoint::Revocation)?;
        self.settled(self.call_as(client, &url, &Form::new(&[("token", token)]))).await
    }

    // ------------------------------------------------------------------ is it alive?

    /// Who may ask about tokens of this client.
    pub(crate) fn asker(&self, owner: &'a Client) -> Outcome<&'a Client> {
        if let Some(resource) = self.target.clients.get(&Role::ResourceServer) {
            return Ok(resource);
        }
        if owner.secret.is_some() {
            return Ok(owner);
        }
        self.client(Role::ResourceServer)
    }

    pub(crate) async fn introspect(&self, asker: &Client, token: &str) -> Outcome<Reply> {
        let url = self.endpoint(Endpoint::Introspection)?;
        self.settled(self.call_as(asker, &url, &Form::new(&[("token", token)]))).await
    }

    /// Whether an access token of this client is active, by introspection or by a protected resource.
    pub(crate) async fn is_active(&self, owner: &'a Client, token: &str) -> Outcome<bool> {
        if self.target.endpoint(Endpoint::Introspection).is_some()
            && let Ok(asker) = self.asker(owner)
        {
            let reply = self.introspect(asker, token).await?;
            return reply.json().get("active").and_then(serde_json::Value::as_bool).ok_or_else(
                || Stop::Inconclusive(format!("introspection says neither: {}", reply.status)),
            );
        }
        let url = self.resource()?;
        let call = Call::get(url).header(header::AUTHORIZATION, &format!("Bearer {token}"));
        let reply = self.settled(call).await?;
        match reply.status.as_u16() {
            200..=299 | 403 => Ok(true),
            401 => Ok(false),
            other => Err(Stop::Inconclusive(format!("the protected resource answers {other}"))),
        }
    }

    /// A protected resource.
    pub(crate) fn resource(&self) -> Outcome<String> {
        let configured = self.target.config.resource.clone();
        configured.or_else(|| self.target.endpoint(Endpoint::Userinfo)).ok_or_else(|| {
            Stop::NotApplicable(
                "no protected resource is known: the metadata names no userinfo_endpoint, and there \
                 is no --resource"
                    .to_owned(),
            )
        })
    }
}

/// The form that refreshes.
pub(crate) fn refresh_form(token: &str) -> Form {
    Form::new(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

fn stuck(stuck: Stuck) -> Stop {
    Stop::Inconclusive(stuck.to_string())
}

impl Target {
    /// The address of an endpoint.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Option<String> {
        let configured = self.config.endpoints.get(&endpoint).cloned();
        configured.or_else(|| self.discovered.text(endpoint.member()))
    }

    /// The origins that are the server's own.
    pub(crate) fn home(&self) -> Vec<String> {
        let authorization = self.endpoint(Endpoint::Authorization);
        [self.issuer.clone()]
            .into_iter()
            .chain(authorization)
            .chain(self.config.forms.origins.iter().cloned())
            .collect()
    }
}

/// A header by its name, for those that `http` has no constant for.
pub(crate) fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// A method by its name.
pub(crate) fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::GET)
}

/// A value with everything escaped that can be.
pub(crate) fn escaped(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}
