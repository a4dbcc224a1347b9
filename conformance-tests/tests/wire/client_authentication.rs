//! Who is calling (RFC 6749 section 2.3 and 3.2.1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantor::model::{ApplicationType, ClientAuthMethod};
use grantor::protocol::register::{Registered, Registration};
use http::Method;

use crate::world::{
    Answer, CALLBACK, SERVICE, Tokens, World, basic, encode, redemption, renewal, request, scope,
};

const ENDPOINTS: [&str; 3] = ["/token", "/revoke", "/introspect"];

fn secret(client: &Registered) -> &str {
    client.client_secret.as_ref().expect("a secret").expose()
}

/// A form that each of the endpoints would answer.
fn form_of(endpoint: &str) -> Vec<(&'static str, &'static str)> {
    match endpoint {
        "/token" => SERVICE.to_vec(),
        _ => vec![("token", "nothing")],
    }
}

async fn with_header(world: &World, endpoint: &str, value: &str) -> Answer {
    let headers = [("authorization", value)];
    world.post(endpoint, &headers, &form_of(endpoint)).await
}

#[tokio::test]
async fn a_name_alone_never_authenticates_a_confidential_client() {
    // Requirements 6749-001, 6749-002, 6749-035, 6749-054, 6749-063, 6749-070, 7662-003; ATTACKS E02, F01:
    // whatever the grant type, and nothing is consumed by the attempt.
    let world = World::new();
    let client = world.confidential().await;
    let service = world.service().await;
    let code = world.code(&client).await;
    let tokens = world.tokens(&client).await;
    let attempts = [
        ("/token", &client, redemption(&code).to_vec()),
        ("/token", &client, renewal(&tokens.refresh).to_vec()),
        ("/token", &service, SERVICE.to_vec()),
        ("/revoke", &client, vec![("token", &tokens.refresh)]),
        ("/introspect", &client, vec![("token", &tokens.access)]),
    ];
    for (endpoint, who, form) in attempts {
        for (name, value) in
            [("client_id", who.client.id.as_str()), ("client_id", "unknown"), ("x", "")]
        {
            let mut form = form.clone();
            form.push((name, value));
            world.post(endpoint, &[], &form).await.refused(401, "invalid_client");
        }
        let wrong = basic(&who.client.id, "grk_wrong");
        world
            .post(endpoint, &[("authorization", &wrong)], &form)
            .await
            .refused(401, "invalid_client");
    }
    assert!(world.is_active(&tokens.access).await);
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
    assert_eq!(world.redeem(&client, &code).await.status, 200);
}

