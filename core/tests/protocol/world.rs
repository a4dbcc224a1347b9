//! A small world to decide in: one issuer, one policy, a clock that is told what time it is.

use std::time::Duration;

use grantor::model::{
    Account, Authentication, Client, ClientAuthMethod, CodeChallenge, CodeVerifier, Consent, Grant,
    Handle, HandleKind, Issuer, Policy, ScopeDefinition, ScopeSet, ScopeToken, Secret,
    SecretString, Subject, Timestamp,
};
use grantor::protocol::authorize::{
    self, Answer, AuthorizationError, AuthorizationRequest, AuthorizationResponse, Outcome, Visitor,
};
use grantor::protocol::client_auth::{PresentedClient, VerifiedClient, authenticate};
use grantor::protocol::code::RedeemRequest;
use grantor::protocol::consent::{self, ConsentAnswer, ConsentRequest};
use grantor::protocol::refresh::RefreshRequest;
use grantor::protocol::register::{self, Registered, Registration};
use grantor::protocol::token::TokenResponse;
use grantor::protocol::{Context, Decision, Entropy, Refusal, code, refresh};
use grantor::storage::Record;

pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CALLBACK: &str = "https://client.example/cb";

pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
    seed: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut policy = Policy::default();
        for name in ["read", "write", "admin"] {
            let token = ScopeToken::parse(name).expect("scope");
            policy.scopes.insert(token, ScopeDefinition::new(name));
        }
        Self {
            issuer: Issuer::parse("https://as.example").expect("issuer"),
            policy,
            now: Timestamp::from_millis(1_800_000_000_000),
            seed: 0,
        }
    }

    pub(crate) fn ctx(&self) -> Context<'_> {
        Context { issuer: &self.issuer, policy: &self.policy, now: self.now }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Entropy that was not used before.
    pub(crate) fn entropy(&mut self) -> Entropy {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&self.seed.to_be_bytes());
        Entropy::from_seed(seed)
    }

    pub(crate) fn register(&mut self, registration: &Registration) -> Registered {
        let mut entropy = self.entropy();
        register::register(registration, None, self.ctx(), &mut entropy)
            .outcome
            .expect("registered")
    }

    pub(crate) fn confidential(&mut self) -> Registered {
        self.register(&Registration::confidential("Calendar", CALLBACK, scope("read write")))
    }

    pub(crate) fn public(&mut self) -> Registered {
        self.register(&Registration::public("Phone", CALLBACK, scope("read write")))
    }

    /// What a request of a client asks for when nothing is wrong with it.
    pub(crate) fn request(client: &Client) -> AuthorizationRequest {
        AuthorizationRequest {
            client_id: Some(client.id.to_string()),
            redirect_uri: Some(CALLBACK.into()),
            response_type: Some("code".into()),
            scope: Some("read write".into()),
            state: Some("a state".into()),
            code_challenge: Some(challenge_text()),
            code_challenge_method: Some("S256".into()),
            ..AuthorizationRequest::default()
        }
    }

    pub(crate) fn begin(
        &mut self,
        request: &AuthorizationRequest,
        client: &Client,
        visitor: Visitor<'_>,
    ) -> Decision<Outcome, AuthorizationError> {
        let mut entropy = self.entropy();
        authorize::begin(request, Some(client), visitor, self.ctx(), &mut entropy)
    }

    /// From the request to a grant with a code, all of it allowed.
    pub(crate) fn allowed(&mut self, client: &Client) -> (Grant, Handle) {
        let alice = self.alice();
        self.allowed_by(client, &alice, &World::request(client))
    }

    pub(crate) fn allowed_by(
        &mut self,
        client: &Client,
        user: &User,
        request: &AuthorizationRequest,
    ) -> (Grant, Handle) {
        let begun = self.begin(request, client, user.visitor(None, None));
        let pending = grant_of(begun.write);
        let prompt = match begun.outcome.expect("accepted") {
            Outcome::ConsentRequired(prompt) => prompt,
            other => panic!("consent expected, got {other:?}"),
        };
        let asked = prompt.scope.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(" ");
        let request = ConsentRequest {
            interaction: prompt.interaction.handle.clone(),
            ticket: prompt.ticket.clone(),
            answer: ConsentAnswer::Allow(scope(&asked)),
        };
        let browser = &prompt.interaction.browser;
        let visitor = user.visitor(Some(browser), None);
        let remembered =
            consent::remember(&request, Some(&pending), Some(client), visitor, self.ctx());
        let consent = remembered.outcome.expect("allowed").expect("something to remember");
        let visitor = user.visitor(Some(browser), Some(&consent));
        let answered = consent::answer(&request, Some(&pending), Some(client), visitor, self.ctx());
        let code = code_of(answered.outcome);
        (grant_of(answered.write), code)
    }

    pub(crate) fn alice(&self) -> User {
        User::new("alice", self.now)
    }

    pub(crate) fn redeem(
        &mut self,
        grant: &Grant,
        client: VerifiedClient<'_>,
        request: &RedeemRequest,
    ) -> Decision<TokenResponse> {
        let account = self.alice().account;
        let mut entropy = self.entropy();
        code::redeem(request, client, Some(grant), Some(&account), self.ctx(), &mut entropy)
    }

    pub(crate) fn refresh(
        &mut self,
        grant: &Grant,
        client: VerifiedClient<'_>,
        token: &SecretString,
        scope: Option<&str>,
    ) -> Decision<TokenResponse> {
        let account = self.alice().account;
        let request = RefreshRequest {
            refresh_token: refresh::parse(token.expose()),
            scope: scope.map(str::to_owned),
        };
        let mut entropy = self.entropy();
        refresh::refresh(&request, client, Some(grant), Some(&account), self.ctx(), &mut entropy)
    }

    /// From the request to an active grant.
    pub(crate) fn active(&mut self, registered: &Registered) -> (Grant, TokenResponse) {
        let (grant, code) = self.allowed(&registered.client);
        let client = verified(registered, self.now);
        let decision = self.redeem(&grant, client, &redemption(&code));
        (grant_of(decision.write), decision.outcome.expect("tokens"))
    }
}

