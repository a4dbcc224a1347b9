//! Seeded bugs: each makes one thing wrong in the world around the server, and must be found, by an
//! invariant that it breaks. They show that every invariant can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use grantor::model::{ClientType, Policy, Rotation, Timestamp};
use grantor::protocol::register::Registration;
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Cursor, Key, Kind, Listing, Page, Promises, Storage,
    StorageError, Stored, Swept,
};

use super::invariant::Invariant as I;
use super::model::TERMS;
use super::request::{API, Answer, Asking, Proof, REGISTERED, Request, Shown, Text, Where};
use super::system::Known;

/// A bug that is put into the world of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// None.
    #[default]
    None,
    /// The store acknowledges every third replacement and does not do it.
    LosesCommits,
    /// The store does not look at what a commit expects.
    OverwritesBlindly,
    /// The store answers a commit that it has already applied with a conflict.
    ForgetsItsOwnCommits,
    /// The store keeps the last replacement of an authorization in memory.
    AcknowledgesBeforeDurable,
    /// The store lists nothing by index.
    ForgetsIndexes,
    /// The store reads from a replica that lags.
    ReadsStale,
    /// The store sweeps what still lives.
    SweepsTooMuch,
    /// The server's clock stands.
    ClockStands,
    /// The user database does not know of disabled accounts.
    DisabledUsersStand,
    /// Codes live ten times as long.
    LongCodes,
    /// Access tokens live ten times as long.
    LongAccessTokens,
    /// Refresh tokens do not go stale.
    LongRefreshTokens,
    /// Refresh tokens do not rotate for clients that authenticate.
    NoRotation,
    /// A refresh cannot be repeated.
    NoRetries,
    /// One wrong verifier ends a code.
    NoPatience,
    /// A replaced secret stops working at once.
    NoOverlap,
    /// Clients are registered such that they need no PKCE.
    PkceOptional,
    /// Clients are registered such that nobody is asked.
    ConsentSkipped,
    /// Clients may have every scope.
    AnyScope,
    /// The verifier is not looked at.
    IgnoresVerifier,
    /// The redirection URI of a token request is not looked at.
    IgnoresRedirectUri,
    /// Any client may redeem a code in place of the right one.
    IgnoresWhoseCodeItIs,
    /// Any client may refresh in place of the right one.
    IgnoresWhoseTokenItIs,
    /// Client secrets are not looked at.
    IgnoresSecrets,
    /// What the user ticked is not looked at.
    IgnoresTicks,
    /// A refresh with a wider scope gets what was granted, and says that it got more.
    WidensScope,
    /// A refresh for less than was granted gets all.
    NeverNarrows,
    /// Replays of codes are refused, and not followed up.
    ReplayWithoutEnd,
    /// A code that was redeemed yields the same answer again.
    CodeTwice,
    /// Retired refresh tokens are refused, and not followed up.
    ReuseWithoutEnd,
    /// A revocation is answered and not done.
    RevocationIgnored,
    /// Anybody may revoke any token.
    RevokesForAnybody,
    /// A withdrawal is answered and not done.
    WithdrawalIgnored,
    /// Removing a client is answered and not done.
    RemovalIgnored,
    /// Revoking everything of a user is answered and not done.
    UserRevocationIgnored,
    /// Signing out is answered and not done.
    SignOutIgnored,
    /// An interaction opens in any browser.
    OpensAnywhere,
    /// Redirects lead to another address.
    RedirectsElsewhere,
    /// `state` comes back changed.
    ChangesState,
    /// `iss` comes back changed.
    ChangesIssuer,
    /// Everybody may introspect everything.
    IntrospectsForAnybody,
    /// Introspection says that a token lives longer than it does.
    LiesAboutTimes,
    /// A protected resource does not look at the scope.
    IgnoresNeededScope,
    /// Services get a refresh token.
    ServicesRefresh,
    /// An unknown token is called active.
    UnknownIsActive,
    /// A refused guess at a refresh token ends the authorization.
    ThiefEndsIt,
    /// An authorization page that is sent twice makes a second code.
    AnswersTwice,
    /// The audit log has tokens in it.
    LogsTokens,
    /// "Not now", for no reason.
    NeverNow,
    /// The server errs in a way that no specification knows.
    Errs,
}

