// node-oidc-provider: `server.mjs memory` or `server.mjs redis URL`. Plain OAuth, opaque tokens, refresh tokens that
// rotate; its pages for development are never reached, for everybody is signed in and has allowed everything.

import { Provider } from 'oidc-provider';

import { memoryAdapter } from './memory.mjs';
import { redisAdapter } from './redis.mjs';

const CALLBACK = 'https://client.example/cb';
const SECRET = 'q7NTo1mhU7ZoDPlUQVt4Yz3Z8vXo5mXcV2r0sFJbq9Q';
const USERS = 1000;
const DAYS_14 = 14 * 24 * 60 * 60;

const [kind, url] = process.argv.slice(2);
const adapter = kind === 'redis' ? redisAdapter(url) : memoryAdapter();
const client = (client_id, more) => ({
  client_id,
  redirect_uris: [CALLBACK],
  response_types: ['code'],
  scope: 'read',
  ...more,
});

const provider = new Provider('http://127.0.0.1:8400', {
  adapter,
  clients: [
    client('confidential', {
      client_secret: SECRET,
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      token_endpoint_auth_method: 'client_secret_basic',
    }),
    client('public', {
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'none',
    }),
  ],
  // The cookie that the driver sends, with the identifier of the session in it.
  cookies: { names: { session: 'user' }, keys: [] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: () => '/sign-in' },
  expiresWithSession: () => false,
  issueRefreshToken: (_context, asked) => asked.grantTypeAllowed('refresh_token'),
  // The grant is also what remembers consent, and ends with all its tokens otherwise.
  revokeGrantPolicy: () => false,
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'read'],
  ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Grant: DAYS_14, RefreshToken: DAYS_14, Session: DAYS_14 },
});

for (let number = 0; number < USERS; number += 1) {
  const accountId = `u${number}`;
  const session = new provider.Session({ jti: accountId });
  session.loginAccount({ accountId });
  for (const clientId of ['confidential', 'public']) {
    const grant = new provider.Grant({ accountId, clientId });
    grant.addOIDCScope('read');
    session.ensureClientContainer(clientId);
    session.grantIdFor(clientId, await grant.save(DAYS_14));
  }
  await session.save(DAYS_14);
}

provider.use(async (context, next) => {
  if (context.path !== '/resource') return next();
  const presented = (context.get('authorization') ?? '').replace(/^Bearer /, '');
  const token = await provider.AccessToken.find(presented);
  const known = token && token.isValid && token.scopes.has('read');
  context.status = known ? 200 : 401;
  context.body = known ? token.accountId : '';
});
provider.on('server_error', (_context, error) => console.error(error));

const listener = provider.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({
    port: listener.address().port,
    secret: SECRET,
    authorize: '/auth',
    token: '/token',
    introspect: '/token/introspection',
    revoke: '/token/revocation',
    resource: '/resource',
  }));
});
// A connection that waits for its turn is not idle.
listener.keepAliveTimeout = 0;
process.stdin.on('end', () => process.exit(0)).resume();
