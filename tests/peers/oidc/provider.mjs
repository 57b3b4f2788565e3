// node provider.mjs FOLDER CALLBACK...: npm's oidc-provider over TLS on 127.0.0.1, for sign-in tests.
//
// FOLDER has cert.pem and key.pem, and port where an earlier life listened; `issuer` is written there once it
// answers. Signing keys are new at each start. Whoever signs in is who they say; "alice" is in the group "dev".
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { Provider } from 'oidc-provider'

const [folder, ...callbacks] = process.argv.slice(2)
const read = (name) => readFileSync(join(folder, name), 'utf8')
const server = createServer({ cert: read('cert.pem'), key: read('key.pem') })
await new Promise((resolve) => server.listen(existsSync(join(folder, 'port')) ? Number(read('port')) : 0, '127.0.0.1', resolve))
const { port } = server.address()
const issuer = `https://127.0.0.1:${port}`
const signing = (type, options, alg) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: randomUUID() })
const client = (client_id, id_token_signed_response_alg) => ({
  client_id,
  id_token_signed_response_alg,
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
  redirect_uris: callbacks,
})
const provider = new Provider(issuer, {
  clients: [client('neap', process.env.NEAP_OIDC_ALGORITHM ?? 'RS256'), client('elsewhere', 'RS256')],
  jwks: { keys: [signing('rsa', { modulusLength: 2048 }, 'RS256'), signing('ec', { namedCurve: 'P-256' }, 'ES256')] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'offline_access', 'groups'],
  claims: { openid: ['sub'], groups: ['groups'] },
  conformIdTokenClaims: false, // groups in the ID token itself
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: id === 'alice' ? ['dev', 'system:masters'] : [] }) }),
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  ttl: { IdToken: Number(process.env.NEAP_OIDC_TOKEN_SECONDS ?? 3600) },
  renderError: (context, out) => { context.type = 'text/plain'; context.body = JSON.stringify(out) },
})
server.on('request', provider.callback())
writeFileSync(join(folder, 'port'), String(port))
writeFileSync(join(folder, 'issuer'), issuer)
process.on('SIGTERM', () => process.exit(0))