/// Every bug, with an invariant that it breaks and that must find it.
pub const BUGS: &[(Bug, I)] = &[
    (Bug::LosesCommits, I::OneTokenSetPerCode),
    (Bug::OverwritesBlindly, I::RetryGetsTheSameAnswer),
    (Bug::ForgetsItsOwnCommits, I::HonestIsServed),
    (Bug::AcknowledgesBeforeDurable, I::DeadStaysDead),
    (Bug::ForgetsIndexes, I::WithdrawnIsOver),
    (Bug::ReadsStale, I::SignInRequired),
    (Bug::SweepsTooMuch, I::HonestIsServed),
    (Bug::ClockStands, I::CodeExpires),
    (Bug::DisabledUsersStand, I::UserGoneIsOver),
    (Bug::LongCodes, I::CodeExpires),
    (Bug::LongAccessTokens, I::AccessTokenExpires),
    (Bug::LongRefreshTokens, I::RefreshTokenExpires),
    (Bug::NoRotation, I::ReuseEndsTheGrant),
    (Bug::NoRetries, I::RetryGetsTheSameAnswer),
    (Bug::NoPatience, I::ThiefHarmsNobody),
    (Bug::NoOverlap, I::RotatedSecretOverlaps),
    (Bug::PkceOptional, I::PkceRequired),
    (Bug::ConsentSkipped, I::ConsentAsked),
    (Bug::AnyScope, I::ScopeKnown),
    (Bug::IgnoresVerifier, I::CodeBoundToVerifier),
    (Bug::IgnoresRedirectUri, I::CodeBoundToRedirectUri),
    (Bug::IgnoresWhoseCodeItIs, I::CodeBoundToClient),
    (Bug::IgnoresWhoseTokenItIs, I::RefreshTokenBoundToClient),
    (Bug::IgnoresSecrets, I::ClientAuthenticates),
    (Bug::IgnoresTicks, I::ScopeWithinConsent),
    (Bug::WidensScope, I::RefreshedScopeWithinGranted),
    (Bug::NeverNarrows, I::RefreshedScopeWithinGranted),
    (Bug::ReplayWithoutEnd, I::ReplayEndsTheGrant),
    (Bug::CodeTwice, I::OneTokenSetPerCode),
    (Bug::ReuseWithoutEnd, I::ReuseEndsTheGrant),
    (Bug::RevocationIgnored, I::RevokedByClientIsOver),
    (Bug::RevokesForAnybody, I::RevocationIsTheOwners),
    (Bug::WithdrawalIgnored, I::WithdrawnIsOver),
    (Bug::RemovalIgnored, I::ClientGoneIsOver),
    (Bug::UserRevocationIgnored, I::UserRevokedIsOver),
    (Bug::SignOutIgnored, I::SignInRequired),
    (Bug::OpensAnywhere, I::InteractionBoundToBrowser),
    (Bug::RedirectsElsewhere, I::RedirectOnlyToRegistered),
    (Bug::ChangesState, I::StateAndIssuerReturned),
    (Bug::ChangesIssuer, I::StateAndIssuerReturned),
    (Bug::IntrospectsForAnybody, I::IntrospectionDisclosesNothing),
    (Bug::LiesAboutTimes, I::AnswerIsTrue),
    (Bug::IgnoresNeededScope, I::TokenOpensItsScopeOnly),
    (Bug::ServicesRefresh, I::NoRefreshForServices),
    (Bug::UnknownIsActive, I::UnknownIsNothing),
    (Bug::ThiefEndsIt, I::ThiefHarmsNobody),
    (Bug::AnswersTwice, I::InteractionAnsweredOnce),
    (Bug::LogsTokens, I::SecretsNeverTold),
    (Bug::NeverNow, I::AvailableWithoutTrouble),
    (Bug::Errs, I::NothingUnforeseen),
];

