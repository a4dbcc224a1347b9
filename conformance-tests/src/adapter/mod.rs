//! For authors of adapters: one black-box flow, over real connections, through any web framework.
//!
//! An adapter's test is a program in its framework, and one line:
//!
//! ```ignore
//! use grantor_conformance::adapter::{CalendarWrite, SIGNED_IN, Site};
//!
//! /// Serves until the process ends.
//! fn serve(site: Site) { /* ... */ }
//!
//! grantor_conformance::adapter_suite!(serve);
//! ```
//!
//! This makes one `#[test]` of each thing that an adapter can get wrong. The program listens at
//! [`Site::address`] and has:
//!
//! | request | answer |
//! |---|---|
//! | whatever [`Site::server`] answers | that, by the adapter |
//! | `GET /events` | the subject of the token, as text, behind the adapter's guard for scopes as values: [`Site::guard`] and [`READ`] |
//! | `POST /events` | the same, by the adapter's extractor for scopes as types: [`CalendarWrite`] |
//! | `GET` of [`Guard::metadata_path`] | [`Guard::metadata`], by the adapter |
//! | `GET /unguarded` | not that: the handler of `GET /events`, and no guard |
//! | anything else | 404 of the framework |
//!
//! A request with the header [`SIGNED_IN`] is one of a user whom the host has signed in:
//! [`Site::signed_in`] says who that is, and the program tells the server in the way of its framework. One
//! with the header [`FORWARDED_FOR`] came over a proxy that the host trusts, from that address.
//!
//! The oracle is the server itself: what comes back over the connection is compared with what
//! [`AuthorizationServer::handle`] and [`Guard::check`] answer in this process, header by header.

mod connection;
mod exchange;
mod fidelity;
mod flow;
mod guards;
mod host;
mod stage;
mod users;

use std::net::{IpAddr, SocketAddr};

use grantor::AuthorizationServer;
use grantor::model::{Authentication, Subject};
use grantor::resource::{Guard, RequiredScope};

pub use self::connection::{
    a_panic_is_answered, a_request_is_answered_to_its_end, broken_requests_break_nothing,
    no_body_is_read_without_end, the_peer_is_the_one_of_the_connection,
    the_peer_is_the_one_that_the_host_says,
};
pub use self::fidelity::{
    answers_are_those_of_the_server, issuers_with_a_path_are_served, repeated_headers_stay_repeated,
};
pub use self::flow::{the_runner_finds_nothing, the_whole_flow};
pub use self::guards::{
    challenges_are_those_of_the_guard, no_guard_is_no_open_door,
    the_metadata_of_the_resource_is_served,
};
pub use self::host::the_host_says_who_is_signed_in;

/// The scope of `GET /events`.
pub const READ: &str = "calendar.read";
/// The scope of `POST /events`.
pub const WRITE: &str = "calendar.write";
/// The header of a request whose user the host has signed in: the subject.
pub const SIGNED_IN: &str = "x-signed-in";

/// The header in which a proxy that the host trusts says where a request comes from.
pub const FORWARDED_FOR: &str = "x-trusted-proxy-for";

/// [`WRITE`] as a type.
#[derive(Clone, Copy, Debug)]
pub struct CalendarWrite;

impl RequiredScope for CalendarWrite {
    const SCOPE: &'static str = WRITE;
}

/// What the program under test is made of.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it mounts.
    pub server: AuthorizationServer,
    /// What it protects `/events` with.
    pub guard: Guard,
}

impl Site {
    /// Who a request comes from whose [`SIGNED_IN`] header has this value.
    pub fn signed_in(&self, header: &str) -> Option<Authentication> {
        let subject = Subject::parse(header).ok()?;
        Some(Authentication { subject, auth_time: self.server.now() })
    }
}

/// Where a request comes from whose [`FORWARDED_FOR`] header has this value.
pub fn forwarded_for(header: &str) -> Option<IpAddr> {
    header.parse().ok()
}

/// The program of an adapter's test: serves until the process ends.
pub type Serve = fn(Site);

/// The tests of an adapter, over the program that `$serve`, a `fn(Site)`, runs. See
/// [the module](mod@crate::adapter).
///
/// With `joined_headers`, for what stands behind a gateway that joins headers of one name before anybody
/// sees them, all but [`repeated_headers_stay_repeated`].
#[macro_export]
macro_rules! adapter_suite {
    ($serve:expr) => {
        $crate::adapter_suite!($serve, joined_headers);

        #[test]
        fn repeated_headers_stay_repeated() {
            $crate::adapter::repeated_headers_stay_repeated($serve);
        }
    };
    ($serve:expr, joined_headers) => {
        $crate::adapter_suite!(
            @tests $serve,
            the_whole_flow,
            the_runner_finds_nothing,
            answers_are_those_of_the_server,
            issuers_with_a_path_are_served,
            challenges_are_those_of_the_guard,
            no_guard_is_no_open_door,
            the_host_says_who_is_signed_in,
            the_metadata_of_the_resource_is_served,
            the_peer_is_the_one_of_the_connection,
            the_peer_is_the_one_that_the_host_says,
            no_body_is_read_without_end,
            broken_requests_break_nothing,
            a_request_is_answered_to_its_end,
            a_panic_is_answered,
        );
    };
    (@tests $serve:expr, $($name:ident,)+) => {
        $(
            #[test]
            fn $name() {
                $crate::adapter::$name($serve);
            }
        )+
    };
}
