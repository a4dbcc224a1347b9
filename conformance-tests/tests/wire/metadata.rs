//! The metadata document (RFC 8414), and that it says what is so.

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    Browser, CALLBACK, ISSUER, SERVICE, Tokens, World, authorize_url, basic, encode, redemption,
    renewal, request,
};

const PATH: &str = "/.well-known/oauth-authorization-server";

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("an array").iter().map(|text| text.as_str().expect("text")).collect()
}

#[tokio::test]
async fn the_document_is_all_there_and_nothing_more() {
    // Requirements 6749-012, 6749-030, 6749-078, 7009-002, 7636-010, 7662-001, 8414-001, 8414-002, 8414-010,
    // 8414-011, 8414-012, 9207-002, 9207-003, 9700-007, 9700-008, 9700-012, 9700-014, 9700-027, OA21-001,
    // MCP-003, MCP-005.
    let world = World::new();
    let answer = world.get(PATH).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(
        answer.json(),
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token",
            "revocation_endpoint": "https://as.example/revoke",
            "introspection_endpoint": "https://as.example/introspect",
            "scopes_supported": ["admin", "read", "write"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "ui_locales_supported": ["en", "ko"],
        })
    );
    let head = world.send(request(Method::HEAD, PATH, &[], "")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers, answer.headers);
    let post = world.post(PATH, &[], &[]).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn nothing_is_listed_that_is_empty_or_insecure() {
    // Requirements 8414-003, 8414-011: no "none" among algorithms, since no JWT method is offered.
    let world = World::with_policy(|policy| policy.refresh = None);
    let metadata = world.get(PATH).await.json();
    for (name, value) in metadata.as_object().expect("an object") {
        assert!(!value.is_null() && value != &json!([]), "{name}");
        assert!(!name.contains("_alg_") && !name.contains("jwks"), "{name}");
        if name.ends_with("_endpoint") || name == "issuer" {
            let text = value.as_str().expect("text");
            assert!(text.starts_with("https://") && !text.contains(['?', '#']), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_advertised_works() {
    // Requirements 8414-002, 8414-007; ATTACKS K13: every endpoint, grant type, method of authentication and of
    // PKCE, response type and mode that the document names.
    let world = World::new();
    let metadata = world.get(PATH).await.json();
    for (name, value) in metadata.as_object().expect("an object") {
        if name.ends_with("_endpoint") {
            let path =
                value.as_str().expect("text").strip_prefix(ISSUER).expect("below the issuer");
            assert_ne!(world.post(path, &[], &[]).await.status, 404, "{name}");
        }
    }
    for method in texts(&metadata["token_endpoint_auth_methods_supported"]) {
        let client = match method {
            "none" => world.public().await,
            _ => world.confidential().await,
        };
        let id = client.client.id.as_str();
        let secret = client.client_secret.as_ref().map(|secret| secret.expose());
        let header = secret
            .filter(|_| method == "client_secret_basic")
            .map(|secret| basic(&client.client.id, secret));
        let headers: Vec<(&str, &str)> =
            header.iter().map(|value| ("authorization", value.as_str())).collect();
        let own: Vec<(&str, &str)> = match method {
            "client_secret_basic" => vec![],
            "client_secret_post" => {
                vec![("client_id", id), ("client_secret", secret.expect("a secret"))]
            }
            "none" => vec![("client_id", id)],
            other => panic!("{other} is advertised and not tested"),
        };
        for response_type in texts(&metadata["response_types_supported"]) {
            for response_mode in texts(&metadata["response_modes_supported"]) {
                for pkce in texts(&metadata["code_challenge_methods_supported"]) {
                    let change = [
                        ("response_type", Some(response_type)),
                        ("response_mode", Some(response_mode)),
                        ("code_challenge_method", Some(pkce)),
                    ];
                    let answer =
                        Browser::default().walk(&world, &authorize_url(&client, &change)).await;
                    assert_eq!(answer.parameter("iss"), metadata["issuer"]);
                    let code = answer.parameter("code");
                    let form = [&redemption(&code)[..], &own].concat();
                    let tokens = Tokens::of(&world.post("/token", &headers, &form).await);
                    let form = [&renewal(&tokens.refresh)[..], &own].concat();
                    let tokens = Tokens::of(&world.post("/token", &headers, &form).await);
                    let form = [&[("token", tokens.access.as_str())][..], &own].concat();
                    let asked = world.post("/introspect", &headers, &form).await;
                    let may_ask = texts(&metadata["introspection_endpoint_auth_methods_supported"])
                        .contains(&method);
                    assert_eq!(asked.status, if may_ask { 200 } else { 401 }, "{method}");
                    assert_eq!(world.post("/revoke", &headers, &form).await.status, 200);
                }
            }
        }
    }
    let service = world.service().await;
    for grant_type in texts(&metadata["grant_types_supported"]) {
        let answer =
            world.call("/token", &service, &[("grant_type", grant_type), ("scope", "read")]).await;
        assert_ne!(answer.json()["error"], "unsupported_grant_type", "{grant_type}");
    }
    for locale in texts(&metadata["ui_locales_supported"]) {
        let client = world.public().await;
        let url = authorize_url(&client, &[("ui_locales", Some(locale))]);
        let page = Browser::default().open(&world, &url).await;
        assert!(page.body.contains(&format!("<html lang=\"{locale}\"")), "{locale}: {page:?}");
    }
}

#[tokio::test]
async fn what_is_not_advertised_does_not_work() {
    // Requirements 8414-007, 9700-008, 9700-012, 9700-041; ATTACKS K13: no implicit or hybrid response, no
    // other mode, method or grant.
    let world = World::new();
    let client = world.public().await;
    for (name, value) in [
        ("response_type", "token"),
        ("response_type", "id_token"),
        ("response_type", "code id_token"),
        ("response_type", "none"),
        ("response_mode", "fragment"),
        ("response_mode", "form_post"),
        ("response_mode", "web_message"),
        ("response_mode", "jwt"),
        ("code_challenge_method", "plain"),
        ("request", "a.b.c"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x"),
    ] {
        let answer = world.get(&authorize_url(&client, &[(name, Some(value))])).await;
        assert!(
            answer.location().starts_with(&format!("{CALLBACK}?error=")),
            "{name}={value}: {answer:?}"
        );
    }
    let service = world.service().await;
    for grant_type in [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:openid:params:grant-type:ciba",
    ] {
        let answer = world.call("/token", &service, &[("grant_type", grant_type)]).await;
        answer.refused(400, "unsupported_grant_type");
    }
    let form =
        [&SERVICE[..], &[("client_assertion_type", "x"), ("client_assertion", "a.b.c")]].concat();
    world.post("/token", &[], &form).await.refused(401, "invalid_client");
    let target = format!("/token?{}", encode(&SERVICE));
    assert_eq!(world.get(&target).await.status, 405);
}
