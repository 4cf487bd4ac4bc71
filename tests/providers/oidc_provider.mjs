// npm's oidc-provider as an OpenID provider over TLS, set up as a company would for airtunnel.
//
//   node oidc_provider.mjs NODE_MODULES DIRECTORY [PORT]
//
// DIRECTORY holds gateway.pem, gateway.key and settings.json ({clients, people, audience}); in it are kept what the provider knows
// (state.json, written when it ends, so that it can be started again) and what happened (events.jsonl).
// It prints its port when it answers, and ends with SIGTERM or with its standard input.

import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, directory, port = '0'] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider', 'lib', 'index.js')));
const { clients, people, audience } = JSON.parse(readFileSync(join(directory, 'settings.json')));
const stateFile = join(directory, 'state.json');
const state = new Map(existsSync(stateFile) ? JSON.parse(readFileSync(stateFile)) : []);

// What is old is kept: the models know when they expire, and then say so.
class Adapter {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload) { state.set(this.key(id), payload); }

  async find(id) { return state.get(this.key(id)); }

  async findBy(name, value) {
    return [...state].find(([key, payload]) => key.startsWith(this.key('')) && payload[name] === value)?.[1];
  }

  async findByUid(uid) { return this.findBy('uid', uid); }

  async findByUserCode(userCode) { return this.findBy('userCode', userCode); }

  async consume(id) { state.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { state.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of state) if (payload.grantId === grantId) state.delete(key);
  }
}

const server = createServer({
  cert: readFileSync(join(directory, 'gateway.pem')),
  key: readFileSync(join(directory, 'gateway.key')),
});
await new Promise((resolve) => { server.listen(Number(port), '127.0.0.1', resolve); });
const issuer = `https://127.0.0.1:${server.address().port}`;
const resource = 'urn:airtunnel:gateway';
const codeLife = Object.fromEntries(clients.map((one) => [one.client_id, one.code_life ?? 600]));
const nonceWanted = new Set(clients.filter((one) => one.dpop_nonce).map((one) => one.client_id));

function who(login) {
  return { email: `${login}@example.com`, email_verified: true, groups: people[login] ?? [] };
}

const provider = new Provider(issuer, {
  adapter: Adapter,
  clients: clients.map(({ code_life, dpop_nonce, ...client }) => client),
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'offline_access', 'email', 'groups'],
  conformIdTokenClaims: false,
  cookies: { keys: ['only for tests'] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...who(id) }) }),
  extraTokenClaims: (ctx, token) => who(token.accountId ?? token.clientId),
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: Buffer.alloc(32, 7),
      requireNonce: (ctx) => nonceWanted.has(ctx.oidc.client?.clientId),
    },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'openid email groups offline_access', audience, accessTokenFormat: 'jwt' }),
    },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 3600,
    ClientCredentials: 600,
    DeviceCode: (ctx, code, client) => codeLife[client.clientId],
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 3600,
  },
});

for (const name of ['grant.success', 'grant.error', 'grant.revoked', 'authorization.error', 'server_error']) {
  provider.on(name, (ctx, subject) => {
    const { grant_type: grant = null } = ctx?.oidc?.params ?? {};
    const reason = subject instanceof Error ? subject.error_detail ?? subject.error_description ?? subject.message : null;
    appendFileSync(join(directory, 'events.jsonl'), `${JSON.stringify({ event: name, grant, reason })}\n`);
  });
}

function end() {
  writeFileSync(stateFile, JSON.stringify([...state]), { mode: 0o600 });
  process.exit(0);
}

process.on('SIGTERM', end);
process.stdin.on('end', end).resume();
server.on('request', provider.callback());
console.log(server.address().port);
