//! The whole server, from request to response.

use std::hint::black_box;
use std::pin::pin;

use crate::requests::{self, Asked};
use crate::world::{World, in_place};
use crate::{Case, Ready};

pub(crate) const CASES: [Case; 11] = [
    Case { name: "wire/authorize", prepare: |w| handle(w, requests::authorize(w)) },
    Case {
        name: "wire/client_credentials",
        prepare: |w| handle(w, requests::client_credentials(w)),
    },
    Case { name: "wire/code", prepare: |w| handle(w, requests::code(w, &w.confidential)) },
    Case { name: "wire/code_public", prepare: |w| handle(w, requests::code(w, &w.public)) },
    Case { name: "wire/refresh", prepare: |w| handle(w, requests::refresh(w)) },
    Case { name: "wire/reuse", prepare: |w| handle(w, requests::reuse(w)) },
    Case {
        name: "wire/introspect",
        prepare: |w| handle(w, requests::introspect(w, &w.confidential)),
    },
    Case {
        name: "wire/introspect_by_api",
        prepare: |w| handle(w, requests::introspect(w, &w.api)),
    },
    Case { name: "wire/revoke", prepare: |w| handle(w, requests::revoke(w)) },
    Case { name: "wire/revoke_access", prepare: |w| handle(w, requests::revoke_access(w)) },
    Case { name: "wire/bearer", prepare: guarded },
];

fn handle(world: &World, asked: Asked) -> Ready<'_> {
    let Asked { request, right } = asked;
    Box::new(move || {
        let answer = in_place(pin!(world.server.handle(black_box(request))));
        assert!(right(black_box(&answer)), "{answer:?}");
    })
}

fn guarded(world: &World) -> Ready<'_> {
    let (parts, _) = requests::bearer(world).request.into_parts();
    Box::new(move || {
        let parts = black_box(parts);
        let found = in_place(pin!(world.guard.check(&parts.headers, &parts.uri, &world.scope)));
        assert!(black_box(&found).is_ok(), "{found:?}");
    })
}
