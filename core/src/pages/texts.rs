//! What the pages say. A text that one of our languages lacks does not compile; that a host's language
//! has all of them is checked when the pages are put together.
//!
//! `{name}` in a text is filled in by the filter `fill`, which escapes what it puts there.

use serde::{Deserialize, Serialize};

use super::ErrorKind;

/// Everything the pages say, in one language.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Texts<T = &'static str> {
    pub(super) lang: T,

    pub(super) sign_in_title: T,
    pub(super) sign_in_for: T,
    pub(super) sign_in_own: T,
    pub(super) sign_in_again: T,
    pub(super) sign_in_username: T,
    pub(super) sign_in_password: T,
    pub(super) sign_in_button: T,
    pub(super) sign_in_caution: T,
    pub(super) wrong_credentials: T,
    pub(super) wait_second: T,
    pub(super) wait_seconds: T,
    pub(super) wait_minute: T,
    pub(super) wait_minutes: T,

    pub(super) consent_title: T,
    pub(super) consent_heading: T,
    pub(super) name_unverified: T,
    pub(super) signed_in_as: T,
    pub(super) scopes_legend: T,
    pub(super) scopes_hint: T,
    pub(super) scopes_none: T,
    pub(super) allowed_before: T,
    pub(super) destination_label: T,
    pub(super) destination_https: T,
    pub(super) destination_loopback: T,
    pub(super) destination_private_use: T,
    pub(super) destination_caution_https: T,
    pub(super) destination_caution_device: T,
    pub(super) duration_label: T,
    pub(super) duration_token: T,
    pub(super) duration_today: T,
    pub(super) duration_day: T,
    pub(super) duration_days: T,
    pub(super) withdraw_hint: T,
    pub(super) addresses_label: T,
    pub(super) address_home: T,
    pub(super) address_policy: T,
    pub(super) address_terms: T,
    pub(super) allow: T,
    pub(super) deny: T,

    pub(super) connections_title: T,
    pub(super) connections_intro: T,
    pub(super) connections_none: T,
    pub(super) connection_scopes: T,
    pub(super) connection_since: T,
    pub(super) withdraw: T,
    pub(super) withdrawn: T,
    pub(super) sign_out: T,

    pub(super) signed_out_title: T,
    pub(super) signed_out_text: T,
    pub(super) signed_out_link: T,

    /// Stands where a name has no character that can be seen.
    pub(super) nameless: T,

    pub(super) error_detail: T,
    pub(super) bad_request: ErrorTexts<T>,
    pub(super) expired: ErrorTexts<T>,
    pub(super) another_browser: ErrorTexts<T>,
    pub(super) already_answered: ErrorTexts<T>,
    pub(super) not_found: ErrorTexts<T>,
    pub(super) not_from_here: ErrorTexts<T>,
    pub(super) too_many_attempts: ErrorTexts<T>,
    pub(super) unavailable: ErrorTexts<T>,
}

/// What an error page says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ErrorTexts<T = &'static str> {
    pub(super) title: T,
    /// What happened.
    pub(super) what: T,
    /// What the user can do about it.
    pub(super) advice: T,
}

impl<T> Texts<T> {
    pub(super) fn error(&self, kind: ErrorKind) -> &ErrorTexts<T> {
        match kind {
            ErrorKind::BadRequest => &self.bad_request,
            ErrorKind::Expired => &self.expired,
            ErrorKind::AnotherBrowser => &self.another_browser,
            ErrorKind::AlreadyAnswered => &self.already_answered,
            ErrorKind::NotFound => &self.not_found,
            ErrorKind::NotFromHere => &self.not_from_here,
            ErrorKind::TooManyAttempts => &self.too_many_attempts,
            ErrorKind::Unavailable => &self.unavailable,
        }
    }
}

