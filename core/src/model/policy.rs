//! What this server allows, as one value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Account, ScopeSet, ScopeToken};
use crate::storage::{Durability, Promises};

/// What this server allows. The metadata document is computed from it, so it cannot promise what is
/// not enforced.
///
/// The default is OAuth 2.1 with opaque tokens. Check a changed policy with
/// [`validate`](Self::validate); the builder of the server does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How long a user may take to sign in and decide. Default: 10 minutes.
    pub interaction_lifetime: Duration,
    /// How long a code works. At most 10 minutes (RFC 6749 section 4.1.2). Default: 60 seconds.
    pub code_lifetime: Duration,
    /// How many wrong verifiers a code survives. Default: 5.
    pub code_guesses: u8,
    /// How long an access token works. Default: 1 hour (RFC 6750 section 5.3).
    pub access_token_lifetime: Duration,
    /// Refresh tokens; `None`: none are issued.
    pub refresh: Option<RefreshPolicy>,
    /// How long a browser stays signed in. Default: 8 hours.
    pub session_lifetime: Duration,
    /// Whether a consent is remembered, so that the same question is not asked twice. Default: yes.
    pub remember_consent: bool,
    /// Whether the consent of a *public* client is remembered too, where its redirection URI is an
    /// `https` one: that an app has claimed the address assures who it is (RFC 8252 section 8.6).
    /// Default: yes. Loopback and private-use redirects are always asked again.
    pub remember_public_https: bool,
    /// The scopes that exist, with what they mean. A scope that is not here does not exist.
    pub scopes: BTreeMap<ScopeToken, ScopeDefinition>,
    /// What a request that names no scope asks for; `None`: such a request is refused
    /// (RFC 6749 section 3.3).
    pub default_scope: Option<ScopeSet>,
    /// How long a client secret works on after it was replaced. Default: 24 hours.
    pub secret_overlap: Duration,
    /// Whether an access token in the query string is accepted at protected resources
    /// (RFC 6750 section 2.3: should not be used). Default: no.
    pub token_in_query: bool,
    /// The least that the storage must promise. Default: nothing, so that the memory backend works.
    pub durability: Durability,
}

/// Refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshPolicy {
    /// Which clients get a new one each time. Default: all.
    pub rotation: Rotation,
    /// How long an unused one lives. Default: 14 days.
    pub idle_lifetime: Duration,
    /// How long an authorization can be renewed at all. Default: 90 days.
    pub absolute_lifetime: Duration,
    /// How long a repeated request gets the same answer, as long as that answer was not used.
    /// Default: 60 seconds.
    pub retry_window: Duration,
}

/// Whose refresh tokens rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Everybody's.
    Always,
    /// Those of public clients, as RFC 9700 section 4.14.2 demands; a client that authenticates
    /// keeps the one it has. Each use of it makes another access token, and at most
    /// [`Active::MAX_ACCESS_TOKENS`](super::Active::MAX_ACCESS_TOKENS) are alive: one more retires the
    /// oldest.
    PublicClients,
}

/// A scope and what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDefinition {
    /// What the user reads on the consent page.
    pub description: String,
    /// The same in other languages, by primary language subtag (`ko`).
    pub translations: BTreeMap<String, String>,
    /// Which claims of an [`Account`] resource servers are shown about a user who allowed this scope:
    /// in process, and in introspection (RFC 7662 section 2.2). Clients see none of them, unless a
    /// [`TokenFormat`](crate::engine::TokenFormat) writes them where clients can read. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<String>,
}

impl ScopeDefinition {
    /// A scope described in the default language.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::default() }
    }

    /// The same, and resource servers are shown these claims about a user who allowed it.
    #[must_use]
    pub fn claims<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.claims.extend(names.into_iter().map(Into::into));
        self
    }

    /// The same in another language.
    #[must_use]
    pub fn translated(mut self, language: &str, description: impl Into<String>) -> Self {
        self.translations.insert(language.to_owned(), description.into());
        self
    }

    /// The description in this language, or in the default one.
    pub fn describe(&self, language: &str) -> &str {
        self.translations.get(language).unwrap_or(&self.description)
    }
}

