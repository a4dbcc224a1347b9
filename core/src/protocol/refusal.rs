//! Every reason for which a request is refused, with the clause that demands it.

use crate::model::{InvalidRedirectUri, RevocationReason};

/// Why a request was refused: which check, of which clause.
///
/// This is for the audit log and for the operator. What the client may learn of it is decided by
/// one table in [`wire`](crate::wire), and is less.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text of each variant is its `Display`")]
pub enum Refusal {
    // The form of the request.
    ParameterMissing(&'static str),
    ParameterRepeated(&'static str),
    ParameterTooLong(&'static str),
    ParameterMalformed(&'static str),
    FormExpected,
    FormMalformed,
    JsonMalformed,
    TooManyParameters,
    BodyTooLarge,
    UriTooLong,
    CredentialsInUri,

    // Who is calling.
    ClientUnknown,
    ClientRemoved,
    ClientNotIdentified,
    ClientSecretMissing,
    ClientSecretWrong,
    ClientSecretExpired,
    ClientAuthMethodNotAllowed,
    ClientAuthMalformed,
    SeveralAuthMethods,
    PublicClientSentSecret,
    TooManyWrongSecrets { retry_after_seconds: u32 },
    GrantTypeUnsupported,
    GrantTypeNotAllowed,
    ExtensionGrantRefused(String),

    // The authorization request.
    RedirectUriMissing,
    RedirectUriNotRegistered,
    ResponseTypeUnsupported,
    ResponseModeUnsupported,
    RequestObjectUnsupported,
    RequestUriUnsupported,
    PkceRequired,
    PkceMethodUnsupported,
    PkceChallengeMalformed,
    ScopeMissing,
    ScopeMalformed,
    ScopeUnknown,
    ScopeNotAllowed,
    PromptContradictory,
    LoginRequired,
    ConsentRequired,
    AccessDenied,
    TemporarilyUnavailable,

    // The pages in between.
    InteractionUnknown,
    InteractionOfAnotherBrowser,
    InteractionExpired,
    InteractionFinished,
    ConsentOfAnotherUser,
    SignInRequired,
    WrongCredentials,
    TooManySignIns { retry_after_seconds: u32 },
    CrossSiteRequest,
    ConsentUnknown,

    // The code.
    CodeUnknown,
    CodeExpired,
    CodeOfAnotherClient,
    CodeUsed,
    CodeReplayed,
    RedirectUriMismatch,
    VerifierMissing,
    VerifierMalformed,
    VerifierWrong { guesses_left: u8 },
    VerifierWithoutChallenge,

    // The grant behind a code or a token.
    GrantRevoked(RevocationReason),
    ClientGrantsRevoked,
    ConsentWithdrawn,
    AccountGone,

    // The refresh token.
    RefreshTokenUnknown,
    RefreshTokenExpired,
    RefreshTokenOfAnotherClient,
    RefreshTokenReused,
    RetryDiffers,
    ScopeWidened,

    // Tokens at other endpoints.
    TokenOfAnotherClient,
    IntrospectionNotAllowed,
    TokenMissing,
    SeveralTokens,
    TokenMalformed,
    TokenInactive,
    ScopeInsufficient,

    // Registration.
    RegistrationRedirectUri(InvalidRedirectUri),
    RegistrationInvalid(&'static str),
    ClientExists,
}

impl Refusal {
    /// The clause that demands the refusal.
    pub const fn clause(&self) -> &'static str {
        use Refusal as R;
        match self {
            R::ParameterMissing(_) => "RFC 6749 section 4.1.2.1, section 5.2",
            R::ParameterRepeated(_) => "RFC 6749 section 3.1, section 3.2",
            R::ParameterTooLong(_) | R::TooManyParameters | R::BodyTooLarge | R::UriTooLong => {
                "RFC 9110 section 15.5"
            }
            R::ParameterMalformed(_) | R::FormExpected | R::FormMalformed => "RFC 6749 appendix B",
            R::JsonMalformed => "RFC 8259 section 2",
            R::CredentialsInUri => "RFC 6749 section 2.3.1",
            R::ClientUnknown | R::ClientRemoved | R::ClientNotIdentified => {
                "RFC 6749 section 2.2, section 5.2"
            }
            R::ClientSecretMissing | R::ClientSecretWrong | R::ClientSecretExpired => {
                "RFC 6749 section 3.2.1"
            }
            R::ClientAuthMethodNotAllowed => "RFC 6749 section 2.3.2, RFC 7591 section 2",
            R::ClientAuthMalformed => "RFC 6749 section 2.3.1, RFC 7617 section 2",
            R::SeveralAuthMethods => "RFC 6749 section 2.3",
            R::PublicClientSentSecret => "RFC 6749 section 2.3",
            R::TooManyWrongSecrets { .. } => "RFC 6749 section 2.3.1",
            R::GrantTypeUnsupported | R::GrantTypeNotAllowed | R::ExtensionGrantRefused(_) => {
                "RFC 6749 section 5.2"
            }
            R::RedirectUriMissing => "RFC 6749 section 3.1.2.3",
            R::RedirectUriNotRegistered => "RFC 6749 section 3.1.2.4, RFC 9700 section 4.1.3",
            R::ResponseTypeUnsupported => "RFC 6749 section 3.1.1",
            R::ResponseModeUnsupported => "OAuth 2.0 Multiple Response Types section 2.1",
            R::RequestObjectUnsupported | R::RequestUriUnsupported => "RFC 9101 section 6",
            R::PkceRequired => "RFC 7636 section 4.4.1, OAuth 2.1 section 4.1.1",
            R::PkceMethodUnsupported => "RFC 7636 section 4.4.1, section 7.2",
            R::PkceChallengeMalformed => "RFC 7636 section 4.2",
            R::ScopeMissing | R::ScopeMalformed | R::ScopeUnknown | R::ScopeNotAllowed => {
                "RFC 6749 section 3.3"
            }
            R::PromptContradictory | R::LoginRequired | R::ConsentRequired => {
                "OpenID Connect Core 1.0 section 3.1.2.1, section 3.1.2.6"
            }
            R::AccessDenied | R::TemporarilyUnavailable => "RFC 6749 section 4.1.2.1",
            R::InteractionUnknown
            | R::InteractionOfAnotherBrowser
            | R::ConsentOfAnotherUser
            | R::CrossSiteRequest => "RFC 6749 section 10.12",
            R::InteractionExpired | R::InteractionFinished => "RFC 9700 section 4.2.4",
            R::SignInRequired | R::WrongCredentials => "RFC 6749 section 3.1",
            R::TooManySignIns { .. } => "RFC 6749 section 10.10",
            R::ConsentUnknown => "OAuth 2.1 section 7.9",
            R::CodeUnknown | R::CodeOfAnotherClient => "RFC 6749 section 4.1.3",
            R::CodeExpired => "RFC 6749 section 4.1.2",
            R::CodeUsed | R::CodeReplayed => "RFC 6749 section 4.1.2, OAuth 2.1 section 7.5.2",
            R::RedirectUriMismatch => "RFC 6749 section 4.1.3, section 10.6",
            R::VerifierMissing | R::VerifierWrong { .. } => "RFC 7636 section 4.6",
            R::VerifierMalformed => "RFC 7636 section 4.1",
            R::VerifierWithoutChallenge => "RFC 9700 section 4.8.2",
            R::GrantRevoked(_) | R::ClientGrantsRevoked | R::ConsentWithdrawn => {
                "RFC 6749 section 5.2, RFC 7009 section 2"
            }
            R::AccountGone => "RFC 7662 section 4",
            R::RefreshTokenUnknown | R::RefreshTokenOfAnotherClient => {
                "RFC 6749 section 6, section 10.4"
            }
            R::RefreshTokenExpired => "OAuth 2.1 section 4.3.3",
            R::RefreshTokenReused | R::RetryDiffers => "RFC 9700 section 4.14.2",
            R::ScopeWidened => "RFC 6749 section 6",
            R::TokenOfAnotherClient => "RFC 7009 section 2.1",
            R::IntrospectionNotAllowed => "RFC 7662 section 2.1",
            R::TokenMissing | R::TokenMalformed | R::TokenInactive | R::ScopeInsufficient => {
                "RFC 6750 section 3.1"
            }
            R::SeveralTokens => "RFC 6750 section 2",
            R::RegistrationRedirectUri(_) | R::RegistrationInvalid(_) | R::ClientExists => {
                "RFC 7591 section 3.2.2"
            }
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use Refusal as R;
        let text = match self {
            R::ParameterMissing(name) => return write!(f, "the parameter {name} is missing"),
            R::ParameterRepeated(name) => {
                return write!(f, "the parameter {name} is there more than once");
            }
            R::ParameterTooLong(name) => return write!(f, "the parameter {name} is too long"),
            R::ParameterMalformed(name) => {
                return write!(f, "the parameter {name} has a value that is not allowed");
            }
            R::FormExpected => "the body is not application/x-www-form-urlencoded",
            R::FormMalformed => "the form is not percent-encoded UTF-8",
            R::JsonMalformed => "the body is not a JSON object of texts and lists of texts",
            R::TooManyParameters => "there are too many parameters",
            R::BodyTooLarge => "the body is too large",
            R::UriTooLong => "the URI is too long",
            R::CredentialsInUri => "client credentials do not belong into the URI",
            R::ClientUnknown => "no client with this client_id is registered",
            R::ClientRemoved => "the client was removed",
            R::ClientNotIdentified => "the request does not say which client it comes from",
            R::ClientSecretMissing => "a confidential client has to authenticate",
            R::ClientSecretWrong => "the client secret is wrong",
            R::ClientSecretExpired => "the client secret was replaced and no longer works",
            R::ClientAuthMethodNotAllowed => {
                "the client is not registered for this authentication method"
            }
            R::ClientAuthMalformed => "the Authorization header cannot be read",
            R::SeveralAuthMethods => "the client authenticates in more than one way",
            R::PublicClientSentSecret => "a public client has no secret to send",
            R::TooManyWrongSecrets { .. } => "too many wrong secrets for this client",
            R::GrantTypeUnsupported => "this grant type is not supported",
            R::ExtensionGrantRefused(reason) => {
                return write!(f, "the grant type of the host refuses: {reason}");
            }
            R::GrantTypeNotAllowed => "the client is not registered for this grant type",
            R::RedirectUriMissing => {
                "the redirect_uri is missing, and not exactly one is registered"
            }
            R::RedirectUriNotRegistered => "the redirect_uri is not one that the client registered",
            R::ResponseTypeUnsupported => "only response_type=code is supported",
            R::ResponseModeUnsupported => "only response_mode=query is supported",
            R::RequestObjectUnsupported => "request objects are not supported",
            R::RequestUriUnsupported => "request_uri is not supported",
            R::PkceRequired => "a code_challenge is required",
            R::PkceMethodUnsupported => "only code_challenge_method=S256 is supported",
            R::PkceChallengeMalformed => "the code_challenge is not 43 characters of base64url",
            R::ScopeMissing => "no scope was asked for, and there is no default",
            R::ScopeMalformed => "the scope is not a list of scope tokens",
            R::ScopeUnknown => "a scope that does not exist was asked for",
            R::ScopeNotAllowed => "a scope that the client may not have was asked for",
            R::PromptContradictory => "prompt=none cannot be combined",
            R::LoginRequired => "the user would have to sign in, and prompt is none",
            R::ConsentRequired => "the user would have to be asked, and prompt is none",
            R::AccessDenied => "the user said no",
            R::TemporarilyUnavailable => "the server cannot answer now",
            R::InteractionUnknown => "there is no such interaction",
            R::InteractionOfAnotherBrowser => "the interaction was begun in another browser",
            R::InteractionExpired => "the interaction took too long",
            R::InteractionFinished => "the interaction was answered already",
            R::ConsentOfAnotherUser => "the page was shown to another user",
            R::SignInRequired => "the user is not signed in",
            R::WrongCredentials => "user name or password is wrong",
            R::TooManySignIns { .. } => "too many attempts to sign in",
            R::CrossSiteRequest => "the form was sent from another site",
            R::ConsentUnknown => "there is no such consent",
            R::CodeUnknown => "there is no such code",
            R::CodeExpired => "the code has expired",
            R::CodeOfAnotherClient => "the code was issued to another client",
            R::CodeUsed => "the code was used, and the replayer did not prove to be the client",
            R::CodeReplayed => "the code was used, and the client presented it again",
            R::RedirectUriMismatch => "the redirect_uri is not the one that the code was sent to",
            R::VerifierMissing => "the code_verifier is missing",
            R::VerifierMalformed => "the code_verifier is not 43 to 128 unreserved characters",
            R::VerifierWrong { guesses_left } => {
                return write!(f, "the code_verifier is wrong, {guesses_left} attempts are left");
            }
            R::VerifierWithoutChallenge => "a code_verifier was sent for a code without challenge",
            R::GrantRevoked(reason) => {
                return write!(f, "the authorization was revoked: {reason:?}");
            }
            R::ClientGrantsRevoked => "everything issued to the client was revoked",
            R::ConsentWithdrawn => "the consent was withdrawn",
            R::AccountGone => "the user's account does not stand any more",
            R::RefreshTokenUnknown => "there is no such refresh token",
            R::RefreshTokenExpired => "the refresh token has expired",
            R::RefreshTokenOfAnotherClient => "the refresh token was issued to another client",
            R::RefreshTokenReused => "a retired refresh token was presented",
            R::RetryDiffers => "a repeated refresh asks for another scope than the first one",
            R::ScopeWidened => "more scope was asked for than was granted",
            R::TokenOfAnotherClient => "the token was issued to another client",
            R::IntrospectionNotAllowed => "the caller may not introspect tokens",
            R::TokenMissing => "there is no access token",
            R::SeveralTokens => "the access token was sent in more than one way",
            R::TokenMalformed => "the Authorization header cannot be read",
            R::TokenInactive => "the access token is not active",
            R::ScopeInsufficient => "the access token does not have the scope",
            R::RegistrationRedirectUri(why) => return write!(f, "redirect_uri: {why}"),
            R::RegistrationInvalid(why) => why,
            R::ClientExists => "a client with this client_id exists",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Refusal {}
