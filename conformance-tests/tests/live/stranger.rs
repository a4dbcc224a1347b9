//! A client library that nobody here wrote: the `oauth2` crate, through the whole story.

use oauth2::basic::{BasicClient, BasicTokenType};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IntrospectionUrl,
    PkceCodeChallenge, RedirectUrl, RefreshToken, RevocationUrl, Scope, StandardRevocableToken,
    TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
};

use crate::connection::Connection;
use crate::process::Server;
use crate::walk::{Browser, CALLBACK};

/// The library's requests over one of our connections.
async fn send(
    address: String,
    request: http::Request<Vec<u8>>,
) -> Result<http::Response<Vec<u8>>, std::io::Error> {
    let mut connection = Connection::open(&address).await.expect("the server listens");
    let (parts, body) = request.into_parts();
    let headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name != "content-type")
        .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
        .collect();
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let target = parts.uri.path().to_owned();
    let answer = connection.send(parts.method, &target, &headers, &form).await.expect("an answer");
    let mut response = http::Response::new(answer.body.into_bytes());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oauth2_crate_walks_the_whole_story() {
    let server = Server::start().await;
    let registered = server.client();
    // The library insists on https for revocation; where its requests go is decided below.
    let url = |path: &str| format!("https://{}{path}", server.address);
    let client = BasicClient::new(ClientId::new(registered.id.clone()))
        .set_client_secret(ClientSecret::new(registered.secret.clone()))
        .set_auth_uri(AuthUrl::new(url("/authorize")).expect("URL"))
        .set_token_uri(TokenUrl::new(url("/token")).expect("URL"))
        .set_introspection_url(IntrospectionUrl::new(url("/introspect")).expect("URL"))
        .set_revocation_url(RevocationUrl::new(url("/revoke")).expect("URL"))
        .set_redirect_uri(RedirectUrl::new(CALLBACK.into()).expect("URL"));
    let http = |request| send(server.address.clone(), request);

    // The user has allowed the client before; the library makes the request, the browser takes it.
    let browser = Browser::connect(&server, &registered).await;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (authorize, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("read".into()))
        .add_scope(Scope::new("write".into()))
        .set_pkce_challenge(challenge)
        .url();
    let mut connection = server.connect().await;
    let target = format!("{}?{}", authorize.path(), authorize.query().expect("a query"));
    let answer = browser.follow(&mut connection, &target).await;
    assert_eq!(answer.parameter("state").as_deref(), Some(state.secret().as_str()));
    assert_eq!(answer.parameter("iss").as_deref(), Some("http://127.0.0.1:8400"));
    let code = AuthorizationCode::new(answer.parameter("code").expect("a code"));

    let tokens = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&http).await;
    let tokens = tokens.expect("tokens");
    assert_eq!(*tokens.token_type(), BasicTokenType::Bearer);
    assert_eq!(tokens.scopes().map(Vec::len), Some(2));
    let refresh: RefreshToken = tokens.refresh_token().expect("a refresh token").clone();
    let renewed =
        client.exchange_refresh_token(&refresh).request_async(&http).await.expect("renewed");
    assert_ne!(renewed.access_token().secret(), tokens.access_token().secret());
    let active = async |token| {
        let introspection = client.introspect(token).request_async(&http).await;
        introspection.expect("introspected").active()
    };
    assert!(active(renewed.access_token()).await);

    let next = renewed.refresh_token().expect("rotated").clone();
    let revocable: StandardRevocableToken = (&next).into();
    client
        .revoke_token(revocable)
        .expect("configured")
        .request_async(&http)
        .await
        .expect("revoked");
    assert!(!active(renewed.access_token()).await);
    assert!(!active(tokens.access_token()).await);
    let refused = client.exchange_refresh_token(&next).request_async(&http).await;
    let Err(oauth2::RequestTokenError::ServerResponse(refused)) = refused else {
        panic!("refused")
    };
    assert_eq!(refused.error().as_ref(), "invalid_grant");
}