/// What introspection says of the token itself (RFC 7662 section 2.2), or other specifications have it
/// say (RFC 8693 section 4, RFC 7800 section 3.1, RFC 9396 section 9.2): never of the user.
const RESERVED_CLAIMS: [&str; 16] = [
    "active",
    "scope",
    "client_id",
    "username",
    "token_type",
    "exp",
    "iat",
    "nbf",
    "sub",
    "aud",
    "iss",
    "jti",
    "act",
    "may_act",
    "cnf",
    "authorization_details",
];

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Beyond this a lifetime is a mistake, and sums of lifetimes would leave the calendar.
const LONGEST: Duration = Duration::from_secs(86_400 * 3660);

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            rotation: Rotation::Always,
            idle_lifetime: 14 * DAY,
            absolute_lifetime: 90 * DAY,
            retry_window: MINUTE,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            interaction_lifetime: 10 * MINUTE,
            code_lifetime: MINUTE,
            code_guesses: 5,
            access_token_lifetime: HOUR,
            refresh: Some(RefreshPolicy::default()),
            session_lifetime: 8 * HOUR,
            remember_consent: true,
            remember_public_https: true,
            scopes: BTreeMap::new(),
            default_scope: None,
            secret_overlap: DAY,
            token_in_query: false,
            durability: Durability::None,
        }
    }
}

impl Policy {
    /// All scopes that exist.
    pub fn known_scope(&self) -> ScopeSet {
        self.scopes.keys().cloned().collect()
    }

    /// What resource servers are shown about this user because of these scopes.
    pub fn claims_shown(&self, scope: &ScopeSet, account: &Account) -> Map<String, Value> {
        let allowed = scope.iter().filter_map(|token| self.scopes.get(token));
        let names = allowed.flat_map(|definition| &definition.claims);
        names.filter_map(|name| account.claims.get_key_value(name)).fold(
            Map::new(),
            |mut shown, (name, value)| {
                shown.insert(name.clone(), value.clone());
                shown
            },
        )
    }

    /// Whether the values make sense, and whether the storage can keep them.
    pub fn validate(&self, storage: &Promises) -> Result<(), InvalidPolicy> {
        let whole_seconds = |name, lifetime: Duration| {
            if lifetime < Duration::from_secs(1) || lifetime > LONGEST {
                return Err(InvalidPolicy::Lifetime(name));
            }
            Ok(())
        };
        whole_seconds("interaction_lifetime", self.interaction_lifetime)?;
        whole_seconds("code_lifetime", self.code_lifetime)?;
        whole_seconds("access_token_lifetime", self.access_token_lifetime)?;
        whole_seconds("session_lifetime", self.session_lifetime)?;
        if self.code_lifetime > 10 * MINUTE {
            return Err(InvalidPolicy::CodeLifetime);
        }
        if self.secret_overlap > LONGEST {
            return Err(InvalidPolicy::Lifetime("secret_overlap"));
        }
        if let Some(refresh) = &self.refresh {
            whole_seconds("refresh.idle_lifetime", refresh.idle_lifetime)?;
            whole_seconds("refresh.absolute_lifetime", refresh.absolute_lifetime)?;
            if refresh.retry_window > 10 * MINUTE {
                return Err(InvalidPolicy::RetryWindow);
            }
        }
        if let Some(scope) = &self.default_scope
            && (scope.is_empty() || !scope.is_subset(&self.known_scope()))
        {
            return Err(InvalidPolicy::DefaultScope);
        }
        let together = self.known_scope().to_string().len();
        if self.scopes.len() > ScopeSet::MAX_COUNT || together > ScopeSet::MAX_LEN {
            return Err(InvalidPolicy::TooManyScopes);
        }
        let mut claims = self.scopes.values().flat_map(|definition| &definition.claims);
        let reserved = |claim: &String| RESERVED_CLAIMS.into_iter().find(|name| name == claim);
        if let Some(name) = claims.find_map(reserved) {
            return Err(InvalidPolicy::ReservedClaim(name));
        }
        if storage.durability < self.durability {
            return Err(InvalidPolicy::Durability {
                wanted: self.durability,
                promised: storage.durability,
            });
        }
        if storage.evicts || !storage.linearizable {
            return Err(InvalidPolicy::UnsafeStorage);
        }
        Ok(())
    }
}