pub(super) const ENGLISH: Texts = Texts {
    lang: "en",

    sign_in_title: "Sign in",
    sign_in_for: "{client} sent you here. Sign in to continue.",
    sign_in_own: "Sign in to see which apps are connected to your account.",
    sign_in_again: "You were already signed in. Please sign in once more to confirm that it is you.",
    sign_in_username: "User name",
    sign_in_password: "Password",
    sign_in_button: "Sign in",
    sign_in_caution: "Before you enter your password, check that the address bar of your browser \
                      shows {host}.",
    wrong_credentials: "The user name or the password is not correct.",
    wait_second: "There were too many attempts. Please try again in {count} second.",
    wait_seconds: "There were too many attempts. Please try again in {count} seconds.",
    wait_minute: "There were too many attempts. Please try again in {count} minute.",
    wait_minutes: "There were too many attempts. Please try again in {count} minutes.",

    consent_title: "Allow access",
    consent_heading: "Allow {client} to use your account?",
    name_unverified: "The app chose this name itself. It has not been verified.",
    signed_in_as: "You are signed in as {username}.",
    scopes_legend: "What the app asks for",
    scopes_hint: "Uncheck anything that you do not want to allow.",
    scopes_none: "The app asks for no particular permission.",
    allowed_before: "Allowed before",
    destination_label: "Access goes to",
    destination_https: "The web site {destination}",
    destination_loopback: "An app on this device ({destination})",
    destination_private_use: "An app on this device ({destination})",
    destination_caution_https: "Allow this only if you know this address and began this yourself.",
    destination_caution_device: "Allow this only if you have just started it from an app on this \
                                 device.",
    duration_label: "How long",
    duration_token: "A short time, then it has to ask again.",
    duration_today: "Less than a day, then it has to ask again.",
    duration_day: "Up to {days} day, then it has to ask again.",
    duration_days: "Up to {days} days, then it has to ask again.",
    withdraw_hint: "You can remove it at any time under “Connected apps”.",
    addresses_label: "Addresses that the app gave (not verified)",
    address_home: "Home page",
    address_policy: "Privacy policy",
    address_terms: "Terms of service",
    allow: "Allow",
    deny: "Deny",

    connections_title: "Connected apps",
    connections_intro: "You have allowed these apps to use your account.",
    connections_none: "No app is connected to your account.",
    connection_scopes: "What the app may do",
    connection_since: "Allowed since {date}",
    withdraw: "Remove access",
    withdrawn: "The app’s access has been removed.",
    sign_out: "Sign out",

    signed_out_title: "You are signed out",
    signed_out_text: "Apps that you have connected to your account stay connected.",
    signed_out_link: "Sign in again",

    nameless: "(no name)",

    error_detail: "For developers",
    bad_request: ErrorTexts {
        title: "This request cannot be used",
        what: "An app sent you here with a request that is not valid. Nothing was shared with it.",
        advice: "You can close this page. If it happens again, tell the makers of the app.",
    },
    expired: ErrorTexts {
        title: "This page has expired",
        what: "It was open for too long and can no longer be used.",
        advice: "Go back to the app and start again.",
    },
    another_browser: ErrorTexts {
        title: "This page was opened in another browser",
        what: "For your safety, what was started in one browser cannot be finished in another. \
               Cookies that are blocked or deleted can also be the reason.",
        advice: "Go back to the app and start again in this browser, with cookies allowed.",
    },
    already_answered: ErrorTexts {
        title: "This page was answered already",
        what: "Your answer has been sent to the app. It counts once only.",
        advice: "Go back to the app. If nothing happened there, start again.",
    },
    not_found: ErrorTexts {
        title: "There is no such page",
        what: "The address may be incomplete, or the page no longer exists.",
        advice: "Check the address, or go back to the app and start again.",
    },
    not_from_here: ErrorTexts {
        title: "This form could not be accepted",
        what: "It was sent from another site, or from a page that is too old. For your safety, \
               nothing was changed.",
        advice: "Go back, reload the page and try again.",
    },
    too_many_attempts: ErrorTexts {
        title: "Too many attempts",
        what: "For your safety, no further attempts are accepted for a while.",
        advice: "Wait a few minutes, then try again.",
    },
    unavailable: ErrorTexts {
        title: "Not available at the moment",
        what: "The server cannot answer right now. It is not your fault.",
        advice: "Wait a moment, then try again.",
    },
};

