//! What leaves the server of a refusal: one table.

use crate::pages::ErrorKind;
use crate::protocol::Refusal;

/// A refusal as it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnTheWire {
    /// `error`.
    pub(crate) code: &'static str,
    /// The status where the answer is JSON.
    pub(super) status: u16,
    /// What the user understands where the answer is a page.
    pub(super) kind: ErrorKind,
    /// `error_description`, where the reason itself would tell too much.
    pub(super) instead: Option<&'static str>,
}

/// The table: how each refusal is told (RFC 6749 section 4.1.2.1 and 5.2, RFC 6750 section 3.1,
/// OpenID Connect Core 1.0 section 3.1.2.6).
///
/// Nothing that concerns a credential says which of its checks failed: a code that is unknown,
/// expired, used, or another client's gets the same words.
pub(crate) const fn on_the_wire(refusal: &Refusal) -> OnTheWire {
    use ErrorKind as K;
    use Refusal as R;

    const fn row(code: &'static str, status: u16, kind: ErrorKind) -> OnTheWire {
        OnTheWire { code, status, kind, instead: None }
    }
    const fn veiled(code: &'static str, status: u16, instead: &'static str) -> OnTheWire {
        OnTheWire { code, status, kind: K::BadRequest, instead: Some(instead) }
    }
    const INVALID_GRANT: OnTheWire =
        veiled("invalid_grant", 400, "the code or token is not valid for this request");
    const INVALID_CLIENT: OnTheWire = veiled("invalid_client", 401, "client authentication failed");

    match refusal {
        R::ParameterMissing(_)
        | R::ParameterRepeated(_)
        | R::ParameterTooLong(_)
        | R::ParameterMalformed(_)
        | R::FormMalformed
        | R::JsonMalformed
        | R::TooManyParameters
        | R::CredentialsInUri
        | R::SeveralAuthMethods
        | R::ResponseModeUnsupported
        | R::PkceRequired
        | R::PkceMethodUnsupported
        | R::PkceChallengeMalformed
        | R::PromptContradictory
        | R::RedirectUriMissing
        | R::RedirectUriNotRegistered
        | R::SeveralTokens
        | R::TokenMalformed => row("invalid_request", 400, K::BadRequest),
        R::FormExpected => row("invalid_request", 415, K::BadRequest),
        R::BodyTooLarge => row("invalid_request", 413, K::BadRequest),
        R::UriTooLong => row("invalid_request", 414, K::BadRequest),

        R::ClientUnknown
        | R::ClientRemoved
        | R::ClientNotIdentified
        | R::ClientSecretMissing
        | R::ClientSecretWrong
        | R::ClientSecretExpired
        | R::ClientAuthMethodNotAllowed
        | R::ClientAuthMalformed
        | R::PublicClientSentSecret
        | R::IntrospectionNotAllowed => INVALID_CLIENT,
        R::TooManyWrongSecrets { .. } => row("invalid_client", 429, K::TooManyAttempts),
        R::GrantTypeUnsupported => row("unsupported_grant_type", 400, K::BadRequest),
        R::GrantTypeNotAllowed => row("unauthorized_client", 400, K::BadRequest),
        R::ExtensionGrantRefused(_) => INVALID_GRANT,

        R::ResponseTypeUnsupported => row("unsupported_response_type", 400, K::BadRequest),
        R::RequestObjectUnsupported => row("request_not_supported", 400, K::BadRequest),
        R::RequestUriUnsupported => row("request_uri_not_supported", 400, K::BadRequest),
        R::ScopeMissing | R::ScopeMalformed | R::ScopeUnknown | R::ScopeNotAllowed => {
            row("invalid_scope", 400, K::BadRequest)
        }
        R::ScopeWidened => row("invalid_scope", 400, K::BadRequest),
        R::LoginRequired => row("login_required", 400, K::BadRequest),
        R::ConsentRequired => row("consent_required", 400, K::BadRequest),
        R::AccessDenied => row("access_denied", 400, K::BadRequest),
        R::TemporarilyUnavailable => row("temporarily_unavailable", 503, K::Unavailable),

        R::InteractionUnknown => row("invalid_request", 400, K::NotFound),
        R::InteractionOfAnotherBrowser => row("invalid_request", 400, K::AnotherBrowser),
        R::InteractionExpired => row("invalid_request", 400, K::Expired),
        R::InteractionFinished => row("invalid_request", 400, K::AlreadyAnswered),
        R::ConsentOfAnotherUser | R::SignInRequired | R::CrossSiteRequest | R::ConsentUnknown => {
            row("invalid_request", 400, K::NotFromHere)
        }
        R::WrongCredentials => row("access_denied", 403, K::NotFromHere),
        R::TooManySignIns { .. } => row("access_denied", 429, K::TooManyAttempts),

        R::CodeUnknown
        | R::CodeExpired
        | R::CodeOfAnotherClient
        | R::CodeUsed
        | R::CodeReplayed
        | R::RedirectUriMismatch
        | R::VerifierMissing
        | R::VerifierMalformed
        | R::VerifierWrong { .. }
        | R::VerifierWithoutChallenge
        | R::GrantRevoked(_)
        | R::ClientGrantsRevoked
        | R::ConsentWithdrawn
        | R::AccountGone
        | R::RefreshTokenUnknown
        | R::RefreshTokenExpired
        | R::RefreshTokenOfAnotherClient
        | R::RefreshTokenReused
        | R::RetryDiffers
        | R::TokenOfAnotherClient => INVALID_GRANT,

        R::TokenMissing | R::TokenInactive => {
            veiled("invalid_token", 401, "the access token is not active")
        }
        R::ScopeInsufficient => row("insufficient_scope", 403, K::BadRequest),

        R::RegistrationRedirectUri(_) => row("invalid_redirect_uri", 400, K::BadRequest),
        R::RegistrationInvalid(_) | R::ClientExists => {
            row("invalid_client_metadata", 400, K::BadRequest)
        }
    }
}

impl OnTheWire {
    /// The status where the answer is a page.
    pub(super) const fn page_status(self) -> u16 {
        match self.kind {
            ErrorKind::TooManyAttempts => 429,
            ErrorKind::Unavailable => 503,
            ErrorKind::NotFound => 404,
            ErrorKind::NotFromHere => 403,
            _ if self.status == 413 || self.status == 414 || self.status == 415 => self.status,
            _ => 400,
        }
    }

    /// `error_description`: printable ASCII without quote and backslash, and nothing that came with
    /// the request.
    pub(super) fn description(self, refusal: &Refusal) -> String {
        self.instead.map_or_else(|| refusal.to_string(), str::to_owned)
    }
}

/// When to try again, in seconds.
pub(super) const fn retry_after(refusal: &Refusal) -> Option<u32> {
    match refusal {
        Refusal::TooManyWrongSecrets { retry_after_seconds }
        | Refusal::TooManySignIns { retry_after_seconds } => Some(*retry_after_seconds),
        Refusal::TemporarilyUnavailable => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod guide;
