// node-oidc-provider as its documentation starts it, with the features on that the runner asks about:
// registration, introspection, revocation, client credentials. Everything else is as it comes,
// with the pages that it has for development.

import Provider from 'oidc-provider';

const port = Number(process.argv[2] ?? 8461);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    revocation: { enabled: true },
  },
  // Any name may sign in with any password: that is what its pages for development do.
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: [crypto.randomUUID()] },
});

provider.on('server_error', (_context, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log(`listening on ${issuer}`));