impl Bug {
    pub(crate) fn policy(self, policy: &mut Policy) {
        let Some(refresh) = &mut policy.refresh else { return };
        match self {
            Self::LongCodes => policy.code_lifetime *= 10,
            Self::LongAccessTokens => policy.access_token_lifetime *= 10,
            Self::LongRefreshTokens => {
                refresh.idle_lifetime *= 6;
            }
            Self::NoRotation => refresh.rotation = Rotation::PublicClients,
            Self::NoRetries => refresh.retry_window = Duration::ZERO,
            Self::NoPatience => policy.code_guesses = 1,
            Self::NoOverlap => policy.secret_overlap = Duration::ZERO,
            _ => {}
        }
    }

    pub(crate) fn registration(self, registration: &mut Registration) {
        let web = registration.client_type == ClientType::Confidential
            && !registration.redirect_uris.is_empty();
        match self {
            Self::PkceOptional => registration.pkce_optional = web,
            Self::ConsentSkipped => registration.skip_consent = web,
            Self::AnyScope => {
                let all = super::request::scope_text(0b0111);
                registration.scope = grantor::model::ScopeSet::parse(&all).expect("three scopes");
            }
            _ => {}
        }
    }

    /// The store that the server sees.
    pub(crate) fn storage(self, inner: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match self {
            Self::LosesCommits
            | Self::OverwritesBlindly
            | Self::ForgetsItsOwnCommits
            | Self::AcknowledgesBeforeDurable
            | Self::ForgetsIndexes
            | Self::ReadsStale
            | Self::SweepsTooMuch => Arc::new(BadStorage {
                inner,
                bug: self,
                count: AtomicUsize::new(0),
                kept: Mutex::default(),
                applied: Mutex::default(),
            }),
            _ => inner,
        }
    }

    /// The request that reaches the server; `None`: none does, and "done" is answered.
    pub(crate) fn request(self, request: Request, known: &Known) -> Option<Request> {
        let mut request = request;
        match (self, &mut request) {
            (Self::IgnoresVerifier, Request::Redeem { verifier, .. }) => *verifier = Proof::Right,
            (Self::IgnoresRedirectUri, Request::Redeem { redirect, .. }) => {
                *redirect = Proof::Right;
            }
            (Self::IgnoresWhoseCodeItIs, Request::Redeem { by, code, .. })
                if matches!(by.secret, Shown::Secret(_)) =>
            {
                *by = known.code(*code).map_or(*by, |code| known.by(code.client));
            }
            (Self::IgnoresWhoseTokenItIs, Request::Refresh { by, token, .. })
                if matches!(by.secret, Shown::Secret(_)) =>
            {
                *by = known.token(*token).map_or(*by, |token| known.by(token.client));
            }
            (
                Self::IgnoresSecrets,
                Request::Redeem { by, .. }
                | Request::Refresh { by, .. }
                | Request::Service { by, .. },
            ) => *by = known.by(by.client),
            (Self::IgnoresTicks, Request::Decide { scope, .. }) if *scope != 0 => {
                *scope = REGISTERED;
            }
            (Self::WidensScope | Self::NeverNarrows, Request::Refresh { scope, .. }) => *scope = 0,
            (Self::ReplayWithoutEnd, Request::Redeem { code, verifier, .. }) => {
                let grant = known.code(*code).map(|code| code.grant);
                if known.tokens.iter().any(|token| token.grant == grant) {
                    *verifier = Proof::Missing;
                }
            }
            (Self::ReuseWithoutEnd, Request::Refresh { token, .. }) => {
                let grant = known.token(*token).and_then(|token| token.grant);
                let family = known.tokens.iter().filter(|t| t.refresh && t.grant == grant);
                if family.skip_while(|known| known.text != *token).count() > 2 {
                    // The text of a client secret: no refresh token at all.
                    *token = 0;
                }
            }
            (Self::RevocationIgnored, Request::Revoke { .. })
            | (Self::WithdrawalIgnored, Request::Withdraw { .. })
            | (Self::RemovalIgnored, Request::Remove { .. } | Request::RevokeClient { .. })
            | (Self::UserRevocationIgnored, Request::RevokeUser { .. })
            | (Self::SignOutIgnored, Request::SignOut { .. }) => return None,
            (Self::RevokesForAnybody, Request::Revoke { by, token }) => {
                *by = known.token(*token).map_or(*by, |token| known.by(token.client));
            }
            (
                Self::OpensAnywhere,
                Request::Look { browser, grant }
                | Request::SignIn { browser, grant, .. }
                | Request::Decide { browser, grant, .. },
            ) => {
                let owner = known.pending.iter().find(|(pending, _)| pending == grant);
                *browser = owner.map_or(*browser, |(_, browser)| *browser);
            }
            (Self::IntrospectsForAnybody, Request::Introspect { by, .. }) => *by = known.by(API),
            (Self::IgnoresNeededScope, Request::Bearer { scope, .. }) => *scope = 0,
            (Self::ThiefEndsIt, Request::Refresh { by, token, .. })
                if matches!(by.secret, Shown::Invented) =>
            {
                let owner = known.token(*token).map_or(*by, |token| known.by(token.client));
                return Some(Request::Revoke { by: owner, token: *token });
            }
            (Self::RedirectsElsewhere, Request::Authorize(Asking { to, .. })) => {
                *to = Where::Registered;
            }
            _ => {}
        }
        Some(request)
    }

