//! Who is calling (RFC 6749 section 2.3 and section 3.2.1).

use crate::model::{Client, ClientAuthMethod, ClientType, SecretHash, SecretString, Timestamp};
use crate::protocol::Refusal;

/// How a client presented itself. The wire has already refused a request that does so in two ways.
#[derive(Clone, Debug)]
pub struct PresentedClient {
    /// The `client_id`, wherever it stood.
    pub client_id: String,
    /// The secret and how it was sent; `None`: `client_id` alone.
    pub secret: Option<(ClientAuthMethod, SecretString)>,
}

/// Proof that the request comes from this client, as far as a client of its type can show it: by its
/// secret, or, for a public client, by nothing but its name.
///
/// Only [`authenticate`] makes one, and no token is issued without one.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedClient<'a> {
    client: &'a Client,
}

impl<'a> VerifiedClient<'a> {
    /// The registration.
    pub const fn client(&self) -> &'a Client {
        self.client
    }

    /// Whether the client showed a secret.
    pub fn is_authenticated(&self) -> bool {
        self.client.client_type == ClientType::Confidential
    }
}

/// Decides whether the request comes from the client that it names.
///
/// Every path hashes the presented secret once, so that the time does not tell whether a client
/// exists (ATTACKS E14).
pub fn authenticate<'a>(
    presented: &PresentedClient,
    client: Option<&'a Client>,
    now: Timestamp,
) -> Result<VerifiedClient<'a>, Refusal> {
    let shown = presented
        .secret
        .as_ref()
        .map(|(method, secret)| (*method, SecretHash::of_text(secret.expose())));
    let client = client.ok_or(Refusal::ClientUnknown)?;
    if client.removed_at.is_some() {
        return Err(Refusal::ClientRemoved);
    }
    match (client.client_type, shown) {
        (ClientType::Public, None) => Ok(VerifiedClient { client }),
        (ClientType::Public, Some(_)) => Err(Refusal::PublicClientSentSecret),
        (ClientType::Confidential, None) => Err(Refusal::ClientSecretMissing),
        (ClientType::Confidential, Some((method, shown))) => {
            let known = client.secrets.iter().find(|secret| secret.hash.same(&shown));
            let known = known.ok_or(Refusal::ClientSecretWrong)?;
            if known.expires_at.is_some_and(|at| at.has_passed(now)) {
                return Err(Refusal::ClientSecretExpired);
            }
            if !client.auth_methods.contains(&method) {
                return Err(Refusal::ClientAuthMethodNotAllowed);
            }
            Ok(VerifiedClient { client })
        }
    }
}
