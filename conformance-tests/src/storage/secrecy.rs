//! *The values hold no secret in the clear, and a backend adds none. Files are readable by their owner
//! only.*

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use grantor::engine::{Browser, TokenRequest};
use grantor::model::{
    Account, ClientAuthMethod, Handle, HandleKind, ScopeSet, SecretString, Subject,
};
use grantor::protocol::authorize::{Answer, AuthorizationRequest, Outcome};
use grantor::protocol::client_auth::PresentedClient;
use grantor::protocol::code::RedeemRequest;
use grantor::protocol::consent::{ConsentAnswer, ConsentRequest};
use grantor::protocol::refresh::RefreshRequest;
use grantor::protocol::register::Registration;
use grantor::storage::{Kind, Listing, NewRecord, Storage};
use grantor::{Authenticator, AuthenticatorError, AuthorizationServer, Credentials, Verdict};

use super::toolkit::{CommitExt as _, StorageExt as _, create, key};
use super::{Backend, Clause, Opened};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Secrecy",
    why: "whoever copies the files, a backup or a log of the store must not be able to redeem, refresh \
          or sign in with what is in it.",
};

const PASSWORD: &str = "correct horse battery staple";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "https://client.example/cb";

/// A real authorization server works on the store: it registers a client, signs a user in, asks for
/// consent, issues and redeems a code, refreshes. No secret of all these, in no usual encoding, is in
/// what the store keeps or lists.
///
/// ATTACKS K01, K03.
pub async fn no_secret_is_found_in_what_the_store_keeps<B: Backend>() {
    let backend = Opened::<B>::create().await;
    let mut secrets = Secrets::default();
    for _ in 0..3 {
        work(backend.store(), &mut secrets).await;
    }
    let mut kept = listed(&*backend.store()).await;
    assert!(holds(&kept, b"Calendar"), "what the store lists is what the server wrote");
    let files = backend.place().files();
    // Closed, so that everything that will be written has been.
    let _place = if files.is_empty() { None } else { Some(backend.close()) };
    for path in &files {
        assert!(path.exists(), "the store keeps nothing in {}", path.display());
        assert_private(path);
        read_all(path, &mut kept);
    }
    for (secret, name) in &secrets.0 {
        for (encoding, form) in forms(secret) {
            assert!(!holds(&kept, &form), "{name} is in what the store keeps ({encoding})");
        }
    }
}

/// The value of a record, and its key, are in no `Debug` of the store and in no error.
pub async fn nothing_of_a_record_is_printed<B: Backend>() {
    const VALUE: &str = "the value of a record";
    const KEY: &str = "the key of a record";
    let backend = Opened::<B>::create().await;
    let store = backend.store();
    let small = create(&key(Kind::User, KEY), VALUE).indexed(&["user:1"]);
    store.apply(&small).await;
    let mut large = create(&key(Kind::User, format!("{KEY} 2")), "");
    large.record.value = VALUE.as_bytes().repeat(NewRecord::MAX_VALUE_LEN / VALUE.len() + 2);
    let mut said = format!("{store:?} {store:#?}");
    if let Err(error) = store.commit(large.after(small.id)).await {
        said.push_str(&format!("{error} {error:?}"));
    }
    for (text, name) in [(VALUE, "the value"), (KEY, "the key")] {
        for (encoding, form) in forms(text) {
            assert!(
                !holds(said.as_bytes(), &form),
                "{name} of a record is in the Debug or in an error of the store ({encoding})"
            );
        }
    }
}

/// What must not be found, and what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, &'static str>);

impl Secrets {
    fn add(&mut self, name: &'static str, secret: impl Into<String>) {
        self.0.insert(secret.into(), name);
    }
}

/// A user database with one user.
#[derive(Debug)]
struct Alice;

fn alice() -> Account {
    Account::new(Subject::parse("alice").expect("a subject"), "alice")
}

#[async_trait]
impl Authenticator for Alice {
    async fn verify(&self, credentials: &Credentials) -> Result<Verdict, AuthenticatorError> {
        let right = credentials.password.expose() == PASSWORD;
        Ok(if right { Verdict::Verified(alice()) } else { Verdict::Refused })
    }

    async fn account(&self, _: &Subject) -> Result<Option<Account>, AuthenticatorError> {
        Ok(Some(alice()))
    }
}