/// Why a policy cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A lifetime that is no time at all, or centuries.
    #[error("{0} must be between one second and ten years")]
    Lifetime(&'static str),
    /// RFC 6749 section 4.1.2.
    #[error("code_lifetime must be at most 10 minutes (RFC 6749 section 4.1.2)")]
    CodeLifetime,
    /// Within the window a stolen refresh token goes unnoticed.
    #[error("refresh.retry_window must be at most 10 minutes")]
    RetryWindow,
    /// The default scope names nothing, or a scope that does not exist.
    #[error("default_scope must name scopes that exist")]
    DefaultScope,
    /// More scopes than a record can hold.
    #[error("at most 64 scopes can be defined, and their names may have 4 KiB together")]
    TooManyScopes,
    /// A scope shows a claim whose name has a meaning of its own.
    #[error(
        "the claim {0} is about the token and cannot be one about the user (RFC 7662 section 2.2)"
    )]
    ReservedClaim(&'static str),
    /// The storage promises less than the policy demands.
    #[error("the storage promises durability {promised:?}, the policy demands {wanted:?}")]
    Durability {
        /// What the policy demands.
        wanted: Durability,
        /// What the storage promises.
        promised: Durability,
    },
    /// A store that loses or hides records cannot keep used codes used.
    #[error("the storage may evict records or return stale ones; no policy can be kept on it")]
    UnsafeStorage,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Promises =
        Promises { durability: Durability::None, linearizable: true, evicts: false, shared: false };

    #[test]
    fn the_defaults_are_those_that_the_specifications_advise() {
        let policy = Policy::default();
        policy.validate(&MEMORY).expect("valid");
        assert!(policy.code_lifetime <= Duration::from_secs(600), "6749-041");
        assert!(policy.access_token_lifetime <= Duration::from_secs(3600), "6750-013");
        assert!(!policy.token_in_query, "6750-004");
    }

    #[test]
    fn senseless_values_are_refused_at_start() {
        // ATTACKS J09, K06.
        let check = |change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            policy.validate(&MEMORY).expect_err("refused")
        };
        assert_eq!(
            check(|p| p.access_token_lifetime = Duration::ZERO),
            InvalidPolicy::Lifetime("access_token_lifetime")
        );
        assert_eq!(
            check(|p| p.session_lifetime = Duration::from_secs(u64::MAX)),
            InvalidPolicy::Lifetime("session_lifetime")
        );
        assert_eq!(check(|p| p.code_lifetime = HOUR), InvalidPolicy::CodeLifetime);
        assert_eq!(
            check(|p| p.default_scope = Some(ScopeSet::parse("nope").expect("scope"))),
            InvalidPolicy::DefaultScope
        );
        assert!(matches!(
            check(|p| p.durability = Durability::Power),
            InvalidPolicy::Durability { .. }
        ));
        let evicting = Promises { evicts: true, ..MEMORY };
        assert_eq!(Policy::default().validate(&evicting), Err(InvalidPolicy::UnsafeStorage));
    }

    #[test]
    fn a_scope_shows_the_claims_that_it_names() {
        let scope = |name: &str| ScopeSet::parse(name).expect("scope");
        let subject = super::super::Subject::parse("user-1").expect("subject");
        let mut account = Account::new(subject, "alice");
        account.claims.insert("email".into(), "alice@example.com".into());
        account.claims.insert("phone".into(), "1".into());
        let mut policy = Policy::default();
        for (name, claims) in [("mail", ["email", "unknown"].as_slice()), ("other", &[])] {
            let token = ScopeToken::parse(name).expect("scope");
            policy.scopes.insert(token, ScopeDefinition::new(name).claims(claims.iter().copied()));
        }
        let shown = |name| Value::Object(policy.claims_shown(&scope(name), &account));
        assert_eq!(shown("mail"), serde_json::json!({"email": "alice@example.com"}));
        assert_eq!(shown("other"), serde_json::json!({}));
        assert_eq!(shown("mail other gone"), shown("mail"));
    }

    #[test]
    fn no_claim_about_a_user_can_pass_for_one_about_the_token() {
        for name in RESERVED_CLAIMS {
            let mut policy = Policy::default();
            let definition = ScopeDefinition::new("x").claims([name]);
            policy.scopes.insert(ScopeToken::parse("x").expect("scope"), definition);
            assert_eq!(policy.validate(&MEMORY), Err(InvalidPolicy::ReservedClaim(name)));
        }
    }
}
