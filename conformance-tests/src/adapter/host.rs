//! A host that signs users in itself.

use super::exchange::Visitor;
use super::flow::ask;
use super::stage::on_stage_of;
use super::users::SUBJECT;
use super::{SIGNED_IN, Serve};
use crate::runner::browser::Landing;
use crate::runner::browser::Plan;
use crate::runner::wire::Call;

/// Whoever is not signed in is sent to the host's page, and comes back as who the host says.
pub fn the_host_says_who_is_signed_in(serve: Serve) {
    // Requirement 6749-010; ATTACKS A18.
    on_stage_of(
        serve,
        "",
        |builder| builder.login_page("/login"),
        async |stage| {
            let visitor = Visitor::of(stage);
            let client = stage.client().await;
            let ask = ask(&stage.url("/authorize"), client.client.id.as_str());
            let mut browser = visitor.browser();
            let sent = match visitor.drive(&mut browser, &ask, Plan::Look).await {
                // The page itself is the host's, and this host has none.
                Landing::Page(reply) if reply.status == 404 => reply.url,
                other => panic!("{}", other.describe()),
            };
            let sent = url::Url::parse(&sent).expect("an address");
            assert_eq!(sent.path(), "/login");
            let back =
                sent.query_pairs().find(|(name, _)| name == "return_to").expect("an address").1;
            let signed_in = |who: &str| {
                let header = http::HeaderName::from_static(SIGNED_IN);
                Call::get(stage.url(&back)).header(header, who)
            };
            let page = visitor.browse(&mut browser, signed_in(SUBJECT)).await;
            assert!(page.status == 200 && page.text().contains("id=\"allow\""), "{page:?}");
            let page = visitor.browse(&mut browser, signed_in("user-2")).await;
            assert_eq!(page.status, 303, "an account that does not stand is nobody: {page:?}");
            let page = visitor.browse(&mut browser, Call::get(stage.url(&back))).await;
            assert_eq!(page.status, 303, "and nobody stays signed in by having been so: {page:?}");
        },
    );
}