    /// The answer that reaches whoever asked `request`.
    pub(crate) fn answer(
        self,
        request: &Request,
        answer: Answer,
        numbers: &mut BTreeMap<String, Text>,
    ) -> Answer {
        match (self, request, answer) {
            (
                Self::WidensScope,
                Request::Refresh { scope, .. },
                Answer::Tokens { access, refresh, lasts, .. },
            ) if *scope & !REGISTERED != 0 => {
                Answer::Tokens { access, refresh, scope: *scope, lasts }
            }
            (Self::CodeTwice, Request::Redeem { code, .. }, Answer::Refused(_))
                if numbers.contains_key(&format!("redeemed {code}")) =>
            {
                let text = u32::try_from(numbers.len()).unwrap_or_default() + 1_000_000;
                Answer::Tokens { access: text, refresh: Some(text + 1), scope: 1, lasts: 3600 }
            }
            (Self::CodeTwice, Request::Redeem { code, .. }, answer @ Answer::Tokens { .. }) => {
                numbers.insert(format!("redeemed {code}"), 0);
                answer
            }
            (Self::ThiefEndsIt, Request::Refresh { .. }, Answer::Done) => {
                Answer::Refused("invalid_client".into())
            }
            (Self::LongAccessTokens, _, Answer::Tokens { access, refresh, scope, lasts }) => {
                // It says what the reference expects; only the token lives on.
                let lasts = lasts.saturating_sub(9 * TERMS.access);
                Answer::Tokens { access, refresh, scope, lasts }
            }
            (Self::LongAccessTokens, request, Answer::Active(mut told)) => {
                let of_access = match request {
                    Request::Introspect { by, .. } => by.client == API,
                    _ => true,
                };
                told.until -= if of_access { 9 * TERMS.access } else { 0 };
                Answer::Active(told)
            }
            (Self::LiesAboutTimes, _, Answer::Active(mut told)) => {
                told.until += 1;
                Answer::Active(told)
            }
            (
                Self::ServicesRefresh,
                Request::Service { .. },
                Answer::Tokens { access, scope, lasts, .. },
            ) => Answer::Tokens { access, refresh: Some(access + 1_000_000), scope, lasts },
            (Self::UnknownIsActive, Request::Bearer { scope, .. }, Answer::Refused(error))
                if error == "invalid_token" =>
            {
                let told = super::request::Told {
                    client: API,
                    user: None,
                    name_told: false,
                    scope: *scope,
                    until: u64::MAX,
                };
                Answer::Active(told)
            }
            (Self::AnswersTwice, Request::Decide { grant, .. }, Answer::Code(code)) => {
                let again = format!("again {grant} {}", numbers.len());
                let first = numbers.insert(format!("first {grant}"), code).is_none();
                let fresh = u32::try_from(numbers.len()).unwrap_or_default() + 2_000_000;
                numbers.insert(again, fresh);
                Answer::Code(if first { code } else { fresh })
            }
            (Self::NeverNow, Request::Introspect { token, .. }, _) if token % 5 == 0 => {
                Answer::NotNow
            }
            (Self::Errs, Request::Redeem { .. }, Answer::Refused(_)) => {
                Answer::Odd("500 internal server error".into())
            }
            (_, _, answer) => answer,
        }
    }