/// A user who is signed in.
pub(crate) struct User {
    pub(crate) account: Account,
    pub(crate) authentication: Authentication,
    pub(crate) browser: Secret,
}

impl User {
    pub(crate) fn new(name: &str, auth_time: Timestamp) -> Self {
        let subject = Subject::parse(name).expect("subject");
        Self {
            account: Account::new(subject.clone(), name),
            authentication: Authentication { subject, auth_time },
            browser: Secret::from_bytes([99; 32]),
        }
    }

    pub(crate) fn visitor<'a>(
        &'a self,
        browser: Option<&'a Secret>,
        consent: Option<&'a Consent>,
    ) -> Visitor<'a> {
        Visitor {
            browser: Some(browser.unwrap_or(&self.browser)),
            authentication: Some(&self.authentication),
            account: Some(&self.account),
            consent,
            revoked: None,
        }
    }
}

pub(crate) fn scope(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("scope")
}

pub(crate) fn challenge_text() -> String {
    // RFC 7636 appendix B.
    let text = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let verifier = CodeVerifier::parse(VERIFIER).expect("verifier");
    assert!(CodeChallenge::parse_s256(text).expect("challenge").verify(&verifier));
    text.to_owned()
}

pub(crate) fn present(registered: &Registered) -> PresentedClient {
    let secret = registered.client_secret.clone();
    PresentedClient {
        client_id: registered.client.id.to_string(),
        secret: secret.map(|secret| (ClientAuthMethod::ClientSecretBasic, secret)),
    }
}

pub(crate) fn verified(registered: &Registered, now: Timestamp) -> VerifiedClient<'_> {
    authenticate(&present(registered), Some(&registered.client), now).expect("its own secret")
}

pub(crate) fn redemption(code: &Handle) -> RedeemRequest {
    RedeemRequest {
        code: Some(code.clone()),
        redirect_uri: Some(CALLBACK.into()),
        code_verifier: Some(VERIFIER.into()),
    }
}

pub(crate) fn grant_of(write: Option<Record>) -> Grant {
    match write {
        Some(Record::Grant(grant)) => grant,
        other => panic!("a grant to be written, got {other:?}"),
    }
}

pub(crate) fn response_of(outcome: Result<Outcome, AuthorizationError>) -> AuthorizationResponse {
    match outcome {
        Ok(Outcome::Redirect(response)) => response,
        other => panic!("a redirect expected, got {other:?}"),
    }
}

pub(crate) fn code_of(outcome: Result<Outcome, AuthorizationError>) -> Handle {
    match response_of(outcome).answer {
        Answer::Code(code) => Handle::parse(HandleKind::Code, code.expose()).expect("a code"),
        Answer::Error(refusal) => panic!("a code expected, got {refusal}"),
    }
}

pub(crate) fn refusal<T: std::fmt::Debug>(decision: &Decision<T>) -> &Refusal {
    decision.outcome.as_ref().expect_err("refused")
}
