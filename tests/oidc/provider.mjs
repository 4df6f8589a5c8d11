// A certified OpenID provider (the npm package oidc-provider) whose people sign in without a page, and whose answers are
// wrong in one way for some of them. Prints its issuer once it listens.
//
//   node provider.mjs CERTIFICATE.pem KEY.pem CLIENT_ID CLIENT_SECRET REDIRECT_URI
//
// Whom it lets in is who `login_hint` names. An e-mail address is the name at example.com, verified, unless PEOPLE says else.
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { setTimeout as passed } from 'node:timers/promises';
import { SignJWT, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const [certificate, key, client_id, client_secret, redirect_uri] = process.argv.slice(2);

const PEOPLE = {
  unverified: { email: 'unverified@example.com', email_verified: false },
  impostor: { email: 'ada@example.com', email_verified: true },
  nameless: {},
  outsider: { email: 'outsider@elsewhere.example', email_verified: true },
};

async function signingKey(kid) {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const about = { kid, alg: 'RS256', use: 'sig' };
  return { kid, privateKey, jwk: { ...(await exportJWK(privateKey)), ...about }, public: { ...(await exportJWK(publicKey)), ...about } };
}

const own = await signingKey('first');
const forger = await signingKey('first');
let turned;

const sign = (claims, { kid, privateKey }, alg = 'RS256') => new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(privateKey);
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// What becomes of an ID token for somebody of this name.
const WRONG = {
  'other-nonce': (claims) => sign({ ...claims, nonce: 'of-another-attempt' }, own),
  'no-nonce': ({ nonce, ...claims }) => sign(claims, own),
  'other-audience': (claims) => sign({ ...claims, aud: 'another-client' }, own),
  'other-issuer': (claims) => sign({ ...claims, iss: 'https://id.example.com' }, own),
  expired: (claims) => sign({ ...claims, exp: Math.floor(Date.now() / 1000) - 3600 }, own),
  forged: (claims) => sign(claims, forger),
  unsigned: (claims) => `${part({ alg: 'none' })}.${part(claims)}.`,
  'shared-secret': (claims) => sign(claims, { kid: 'first', privateKey: new TextEncoder().encode(client_secret) }, 'HS256'),
  turned: async (claims) => {
    turned ??= await signingKey('second');
    return sign(claims, turned);
  },
};

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `https://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri], response_types: ['code'], grant_types: ['authorization_code'] }],
  jwks: { keys: [own.jwk] },
  cookies: { keys: ['a key of the tests'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/sign-in/${interaction.uid}` },
  ttl: { AuthorizationCode: (ctx, code) => (code.accountId === 'late' ? 1 : 60), AccessToken: 60, IdToken: 300, Interaction: 60, Session: 60, Grant: 60 },
  findAccount: (ctx, accountId) => ({
    accountId,
    claims: () => ({ sub: accountId, ...(PEOPLE[accountId] ?? { email: `${accountId}@example.com`, email_verified: true }) }),
  }),
  renderError: (ctx, out) => {
    ctx.type = 'json';
    ctx.body = out;
  },
});

async function letIn(ctx) {
  const { uid, prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  if (params.login_hint === 'refused') {
    return provider.interactionResult(ctx.req, ctx.res, { error: 'access_denied', error_description: uid });
  }
  if (prompt.name === 'login') {
    return provider.interactionResult(ctx.req, ctx.res, { login: { accountId: params.login_hint } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionResult(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

provider.use(async (ctx, next) => {
  if (ctx.path.startsWith('/sign-in/')) {
    ctx.redirect(await letIn(ctx));
    return;
  }
  await next();
  if (ctx.path === '/jwks' && turned) ctx.body = { keys: [...ctx.body.keys, turned.public] };
  if (ctx.path === '/token' && ctx.body?.id_token) {
    const claims = decodeJwt(ctx.body.id_token);
    if (decodeProtectedHeader(ctx.body.id_token).kid !== 'first') throw new Error('signed by an unexpected key');
    const wrong = WRONG[claims.sub];
    if (wrong) ctx.body = { ...ctx.body, id_token: await wrong(claims) };
  }
  // A code that is too old by the time the browser has it.
  if (ctx.path.startsWith('/auth/') && ctx.oidc?.session?.accountId === 'late') await passed(1100);
});
server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
