//! A host that draws sign-in and consent itself: JSON in, JSON out.

use grantor::AuthorizationServer;
use grantor::engine::{BuildError, Builder};
use grantor::storage::MemoryStorage;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Browser, CALLBACK, PASSWORD, Tokens, World, authorize_url};

const JSON: (&str, &str) = ("accept", "application/json");

fn world() -> World {
    World::with(|builder| builder.interaction_page("/app?theme=dark"))
}

/// The program behind the page: it knows what the documentation of `grantor::wire` says.
#[derive(Default)]
struct FrontEnd {
    browser: Browser,
}

impl FrontEnd {
    async fn ask(&mut self, world: &World, target: &str) -> Answer {
        let mut answer = self.browser.send(world, Method::GET, target, &[JSON], "").await;
        // Redirects here are followed as they come.
        while answer.status == 303 {
            let target = answer.location().to_owned();
            assert!(target.starts_with('/'), "{answer:?}");
            answer = self.browser.send(world, Method::GET, &target, &[JSON], "").await;
        }
        answer
    }

    async fn post(&mut self, world: &World, target: &str, body: &str) -> Answer {
        let headers =
            [JSON, ("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
        let answer = self.browser.send(world, Method::POST, target, &headers, body).await;
        if answer.status == 303 {
            let target = answer.location().to_owned();
            return self.ask(world, &target).await;
        }
        answer
    }

    /// Posts the fields of an answer, and these.
    async fn answer(&mut self, world: &World, asked: &Value, more: Value) -> Answer {
        let mut members = asked["fields"].as_object().expect("fields").clone();
        members.extend(more.as_object().expect("an object").clone());
        let action = asked["action"].as_str().expect("an action").to_owned();
        self.post(world, &action, &Value::Object(members).to_string()).await
    }

    /// From the authorization request to the question of consent.
    async fn reach_consent(&mut self, world: &World, url: &str) -> Value {
        let asked = self.ask(world, url).await.json();
        assert_eq!(asked["next"], "sign_in", "{asked}");
        let who = json!({"username": "alice", "password": PASSWORD});
        let asked = self.answer(world, &asked, who).await.json();
        assert_eq!(asked["next"], "consent", "{asked}");
        asked
    }
}

#[tokio::test]
async fn a_program_asks_and_answers_in_json() {
    // Requirements 6749-010, 6749-025, 9207-001; ATTACKS G11.
    let world = world();
    let client = world.confidential().await;
    let mut front = FrontEnd::default();
    // The browser is sent to the host's page, and the page has all that it needs.
    let away = front.browser.get(&world, &authorize_url(&client, &[])).await;
    let (page, interaction) = away.location().rsplit_once("&interaction=").expect("a parameter");
    assert_eq!(page, "/app?theme=dark");
    let path = format!("/interaction?interaction={interaction}");
    let asked = front.ask(&world, &path).await.json();
    assert_eq!(asked["next"], "sign_in");
    assert_eq!(asked["client"]["name"], "Calendar");
    assert_eq!(asked["problem"], Value::Null);
    let wrong = json!({"username": "alice", "password": "wrong"});
    let refused = front.answer(&world, &asked, wrong).await;
    assert_eq!(refused.status, 403);
    let asked = refused.json();
    assert_eq!(
        (&asked["next"], &asked["problem"]),
        (&json!("sign_in"), &json!("wrong_credentials"))
    );
    let right = json!({"username": "alice", "password": PASSWORD});
    let asked = front.answer(&world, &asked, right).await.json();
    assert_eq!(asked["next"], "consent", "{asked}");
    assert_eq!(asked["username"], "alice");
    assert_eq!(asked["destination"]["name"], "client.example");
    let scopes: Vec<&Value> = asked["scopes"].as_array().expect("scopes").iter().collect();
    assert_eq!(scopes.iter().map(|s| &s["name"]).collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(scopes[0]["description"], "See your calendar");
    // Part of it is allowed.
    let allowed = json!({"decision": "allow", "scope": ["read"]});
    let done = front.answer(&world, &asked, allowed).await;
    assert_eq!(done.status, 200, "{done:?}");
    let done = done.json();
    assert_eq!(done["next"], "redirect");
    let location = done["location"].as_str().expect("an address");
    assert!(location.starts_with(CALLBACK), "{location}");
    let query = location.split_once('?').expect("a query").1;
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(known, _)| known == name).expect("a parameter").1.into_owned()
    };
    assert_eq!(
        (parameter("state"), parameter("iss")),
        ("a state".into(), crate::world::ISSUER.into())
    );
    let redeemed = world.redeem(&client, &parameter("code")).await;
    assert_eq!(redeemed.json()["scope"], "read");
    assert!(world.is_active(&Tokens::of(&redeemed).access).await);
    // A person who comes to this server's own path is sent to the host's page.
    let away =
        front.browser.get(&world, &authorize_url(&client, &[("prompt", Some("consent"))])).await;
    let path = away.location().replace("/app?theme=dark&", "/interaction?");
    assert_eq!(front.browser.get(&world, &path).await.location(), away.location());
}

#[tokio::test]
async fn a_program_is_told_of_no_and_of_what_goes_wrong() {
    // Requirement 6749-029; ATTACKS B08, G02, G03.
    let world = world();
    let client = world.confidential().await;
    let url = authorize_url(&client, &[]);
    let mut front = FrontEnd::default();
    let asked = front.reach_consent(&world, &url).await;
    // Another browser, another site, a wrong ticket, no decision.
    let allow = json!({"decision": "allow", "scope": ["read"]});
    let stranger = FrontEnd::default().answer(&world, &asked, allow.clone()).await;
    assert_eq!((stranger.status, &stranger.json()["next"]), (400, &json!("error")));
    let body = allow.to_string();
    let headers = [JSON, ("content-type", "application/json"), ("sec-fetch-site", "cross-site")];
    let action = asked["action"].as_str().expect("an action");
    let other = front.browser.send(&world, Method::POST, action, &headers, &body).await;
    assert_eq!((other.status, &other.json()["kind"]), (403, &json!("not_from_here")));
    let mut forged = asked.clone();
    forged["fields"]["ticket"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(front.answer(&world, &forged, allow).await.status >= 400);
    for bad in ["", "[]", "null", "{", "{\"interaction\":1}", "{\"a\":{}}"] {
        let answer = front.post(&world, action, bad).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{bad}");
    }
    // Refused requests of a good client go back to it; others stay.
    let denied = front.answer(&world, &asked, json!({"decision": "deny"})).await.json();
    assert!(denied["location"].as_str().expect("an address").contains("error=access_denied"));
    let again = front.answer(&world, &asked, json!({"decision": "deny"})).await;
    assert_eq!(again.json()["kind"], "already_answered", "{again:?}");
    let unknown = authorize_url(&client, &[("redirect_uri", Some("https://evil.example/"))]);
    let unknown = front.ask(&world, &unknown).await;
    assert_eq!((unknown.status, &unknown.json()["kind"]), (400, &json!("bad_request")));
    assert_eq!(front.ask(&world, "/nowhere").await.json()["kind"], "not_found");
}

#[tokio::test]
async fn connected_apps_are_there_too() {
    let world = world();
    let client = world.confidential().await;
    let mut front = FrontEnd::default();
    let asked = front.reach_consent(&world, &authorize_url(&client, &[])).await;
    front.answer(&world, &asked, json!({"decision": "allow", "scope": ["read"]})).await;
    let apps = front.ask(&world, "/apps").await.json();
    assert_eq!(apps["next"], "connections");
    assert_eq!(apps["connections"][0]["client_name"], "Calendar");
    let one = json!({"client_id": client.client.id.as_str()});
    let apps = front.answer(&world, &apps, one).await.json();
    assert_eq!((&apps["withdrawn"], &apps["connections"]), (&json!(true), &json!([])));
    let mut out = apps.clone();
    out["action"] = apps["sign_out"].clone();
    assert_eq!(front.answer(&world, &out, json!({})).await.json()["next"], "signed_out");
    assert_eq!(front.ask(&world, "/apps").await.json()["next"], "sign_in");
}

#[tokio::test]
async fn without_such_a_page_there_is_no_second_door() {
    let world = World::new();
    let client = world.confidential().await;
    let mut browser = Browser::default();
    let page = browser.open(&world, &authorize_url(&client, &[])).await;
    let form = crate::world::hidden(&page);
    let fields: serde_json::Map<String, Value> =
        form.into_iter().map(|(name, value)| (name, value.into())).collect();
    let headers = [JSON, ("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    let body = Value::Object(fields).to_string();
    let answer = browser.send(&world, Method::POST, "/interaction/login", &headers, &body).await;
    answer.explained(415);
}

#[tokio::test]
async fn a_program_that_forgets_to_say_what_it_accepts_does_not_burn_the_code() {
    // `fetch` accepts everything unless it is told otherwise, and follows redirects by itself.
    let world = world();
    let client = world.confidential().await;
    let mut front = FrontEnd::default();
    let asked = front.reach_consent(&world, &authorize_url(&client, &[])).await;
    let fields = asked["fields"].as_object().expect("fields").clone();
    let members = fields.into_iter().chain([("decision".to_owned(), json!("deny"))]);
    let body = Value::Object(members.collect()).to_string();
    let headers = [
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    let action = asked["action"].as_str().expect("an action");
    let answer = front.browser.send(&world, Method::POST, action, &headers, &body).await;
    assert_eq!((answer.status, &answer.json()["next"]), (200, &json!("redirect")));
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
}

#[test]
fn a_page_is_where_it_can_work() {
    let build = |change: &dyn Fn(Builder) -> Builder| {
        let builder = AuthorizationServer::builder("https://as.example".parse().expect("issuer"))
            .storage(MemoryStorage::new())
            .authenticator(crate::world::SharedUsers::default());
        change(builder).build().err()
    };
    for page in ["/app", "/app?a=b", "https://as.example/app"] {
        assert_eq!(build(&|builder| builder.interaction_page(page)), None, "{page}");
    }
    for page in ["/login", "https://login.example/?a=b", "http://localhost:1/login"] {
        assert_eq!(build(&|builder| builder.login_page(page)), None, "{page}");
    }
    for page in [
        "",
        "app",
        "//evil.example",
        "/a\\b",
        "/a#b",
        "javascript:x",
        "data:x,y",
        "mailto:x@y",
        "/interaction",
        "/apps",
        "https://as.example/authorize",
    ] {
        let login = build(&|builder| builder.login_page(page));
        assert_eq!(login, Some(BuildError::LoginPage), "{page}");
        let interaction = build(&|builder| builder.interaction_page(page));
        assert_eq!(interaction, Some(BuildError::InteractionPage), "{page}");
    }
    // Its requests carry the issuer's cookies.
    let elsewhere = build(&|builder| builder.interaction_page("https://www.example/app"));
    assert_eq!(elsewhere, Some(BuildError::InteractionPage));
}
