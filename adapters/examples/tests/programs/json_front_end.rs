//! The program that has an API and no pages, as its front end in a browser, a native front end, and their
//! clients meet it.

#[expect(dead_code, unreachable_pub, reason = "the program, whose main is not run here")]
#[path = "../../examples/json_front_end.rs"]
mod program;

use argon2::{Argon2, PasswordHasher as _};
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::visitor::{Browser, CALLBACK, PASSWORD, Page, Site, parameter};

async fn running() -> Site {
    let hash = Argon2::default().hash_password_with_salt(PASSWORD.as_bytes(), b"some salt");
    let hash = hash.expect("hashed").to_string();
    let users = ["alice", "bob"].map(|name| (name.to_owned(), hash.clone()));
    let (site, listener) = Site::new().await;
    let builder = site.builder();
    tokio::spawn(async move {
        let users = program::Users(users.into_iter().collect());
        program::run(listener, builder, users).await.expect("it runs");
    });
    site
}

/// A front end: it keeps cookies, and knows what the documentation says.
struct FrontEnd(Browser);

impl FrontEnd {
    fn new(site: &Site) -> Self {
        Self(Browser::new(site))
    }

    /// What is asked at this address.
    async fn ask(&mut self, address: &str) -> (StatusCode, Value) {
        let request = self.0.get(address).header(ACCEPT, "application/json");
        let page = self.0.send(request).await;
        self.follow(page).await
    }

    /// Answers what was asked: what is asked next.
    async fn answer(&mut self, asked: &Value, with: Value) -> (StatusCode, Value) {
        let member = |name| asked.get(name).unwrap_or_else(|| panic!("no {name} in {asked}"));
        let mut body = member("fields").as_object().expect("an object").clone();
        body.extend(with.as_object().expect("an object").clone());
        let action = member("action").as_str().expect("an address");
        let request = self.0.post(action).header(ACCEPT, "application/json").json(&body);
        let page = self.0.send(request).await;
        self.follow(page).await
    }

    /// As `fetch` does.
    async fn follow(&mut self, mut page: Page) -> (StatusCode, Value) {
        for _ in 0..10 {
            if !page.status.is_redirection() {
                return (page.status, page.json());
            }
            assert!(page.location.starts_with('/'), "elsewhere: {page:?}");
            let request = self.0.get(&page.location).header(ACCEPT, "application/json");
            page = self.0.send(request).await;
        }
        panic!("redirected without end: {page:?}");
    }

    /// From the authorization request to the page of the program, and what that asks first.
    async fn begin(&mut self, site: &Site, more: &[(&str, &str)]) -> Value {
        let page = self.0.open(&site.authorize(more)).await;
        assert!(page.body.contains("<form></form>"), "the page of the program: {page:?}");
        let query = page.url.split_once("/app?").expect("the page of the program").1;
        let (status, asked) = self.ask(&format!("/interaction?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{asked}");
        asked
    }

    async fn sign_in(&mut self, asked: &Value, name: &str, password: &str) -> (StatusCode, Value) {
        assert_eq!(next(asked), "sign_in", "{asked}");
        self.answer(asked, json!({ "username": name, "password": password })).await
    }

    async fn allow(&mut self, asked: &Value) -> String {
        assert_eq!(next(asked), "consent", "{asked}");
        let (_, done) =
            self.answer(asked, json!({ "decision": "allow", "scope": ["profile"] })).await;
        location(&done)
    }

    async fn token(&mut self, site: &Site, name: &str) -> String {
        let asked = self.begin(site, &[]).await;
        let (_, asked) = self.sign_in(&asked, name, PASSWORD).await;
        let location = self.allow(&asked).await;
        site.redeem(&location).await
    }
}

fn text<'a>(asked: &'a Value, name: &str) -> &'a str {
    asked.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn next(asked: &Value) -> &str {
    text(asked, "next")
}

