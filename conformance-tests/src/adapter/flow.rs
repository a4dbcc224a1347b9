//! The whole flow, as one client and one user meet it.

use grantor::protocol::register::Registered;
use http::{Method, header};

use super::exchange::Visitor;
use super::stage::{Stage, on_stage, scopes};
use super::users::{NAME, PASSWORD, SUBJECT};
use super::{READ, Serve, WRITE};
use crate::runner::browser::{Answer, Landing, Plan};
use crate::runner::config::Config;
use crate::runner::ours::{CALLBACK, conforms, furnish};
use crate::runner::probe::{Ask, Form, challenge, random};
use crate::runner::wire::Reply;
use crate::runner::{Options, Secret, Verdict, run};

/// Discovery, sign-in, consent to one of two scopes, code with PKCE, a protected resource, refresh,
/// introspection, revocation.
pub fn the_whole_flow(serve: Serve) {
    // Requirements 6749-037, 6749-045, 6750-005, 6750-008, 6750-009, 7009-001, 7636-002.
    on_stage(serve, async |stage| {
        let visitor = Visitor::of(stage);
        let client = stage.client().await;
        let metadata = visitor.get(&stage.site.server.issuer().metadata_path()).await;
        let endpoint = |name: &str| metadata.member(name).expect("an endpoint");
        assert_eq!(metadata.member("issuer").as_deref(), Some(stage.site.server.issuer().as_str()));

        let ask = ask(&endpoint("authorization_endpoint"), client.client.id.as_str());
        let (code, state) = allow_reading(&visitor, &ask).await;
        assert_eq!(state, ask.state);

        let redeem = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &ask.verifier),
        ];
        let tokens = visitor.form(&client, &endpoint("token_endpoint"), &redeem).await;
        assert_eq!(tokens.member("scope").as_deref(), Some(READ), "{tokens:?}");
        assert_eq!(tokens.header(header::CACHE_CONTROL), "no-store");
        opens_reading_only(&visitor, &tokens.member("access_token").expect("a token")).await;

        let refresh = tokens.member("refresh_token").expect("a refresh token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh)];
        let tokens = visitor.form(&client, &endpoint("token_endpoint"), &form).await;
        let access = tokens.member("access_token").expect("a token");
        opens_reading_only(&visitor, &access).await;

        let resource_server = stage.resource_server().await;
        let asked = async |token: &str| {
            let url = endpoint("introspection_endpoint");
            visitor.form(&resource_server, &url, &[("token", token)]).await
        };
        let found = asked(&access).await;
        assert!(found.json().get("active").is_some_and(|active| active == true), "{found:?}");
        assert_eq!(found.member("sub").as_deref(), Some(SUBJECT));
        assert_eq!(found.member("scope").as_deref(), Some(READ));

        revoke(&visitor, &client, &endpoint("revocation_endpoint"), &access).await;
        assert_eq!(asked(&access).await.json(), serde_json::json!({ "active": false }));
        let refused = visitor.with_token(Method::GET, "/events", &access).await;
        assert_eq!(refused.status, 401);
        let challenge = refused.header(header::WWW_AUTHENTICATE);
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    });
}

/// Everything that the black-box runner looks at.
pub fn the_runner_finds_nothing(serve: Serve) {
    on_stage(serve, async |stage| {
        let mut config = Config {
            issuer: Some(stage.site.server.issuer().as_str().to_owned()),
            scope: Some(scopes().to_string()),
            resource: Some(stage.url("/events")),
            ..Config::default()
        };
        config.user.username = Some(NAME.to_owned());
        config.user.password = Some(Secret::new(PASSWORD));
        furnish(&stage.site.server, &scopes(), &mut config).await;
        let options = Options { config, strict: true, ..Options::default() };
        let report = run(&options, &mut ()).await.expect("a report");
        conforms(&report);
        assert!(report.count(Verdict::Pass) >= 170, "{}", report.count(Verdict::Pass));
    });
}

/// An access token that a user allowed, for both scopes.
pub(super) async fn access_token(stage: &Stage, visitor: &Visitor<'_>) -> String {
    let client = stage.client().await;
    let ask = ask(&stage.url("/authorize"), client.client.id.as_str());
    let answer = match visitor.drive(&mut visitor.browser(), &ask, Plan::Allow).await {
        Landing::Client(answer) => answer,
        other => panic!("{}", other.describe()),
    };
    let form = [
        ("grant_type", "authorization_code"),
        ("code", answer.get("code").expect("a code")),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &ask.verifier),
    ];
    let tokens = visitor.form(&client, &stage.url("/token"), &form).await;
    tokens.member("access_token").expect("a token")
}

/// A good authorization request for both scopes.
pub(super) fn ask(endpoint: &str, client_id: &str) -> Ask {
    let (verifier, state) = (random(64).expect("random"), random(22).expect("random"));
    let parameters = [
        ("client_id", client_id),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", &scopes().to_string()),
        ("state", &state),
        ("code_challenge", &challenge(&verifier)),
        ("code_challenge_method", "S256"),
    ];
    let redirect_uri = CALLBACK.to_owned();
    Ask {
        endpoint: endpoint.to_owned(),
        parameters: Form::new(&parameters).0,
        verifier,
        state,
        redirect_uri,
    }
}

/// A user who signs in, takes the tick from [`WRITE`], and allows the rest: code and state.
async fn allow_reading(visitor: &Visitor<'_>, ask: &Ask) -> (String, String) {
    let mut browser = visitor.browser();
    let mut shown = match visitor.drive(&mut browser, ask, Plan::SignIn).await {
        Landing::Consent(shown) => shown,
        other => panic!("{}", other.describe()),
    };
    let boxes = shown.form.fields.len();
    shown.form.fields.retain(|field| field.value != WRITE);
    assert_eq!(shown.form.fields.len() + 1, boxes, "the consent page has a box for {WRITE}");
    let reply: Reply = visitor.browse(&mut browser, visitor.allow(&shown)).await;
    let answer = Answer::read(&reply.location().expect("a redirect to the client"));
    let parameter = |name: &str| answer.get(name).unwrap_or_default().to_owned();
    assert!(answer.location.starts_with(CALLBACK) && !parameter("code").is_empty(), "{answer:?}");
    (parameter("code"), parameter("state"))
}

/// A token of a user who allowed [`READ`] only.
async fn opens_reading_only(visitor: &Visitor<'_>, token: &str) {
    let events = visitor.with_token(Method::GET, "/events", token).await;
    assert_eq!((events.status.as_u16(), events.text().as_str()), (200, SUBJECT), "{events:?}");
    let refused = visitor.with_token(Method::POST, "/events", token).await;
    let challenge = refused.header(header::WWW_AUTHENTICATE);
    assert_eq!(refused.status, 403);
    assert!(
        challenge.contains("error=\"insufficient_scope\"")
            && challenge.contains(&format!("scope=\"{WRITE}\"")),
        "{challenge}"
    );
    let refused = visitor.get("/events").await;
    let challenge = refused.header(header::WWW_AUTHENTICATE);
    assert_eq!(refused.status, 401);
    assert!(challenge.starts_with("Bearer realm=\"calendar\""), "{challenge}");
    assert!(!challenge.contains("error"), "nobody was refused anything: {challenge}");
}

async fn revoke(visitor: &Visitor<'_>, client: &Registered, endpoint: &str, token: &str) {
    let reply = visitor.form(client, endpoint, &[("token", token)]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}
