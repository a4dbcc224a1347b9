use grantor::protocol::metadata::metadata;

use crate::world::World;

const GRANT: &str = "urn:example:grant";

#[test]
fn it_says_what_is_enforced() {
    // Requirements 8414-002, 8414-007, 9207-003.
    let mut world = World::new();
    let said = |world: &World| metadata(&world.issuer, &world.policy, [GRANT], &["en", "ko"]);
    let all = said(&world);
    assert_eq!(all.issuer, "https://as.example");
    assert_eq!(all.token_endpoint, "https://as.example/token");
    assert_eq!(
        all.grant_types_supported,
        ["authorization_code", "refresh_token", "client_credentials", GRANT]
    );
    assert_eq!(all.scopes_supported, ["admin", "read", "write"]);
    assert_eq!(all.ui_locales_supported, ["en", "ko"]);
    assert_eq!(
        all.introspection_endpoint_auth_methods_supported,
        ["client_secret_basic", "client_secret_post"]
    );
    assert!(all.authorization_response_iss_parameter_supported);
    assert_eq!(all.response_types_supported, ["code"]);
    world.policy.refresh = None;
    assert_eq!(
        said(&world).grant_types_supported,
        ["authorization_code", "client_credentials", GRANT]
    );
}