fn location(done: &Value) -> String {
    assert_eq!(next(done), "redirect", "{done}");
    text(done, "location").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_asks_in_json_and_the_client_gets_its_token() {
    // Requirements 6749-010, 6750-001; ATTACKS G11.
    let site = &running().await;
    let mut front = FrontEnd::new(site);
    let asked = front.begin(site, &[]).await;
    assert_eq!(asked.pointer("/client/name"), Some(&json!("Calendar")));
    let mut refusals = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD)] {
        let (status, refused) = front.sign_in(&asked, name, password).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
        refusals.push(text(&refused, "problem").to_owned());
    }
    assert_eq!(refusals, ["wrong_credentials", "wrong_credentials"]);
    let (status, asked) = front.sign_in(&asked, "alice", PASSWORD).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (text(&asked, "username"), asked.pointer("/scopes/0/description")),
        ("alice", Some(&json!("See your name")))
    );
    let location = front.allow(&asked).await;
    let token = site.redeem(&location).await;
    assert_eq!(site.me(&token).await.body, "alice");
    assert_eq!(site.me("gra_wrong").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_is_asked_again_only_where_that_is_wanted() {
    // ATTACKS G07.
    let site = &running().await;
    let mut front = FrontEnd::new(site);
    front.token(site, "alice").await;
    let back = front.0.open(&site.authorize(&[])).await;
    assert!(back.location.starts_with(CALLBACK), "signed in, and allowed before: {back:?}");
    site.redeem(&back.location).await;
    let asked = front.begin(site, &[("prompt", "login")]).await;
    assert_eq!((next(&asked), asked.get("again")), ("sign_in", Some(&json!(true))), "{asked}");
    let (_, done) = front.sign_in(&asked, "alice", PASSWORD).await;
    site.redeem(&location(&done)).await;
    let stranger = FrontEnd::new(site).0.open(&site.authorize(&[("prompt", "none")])).await;
    assert_eq!(parameter(&stranger.location, "error"), "login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_can_say_no_and_sign_out() {
    // Requirement 6749-029.
    let site = &running().await;
    let mut front = FrontEnd::new(site);
    let asked = front.begin(site, &[]).await;
    let (_, asked) = front.sign_in(&asked, "alice", PASSWORD).await;
    let (_, denied) = front.answer(&asked, json!({ "decision": "deny" })).await;
    assert_eq!(parameter(&location(&denied), "error"), "access_denied");
    let (_, mut apps) = front.ask("/apps").await;
    assert_eq!(next(&apps), "connections", "{apps}");
    let sign_out = apps.get("sign_out").expect("an address").clone();
    apps.as_object_mut().expect("an object").insert("action".into(), sign_out);
    let (_, out) = front.answer(&apps, json!({})).await;
    assert_eq!(next(&out), "signed_out", "{out}");
    let asked = front.begin(site, &[]).await;
    assert_eq!(next(&asked), "sign_in", "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_and_another_site_get_nowhere() {
    // ATTACKS A18, B08, G02, G03.
    let site = &running().await;
    let mut front = FrontEnd::new(site);
    let asked = front.begin(site, &[("return_to", "https://evil.example")]).await;
    let (_, asked) = front.sign_in(&asked, "alice", PASSWORD).await;
    let allow = json!({ "decision": "allow", "scope": ["profile"] });
    let (status, refused) = FrontEnd::new(site).answer(&asked, allow.clone()).await;
    assert_eq!((status, next(&refused)), (StatusCode::BAD_REQUEST, "error"), "{refused}");
    let mut forged = front.0.clone();
    forged.origin = "https://evil.example".into();
    let address = format!("{}{}", site.origin, text(&asked, "action"));
    let mut body = asked.get("fields").expect("fields").as_object().expect("an object").clone();
    body.extend(allow.as_object().expect("an object").clone());
    let request = forged.post(&address).header(ACCEPT, "application/json").json(&body);
    assert_eq!(forged.send(request).await.status, StatusCode::FORBIDDEN);
    // The one who was asked still answers, and nobody is sent elsewhere.
    assert!(front.allow(&asked).await.starts_with(CALLBACK));
}

/// The page itself, whose script asks and answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_a_browser() {
    let site = &running().await;
    let chromium = Chromium::open().await;
    chromium.go(&site.authorize(&[])).await;
    chromium.until_headed("Calendar").await;
    chromium.write("[name=username]", "alice").await;
    chromium.write("[name=password]", "wrong").await;
    chromium.click("button").await;
    chromium.until_headed("wrong_credentials").await;
    chromium.write("[name=username]", "alice").await;
    chromium.write("[name=password]", PASSWORD).await;
    chromium.click("button").await;
    let scope = chromium.element("fieldset").await.text().await.expect("a text");
    assert_eq!(scope, "See your name");
    chromium.click("[value=allow]").await;
    let token = site.redeem(&chromium.until_at(CALLBACK).await).await;
    assert_eq!(site.me(&token).await.body, "alice");
    // Signed in, and asked again; this time the answer is no.
    chromium.go(&site.authorize(&[("prompt", "consent")])).await;
    chromium.click("[value=deny]").await;
    let location = chromium.until_at(CALLBACK).await;
    assert_eq!(parameter(&location, "error"), "access_denied");
    // What goes wrong is told, and not what is written in it.
    chromium.go(&format!("{}/app?interaction=gri_no", site.origin)).await;
    chromium.element("h1:not(:empty)").await;
}