pub(super) const KOREAN: Texts = Texts {
    lang: "ko",

    sign_in_title: "로그인",
    sign_in_for: "{client}에서 로그인을 요청했습니다. 계속하려면 로그인해 주세요.",
    sign_in_own: "로그인하면 계정에 연결된 앱을 확인할 수 있습니다.",
    sign_in_again: "이미 로그인되어 있습니다. 본인 확인을 위해 한 번 더 로그인해 주세요.",
    sign_in_username: "아이디",
    sign_in_password: "비밀번호",
    sign_in_button: "로그인",
    sign_in_caution: "비밀번호를 입력하기 전에 브라우저 주소창에 {host} 주소가 표시되는지 확인해 \
                      주세요.",
    wrong_credentials: "아이디 또는 비밀번호가 올바르지 않습니다.",
    wait_second: "시도 횟수가 너무 많습니다. {count}초 후에 다시 시도해 주세요.",
    wait_seconds: "시도 횟수가 너무 많습니다. {count}초 후에 다시 시도해 주세요.",
    wait_minute: "시도 횟수가 너무 많습니다. {count}분 후에 다시 시도해 주세요.",
    wait_minutes: "시도 횟수가 너무 많습니다. {count}분 후에 다시 시도해 주세요.",

    consent_title: "접근 허용",
    consent_heading: "{client} 앱이 회원님의 계정을 사용하도록 허용하시겠습니까?",
    name_unverified: "앱이 직접 정한 이름이며, 확인된 이름이 아닙니다.",
    signed_in_as: "{username} 계정으로 로그인되어 있습니다.",
    scopes_legend: "앱이 요청하는 권한",
    scopes_hint: "허용하지 않을 권한은 선택을 해제해 주세요.",
    scopes_none: "앱이 따로 요청하는 권한은 없습니다.",
    allowed_before: "이전에 허용함",
    destination_label: "권한을 받는 곳",
    destination_https: "{destination} 웹사이트",
    destination_loopback: "이 기기의 앱({destination})",
    destination_private_use: "이 기기의 앱({destination})",
    destination_caution_https: "아는 주소이고 직접 시작한 요청일 때만 허용해 주세요.",
    destination_caution_device: "방금 이 기기의 앱에서 직접 시작한 요청일 때만 허용해 주세요.",
    duration_label: "허용 기간",
    duration_token: "짧은 시간이며, 이후에는 다시 요청해야 합니다.",
    duration_today: "하루 미만이며, 이후에는 다시 요청해야 합니다.",
    duration_day: "최대 {days}일이며, 이후에는 다시 요청해야 합니다.",
    duration_days: "최대 {days}일이며, 이후에는 다시 요청해야 합니다.",
    withdraw_hint: "‘연결된 앱’에서 언제든지 연결을 해제할 수 있습니다.",
    addresses_label: "앱이 제공한 주소(확인되지 않음)",
    address_home: "홈페이지",
    address_policy: "개인정보 처리방침",
    address_terms: "이용약관",
    allow: "허용",
    deny: "거부",

    connections_title: "연결된 앱",
    connections_intro: "회원님의 계정을 사용하도록 허용한 앱입니다.",
    connections_none: "계정에 연결된 앱이 없습니다.",
    connection_scopes: "허용된 권한",
    connection_since: "{date}부터 허용됨",
    withdraw: "연결 해제",
    withdrawn: "앱의 연결을 해제했습니다.",
    sign_out: "로그아웃",

    signed_out_title: "로그아웃되었습니다",
    signed_out_text: "계정에 연결된 앱은 그대로 유지됩니다.",
    signed_out_link: "다시 로그인",

    nameless: "(이름 없음)",

    error_detail: "개발자용 정보",
    bad_request: ErrorTexts {
        title: "요청을 처리할 수 없습니다",
        what: "앱이 올바르지 않은 요청을 보냈습니다. 앱에 공유된 정보는 없습니다.",
        advice: "이 페이지를 닫아도 됩니다. 문제가 계속되면 앱 제작자에게 알려 주세요.",
    },
    expired: ErrorTexts {
        title: "페이지가 만료되었습니다",
        what: "페이지를 연 지 너무 오래되어 더 이상 사용할 수 없습니다.",
        advice: "앱으로 돌아가 처음부터 다시 시작해 주세요.",
    },
    another_browser: ErrorTexts {
        title: "다른 브라우저에서 연 페이지입니다",
        what: "안전을 위해, 한 브라우저에서 시작한 요청은 다른 브라우저에서 마칠 수 없습니다. \
               쿠키가 차단되었거나 삭제된 경우에도 이 메시지가 표시됩니다.",
        advice: "쿠키를 허용한 다음, 앱으로 돌아가 이 브라우저에서 다시 시작해 주세요.",
    },
    already_answered: ErrorTexts {
        title: "이미 응답한 페이지입니다",
        what: "회원님의 응답은 이미 앱에 전달되었으며, 한 번만 유효합니다.",
        advice: "앱으로 돌아가 주세요. 앱에서 아무 일도 일어나지 않았다면 다시 시작해 주세요.",
    },
    not_found: ErrorTexts {
        title: "페이지를 찾을 수 없습니다",
        what: "주소가 완전하지 않거나, 더 이상 존재하지 않는 페이지입니다.",
        advice: "주소를 확인하거나, 앱으로 돌아가 다시 시작해 주세요.",
    },
    not_from_here: ErrorTexts {
        title: "제출한 내용을 처리할 수 없습니다",
        what: "다른 사이트에서 보냈거나, 너무 오래전에 열어 둔 페이지에서 보낸 내용입니다. 안전을 위해 \
               아무것도 변경하지 않았습니다.",
        advice: "이전 페이지로 돌아가 새로고침한 후 다시 시도해 주세요.",
    },
    too_many_attempts: ErrorTexts {
        title: "시도 횟수가 너무 많습니다",
        what: "안전을 위해 잠시 동안 추가 시도를 받지 않습니다.",
        advice: "몇 분 후에 다시 시도해 주세요.",
    },
    unavailable: ErrorTexts {
        title: "지금은 이용할 수 없습니다",
        what: "서버가 지금 응답할 수 없습니다. 회원님의 잘못이 아닙니다.",
        advice: "잠시 후 다시 시도해 주세요.",
    },
};