    pub(crate) fn location(self, location: &str) -> String {
        match self {
            Self::RedirectsElsewhere => location.replace("https://web", "https://evil"),
            _ => location.to_owned(),
        }
    }

    pub(crate) fn parameter(self, name: &str, value: &str) -> String {
        match (self, name) {
            (Self::ChangesState, "state") => value.replace('&', "+"),
            (Self::ChangesIssuer, "iss") => format!("{value}/"),
            _ => value.to_owned(),
        }
    }
}

/// A store with a bug.
#[derive(Debug)]
struct BadStorage {
    inner: Arc<dyn Storage>,
    bug: Bug,
    count: AtomicUsize,
    /// What is acknowledged and not written, or what was there before.
    kept: Mutex<BTreeMap<Key, Option<Commit>>>,
    applied: Mutex<BTreeSet<CommitId>>,
}

impl BadStorage {
    fn third(&self) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst) % 3 == 2
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Option<Commit>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit_id(&self, key: &Key) -> Result<Option<CommitId>, StorageError> {
        let found = self.inner.load(std::slice::from_ref(key)).await?;
        Ok(found.into_iter().flatten().next().map(|stored| stored.commit))
    }

    /// Writes what was only kept.
    async fn flush(&self, key: &Key) -> Result<(), StorageError> {
        let kept = self.kept().remove(key).flatten();
        if let Some(commit) = kept {
            let _ = self.inner.commit(commit).await?;
        }
        Ok(())
    }
}

fn stored(commit: &Commit) -> Stored {
    Stored {
        commit: commit.id,
        value: commit.record.value.clone(),
        purge_at: commit.record.purge_at,
    }
}

#[async_trait]
impl Storage for BadStorage {
    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        let mut found = self.inner.load(keys).await?;
        for (key, slot) in keys.iter().zip(&mut found) {
            match (self.bug, self.kept().get(key)) {
                (Bug::AcknowledgesBeforeDurable, Some(Some(kept))) => *slot = Some(stored(kept)),
                (Bug::ReadsStale, Some(before)) if key.kind() != Kind::Client && self.third() => {
                    *slot = before.as_ref().map(stored);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        let key = commit.key.clone();
        match self.bug {
            Bug::LosesCommits if commit.expect.is_some() && self.third() => {
                return Ok(CommitOutcome::Applied);
            }
            Bug::OverwritesBlindly => {
                let expect = self.commit_id(&key).await?;
                return self.inner.commit(Commit { expect, ..commit }).await;
            }
            Bug::ForgetsItsOwnCommits => {
                let fresh =
                    self.applied.lock().unwrap_or_else(PoisonError::into_inner).insert(commit.id);
                if !fresh {
                    return Ok(CommitOutcome::Conflict);
                }
            }
            Bug::AcknowledgesBeforeDurable if key.kind() == Kind::Grant => {
                self.flush(&key).await?;
                let current = self.commit_id(&key).await?;
                if commit.expect.is_none() || current != commit.expect {
                    return self.inner.commit(commit).await;
                }
                self.kept().insert(key, Some(commit));
                return Ok(CommitOutcome::Applied);
            }
            Bug::ReadsStale => {
                let before = self.inner.load(std::slice::from_ref(&key)).await?;
                let before = before.into_iter().flatten().next().map(|stored| Commit {
                    key: key.clone(),
                    expect: None,
                    id: stored.commit,
                    record: grantor::storage::NewRecord {
                        value: stored.value,
                        purge_at: stored.purge_at,
                        indexes: Vec::new(),
                    },
                });
                self.kept().insert(key, before);
            }
            _ => {}
        }
        self.inner.commit(commit).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        if self.bug == Bug::ForgetsIndexes && matches!(listing, Listing::Index(_)) {
            return Ok(Page { keys: Vec::new(), next: None });
        }
        self.inner.list(listing, after, limit).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        let early = Duration::from_secs(86_400 * 365 * 10);
        let now = if self.bug == Bug::SweepsTooMuch { now.plus(early) } else { now };
        self.inner.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.inner.ready().await
    }
}