/// From the registration of a client to its second refresh.
async fn work(store: Arc<impl Storage>, secrets: &mut Secrets) {
    let scope = || ScopeSet::parse("read").expect("a scope");
    let server = AuthorizationServer::builder("https://as.example".parse().expect("an issuer"))
        .shared_storage(store)
        .authenticator(Alice)
        .scope("read", "See your calendar")
        .build()
        .expect("a server");
    let registration = Registration::confidential("Calendar", CALLBACK, scope());
    let registered = server.register_client(&registration).await.expect("registered");
    let client_secret = registered.client_secret.expect("a confidential client");
    secrets.add("the client secret", client_secret.expose());
    let presented = PresentedClient {
        client_id: registered.client.id.to_string(),
        secret: Some((ClientAuthMethod::ClientSecretBasic, client_secret)),
    };

    secrets.add("the code_verifier", VERIFIER);
    let request = AuthorizationRequest {
        client_id: Some(presented.client_id.clone()),
        redirect_uri: Some(CALLBACK.into()),
        response_type: Some("code".into()),
        scope: Some("read".into()),
        code_challenge: Some(CHALLENGE.into()),
        code_challenge_method: Some("S256".into()),
        ..AuthorizationRequest::default()
    };
    let mut browser = Browser::default();
    let begun = server.authorize(&request, &browser).await.expect("a good request");
    let Outcome::LoginRequired(interaction) = begun else {
        panic!("nobody is signed in: {begun:?}")
    };
    secrets.add("the interaction", interaction.handle.encode().expose());
    secrets.add("the browser secret", SecretString::of(&interaction.browser).expose());
    browser.secret = Some(interaction.browser.clone());

    let credentials = Credentials {
        username: "alice".into(),
        password: SecretString::new(PASSWORD),
        source: None,
    };
    secrets.add("the password", PASSWORD);
    let session = server.sign_in(&credentials, &browser).await.expect("the right password");
    secrets.add("the session cookie", session.encode().expose());
    browser.session = Some(session);
    let resumed = server.resume(&interaction.handle, &browser).await.expect("signed in");
    let Outcome::ConsentRequired(prompt) = resumed else { panic!("never allowed: {resumed:?}") };
    secrets.add("the consent ticket", prompt.ticket.expose());

    let consent = ConsentRequest {
        interaction: interaction.handle,
        ticket: prompt.ticket,
        answer: ConsentAnswer::Allow(scope()),
    };
    let allowed = server.consent(&consent, &browser).await.expect("a good answer");
    let Outcome::Redirect(response) = allowed else { panic!("all is said: {allowed:?}") };
    let Answer::Code(code) = response.answer else { panic!("allowed: {:?}", response.answer) };
    secrets.add("the code", code.expose());
    let redemption = TokenRequest::AuthorizationCode(RedeemRequest {
        code: Handle::parse(HandleKind::Code, code.expose()),
        redirect_uri: Some(CALLBACK.into()),
        code_verifier: Some(VERIFIER.into()),
    });
    let mut tokens = server.token(&presented, &redemption).await.expect("redeemed");
    for _ in 0..2 {
        secrets.add("the access token", tokens.access_token.expose());
        let refresh = tokens.refresh_token.as_ref().expect("a refresh token");
        secrets.add("the refresh token", refresh.expose());
        let renewal = TokenRequest::RefreshToken(RefreshRequest {
            refresh_token: Handle::parse(HandleKind::RefreshToken, refresh.expose()),
            scope: None,
        });
        tokens = server.token(&presented, &renewal).await.expect("refreshed");
    }
    secrets.add("the access token", tokens.access_token.expose());
}

/// Every key and value that the store lists.
async fn listed(store: &impl Storage) -> Vec<u8> {
    let mut bytes = Vec::new();
    for kind in Kind::ALL {
        for key in store.keys(&Listing::Kind(kind), 100).await {
            bytes.extend(key.to_bytes());
            bytes.extend(store.get(&key).await.map(|stored| stored.value).unwrap_or_default());
        }
    }
    bytes
}

/// Every byte of a file, or of the files in a directory.
fn read_all(path: &Path, into: &mut Vec<u8>) {
    if path.is_dir() {
        for item in fs::read_dir(path).expect("the directory is ours") {
            read_all(&item.expect("the directory is ours").path(), into);
        }
    } else if path.is_file() {
        into.extend(fs::read(path).expect("the file is ours"));
    }
}

/// Nobody but the owner can read a file, or get into a directory and so at what is in it.
#[cfg(unix)]
fn assert_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert!(mode & 0o077 == 0, "others than its owner may use {} (mode {mode:o})", path.display());
}

#[cfg(not(unix))]
fn assert_private(_: &Path) {}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

/// The forms in which a text could lie around: itself, what its base64 stands for, whole or only the
/// secret in it, and each of these encoded again.
fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut plain = vec![text.as_bytes().to_vec()];
    let body = text.split_once('_').filter(|(prefix, _)| prefix.len() == 3).map(|(_, body)| body);
    plain.extend(body.map(|body| body.as_bytes().to_vec()));
    if let Ok(decoded) = URL_SAFE_NO_PAD.decode(body.unwrap_or(text)) {
        // A handle is an id of 12 bytes, a secret of 32, and a checksum; a secret has no id.
        let parts = [Some(&decoded[..]), decoded.get(12..44), decoded.get(..32)];
        let long = parts.into_iter().flatten().filter(|part| part.len() >= 24);
        plain.extend(long.map(<[u8]>::to_vec));
    }
    let mut forms = Vec::new();
    for bytes in plain {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{bytes:?}");
        forms.extend([
            ("base64url", URL_SAFE.encode(&bytes).into_bytes()),
            ("base64url", URL_SAFE_NO_PAD.encode(&bytes).into_bytes()),
            ("base64", STANDARD.encode(&bytes).into_bytes()),
            ("base64", STANDARD_NO_PAD.encode(&bytes).into_bytes()),
            ("hexadecimal", hex.to_uppercase().into_bytes()),
            ("hexadecimal", hex.into_bytes()),
            ("a list of bytes", list.trim_matches(['[', ']']).as_bytes().to_vec()),
            ("as it is", bytes),
        ]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_usual_encoding() {
        let body = URL_SAFE_NO_PAD.encode((0..48).collect::<Vec<u8>>());
        let token = format!("gra_{body}");
        let secret: Vec<u8> = (12..44).collect();
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for kept in [
            token.clone(),
            body.clone(),
            STANDARD.encode(&token),
            URL_SAFE_NO_PAD.encode(&secret),
            hex,
            format!("{secret:?}"),
            String::from_utf8(secret).expect("ASCII"),
        ] {
            let kept = format!("before {kept} after");
            assert!(forms(&token).iter().any(|(_, form)| holds(kept.as_bytes(), form)), "{kept}");
        }
        assert!(!forms(&token).iter().any(|(_, form)| holds(b"gra_something else", form)));
    }
}