#[tokio::test]
async fn basic_and_form_both_work_and_each_is_registered() {
    // Requirements 6749-005, 6749-009, OA21-006; ATTACKS E01.
    let world = World::new();
    let both = [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost];
    for (methods, in_header, in_form) in [
        (both.to_vec(), 200, 200),
        (vec![ClientAuthMethod::ClientSecretBasic], 200, 401),
        (vec![ClientAuthMethod::ClientSecretPost], 401, 200),
    ] {
        let registration = Registration {
            auth_methods: methods,
            resource_server: true,
            ..Registration::service("Job", scope("read write"))
        };
        let client = world.register(&registration).await;
        for endpoint in ENDPOINTS {
            let header =
                with_header(&world, endpoint, &basic(&client.client.id, secret(&client))).await;
            assert_eq!(header.status, in_header, "{endpoint}: {header:?}");
            let mut form = form_of(endpoint);
            form.push(("client_id", client.client.id.as_str()));
            form.push(("client_secret", secret(&client)));
            let posted = world.post(endpoint, &[], &form).await;
            assert_eq!(posted.status, in_form, "{endpoint}: {posted:?}");
            // An assertion is a method for which nobody can be registered yet.
            let mut form = form_of(endpoint);
            form.push((
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
            form.push(("client_assertion", "a.b.c"));
            world.post(endpoint, &[], &form).await.refused(401, "invalid_client");
        }
    }
}

#[tokio::test]
async fn one_method_at_a_time() {
    // Requirement 6749-004; ATTACKS E01: the same and different credentials, and nothing is consumed.
    let world = World::new();
    let client = world.confidential().await;
    let other = world.confidential().await;
    let code = world.code(&client).await;
    let tokens = world.tokens(&client).await;
    let header = basic(&client.client.id, secret(&client));
    let (id, own) = (client.client.id.as_str(), secret(&client));
    let (other_id, other_secret) = (other.client.id.as_str(), secret(&other));
    let additions: [&[(&str, &str)]; 6] = [
        &[("client_secret", own)],
        &[("client_id", id), ("client_secret", own)],
        &[("client_id", other_id), ("client_secret", other_secret)],
        &[("client_id", other_id)],
        &[("client_assertion", "a.b.c")],
        &[("client_assertion_type", "x")],
    ];
    for addition in additions {
        for (endpoint, form) in [
            ("/token", redemption(&code).to_vec()),
            ("/token", renewal(&tokens.refresh).to_vec()),
            ("/revoke", vec![("token", tokens.refresh.as_str())]),
            ("/introspect", vec![("token", tokens.access.as_str())]),
        ] {
            let form = [form.as_slice(), addition].concat();
            let answer = world.post(endpoint, &[("authorization", &header)], &form).await;
            answer.refused(400, "invalid_request");
        }
    }
    let form = [
        &redemption(&code)[..],
        &[("client_id", id), ("client_secret", own), ("client_assertion", "x")],
    ];
    world.post("/token", &[], &form.concat()).await.refused(400, "invalid_request");
    let twice = [("authorization", header.as_str()), ("authorization", header.as_str())];
    world.post("/token", &twice, &redemption(&code)).await.refused(400, "invalid_request");
    // The same name in header and form is no second method.
    let form = [&redemption(&code)[..], &[("client_id", id)]].concat();
    assert_eq!(world.post("/token", &[("authorization", &header)], &form).await.status, 200);
    assert_eq!(world.refresh(&client, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn the_uri_is_no_place_for_credentials() {
    // Requirement 6749-007; ATTACKS F10: also beside good ones, and the code survives it.
    let world = World::new();
    let client = world.confidential().await;
    let code = world.code(&client).await;
    let (id, own) = (client.client.id.as_str(), secret(&client));
    let header = basic(&client.client.id, own);
    for query in [
        encode(&[("client_id", id), ("client_secret", own)]),
        encode(&[("client_id", id)]),
        encode(&[("client_secret", own)]),
        encode(&[("client_assertion", "a.b.c")]),
    ] {
        for endpoint in ENDPOINTS {
            let form = match endpoint {
                "/token" => encode(&redemption(&code)),
                _ => encode(&[("token", &code)]),
            };
            let target = format!("{endpoint}?{query}");
            for headers in [vec![], vec![("authorization", header.as_str())]] {
                let answer = world.send(request(Method::POST, &target, &headers, &form)).await;
                answer.refused(400, "invalid_request");
            }
        }
    }
    assert_eq!(world.redeem(&client, &code).await.status, 200);
}

#[tokio::test]
async fn basic_credentials_are_read_strictly() {
    // Requirements 6749-006, 6749-060, 6749-084; ATTACKS E13, J02: never 500, always the challenge.
    let world = World::new();
    let client = world.service().await;
    let (id, own) = (client.client.id.as_str(), secret(&client));
    let encoded = |pair: &[u8]| format!("Basic {}", STANDARD.encode(pair));
    let good = encoded(format!("{id}:{own}").as_bytes());
    let oversized = encoded(format!("{id}:{}", "x".repeat(3000)).as_bytes());
    for bad in [
        "Basic",
        "Basic ",
        "Basic %%%",
        "Basic ====",
        "Bearer abc",
        "Negotiate abc",
        &encoded(b""),
        &encoded(b":"),
        &encoded(b"no colon"),
        &encoded(format!("{id}:").as_bytes()),
        &encoded(format!(":{own}").as_bytes()),
        &encoded(format!("{id}:%zz").as_bytes()),
        &encoded(format!("{id}:%").as_bytes()),
        &encoded(format!("{id}:%ff").as_bytes()),
        &encoded(format!("{id}:\0").as_bytes()),
        &encoded(b"\xff\xfe:x"),
        &encoded(format!("{id} :{own}").as_bytes()),
        &encoded(format!("{id}:{own}x").as_bytes()),
        &encoded(format!("{id}:{own}\0").as_bytes()),
        &encoded(format!("{}:{own}", id.to_uppercase()).as_bytes()),
        &oversized,
        &good.replace("Basic ", "Basic"),
        &good.replace("Basic ", "Basic !"),
        &format!("{good}, {good}"),
    ] {
        for endpoint in ENDPOINTS {
            with_header(&world, endpoint, bad).await.refused(401, "invalid_client");
        }
    }
    let escaped: String = own.bytes().map(|b| format!("%{b:02x}")).collect();
    for good in [
        good.clone(),
        good.replace("Basic", "basic"),
        good.replace("Basic", "BASIC"),
        encoded(format!("{id}:{escaped}").as_bytes()),
    ] {
        assert_eq!(with_header(&world, "/token", &good).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn a_public_client_cannot_become_more() {
    // Requirements 6749-003, 6749-053, OA21-015, 7662-009; ATTACKS E03, F01.
    let world = World::new();
    let client = world.public().await;
    let code = world.code(&client).await;
    let id = client.client.id.as_str();
    let form =
        [&redemption(&code)[..], &[("client_id", id), ("client_secret", "made up")]].concat();
    world.post("/token", &[], &form).await.refused(401, "invalid_client");
    let header = basic(&client.client.id, "made up");
    let answer = world.post("/token", &[("authorization", &header)], &redemption(&code)).await;
    answer.refused(401, "invalid_client");
    world.call("/token", &client, &SERVICE).await.refused(400, "unauthorized_client");
    let tokens = Tokens::of(&world.redeem(&client, &code).await);
    let answer = world.call("/introspect", &client, &[("token", &tokens.access)]).await;
    answer.refused(401, "invalid_client");
}

#[tokio::test]
async fn a_client_has_the_grant_types_it_registered() {
    // Requirement 6749-061; ATTACKS E04.
    let world = World::new();
    let client = world.confidential().await;
    let service = world.service().await;
    world.call("/token", &client, &SERVICE).await.refused(400, "unauthorized_client");
    let code = world.code(&client).await;
    world.redeem(&service, &code).await.refused(400, "unauthorized_client");
    let tokens = Tokens::of(&world.redeem(&client, &code).await);
    world.refresh(&service, &tokens.refresh).await.refused(400, "unauthorized_client");
    let form = [("grant_type", "client_credentials"), ("scope", "admin")];
    world.call("/token", &service, &form).await.refused(400, "invalid_scope");
    let once = Registration {
        grant_types: vec![grantor::model::GrantType::AuthorizationCode],
        ..Registration::confidential("Once", CALLBACK, scope("read write"))
    };
    let once = world.register(&once).await;
    let tokens = world.tokens(&once).await;
    assert_eq!(tokens.refresh, "", "9700-034: not registered for it, so none is issued");
}

#[tokio::test]
async fn wrong_and_unknown_look_the_same() {
    // Requirement 6749-051; ATTACKS E14: same status, same headers, same body.
    let world = World::new();
    let client = world.service().await;
    let public = world.public().await;
    let removed = world.service().await;
    world.server.remove_client(&removed.client.id).await.expect("removed");
    let unknown = grantor::model::ClientId::parse("unknown").expect("id");
    for endpoint in ENDPOINTS {
        let mut answers = Vec::new();
        for (id, secret) in [
            (&client.client.id, "grk_wrong"),
            (&unknown, "grk_wrong"),
            (&public.client.id, "grk_wrong"),
            (&removed.client.id, secret(&removed)),
        ] {
            let answer = with_header(&world, endpoint, &basic(id, secret)).await;
            answer.refused(401, "invalid_client");
            answers.push((answer.headers, answer.body));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_right_secret_works_on() {
    // Requirements 6749-008, 7009-012, HTTP-007; ATTACKS E15: on each endpoint, 400 guesses in no time.
    for endpoint in ENDPOINTS {
        let world = World::new();
        let client = world.service().await;
        let wrong = basic(&client.client.id, "grk_wrong");
        let right = basic(&client.client.id, secret(&client));
        let mut slowed = 0;
        for n in 0..400 {
            let answer = with_header(&world, endpoint, &wrong).await;
            if answer.status == 429 {
                answer.refused(429, "invalid_client");
                slowed += 1;
            } else {
                answer.refused(401, "invalid_client");
                assert_eq!(slowed, 0, "guess {n}: once slowed, it stays slowed");
            }
        }
        assert!(slowed >= 300, "{endpoint}: {slowed}");
        assert_eq!(with_header(&world, endpoint, &right).await.status, 200);
        let other = world.service().await;
        let answer = with_header(&world, endpoint, &basic(&other.client.id, "grk_wrong")).await;
        answer.refused(401, "invalid_client");
        world.pass(Duration::from_secs(60));
        with_header(&world, endpoint, &wrong).await.refused(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_rotated_secret_works_for_the_overlap_and_no_longer() {
    // ATTACKS E16; requirement 6749-035.
    let world = World::new();
    let old = world.service().await;
    let new = world.server.rotate_client_secret(&old.client.id).await.expect("rotated");
    for client in [&old, &new] {
        assert_eq!(world.call("/token", client, &SERVICE).await.status, 200);
    }
    world.pass(Duration::from_secs(86_400));
    world.call("/token", &old, &SERVICE).await.refused(401, "invalid_client");
    assert_eq!(world.call("/token", &new, &SERVICE).await.status, 200);
}

#[tokio::test]
async fn a_type_is_recorded_and_never_changes() {
    // Requirements 6749-001, 6749-069, OA21-003, OA21-022, 8252-009, 9700-015, 9700-039.
    let world = World::new();
    let public = world.public().await;
    assert!(public.client_secret.is_none());
    world
        .server
        .rotate_client_secret(&public.client.id)
        .await
        .expect_err("no secret is added later");
    assert!(!["alice", "mallory"].contains(&public.client.id.as_str()));
    assert!(public.client.id.as_str().starts_with("client-"));
    // A secret that ships with an app proves nothing: PKCE is demanded, and consent asked each time.
    let app = Registration {
        application_type: ApplicationType::Native,
        ..Registration::confidential("App", CALLBACK, scope("read write"))
    };
    let app = world.register(&app).await;
    let url = crate::world::authorize_url(
        &app,
        &[("code_challenge", None), ("code_challenge_method", None)],
    );
    world.get(&url).await.told("invalid_request");
    let mut browser = crate::world::Browser::default();
    for _ in 0..2 {
        let page = browser.reach_consent(&world, &crate::world::authorize_url(&app, &[])).await;
        assert_eq!(browser.decide(&world, &page, &["read"], "allow").await.status, 303);
    }
}
