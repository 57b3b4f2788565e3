// The console as the program serves it: real TLS, sign-in, cookie, embedded files, API server and watches.
// NEAP_CONSOLE_SERVER names the program of console_server_main.cc.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fact, openBrowser, openPage } from './browser.mjs'
import { audit, makeWorld, plainCostText } from './world.mjs'

const directory = mkdtempSync(join(tmpdir(), 'neap-console-'))
const patience = { timeout: 20_000 }
let program, url, ca

// The API as the administrator; what is not 2xx throws, unless `wants` says which status is right.
function call(method, path, body, { token = 'admin-token', wants } = {}) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body)
    const sent = request(url + path, { method, ca, headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) } }, (response) => {
      let reply = ''
      response.on('data', (piece) => (reply += piece))
      response.on('end', () => {
        const isRight = wants ? response.statusCode === wants : response.statusCode < 300
        isRight ? resolve(JSON.parse(reply || 'null')) : reject(new Error(`${method} ${path}: ${response.statusCode} ${reply}`))
      })
    })
    sent.on('error', reject)
    sent.end(text)
  })
}
const collectionPath = (plural, namespace) => `/apis/neap.dev/v1/${namespace ? `namespaces/${namespace}/` : ''}${plural}`
async function put(plural, { metadata: { name, namespace, labels }, status, ...rest }) {
  const made = await call('POST', collectionPath(plural, namespace), { ...rest, metadata: { name, namespace, labels } })
  if (status) await call('PUT', `${collectionPath(plural, namespace)}/${name}/status`, { ...made, status })
}
const loginUrl = async () => (await call('POST', '/neap/v1/console-codes', {})).url

before(async () => {
  writeFileSync(join(directory, 'cost.json'), plainCostText)
  writeFileSync(join(directory, 'audit.json'), JSON.stringify(audit))
  program = spawn(process.env.NEAP_CONSOLE_SERVER, [directory], { stdio: 'inherit' })
  for (let i = 0; !existsSync(join(directory, 'endpoint')); i++) {
    assert.ok(i < 400 && program.exitCode === null, 'the server did not start')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  url = readFileSync(join(directory, 'endpoint'), 'utf8')
  ca = readFileSync(join(directory, 'ca.pem'))
  for (const name of ['quality', 'research']) await call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  const world = makeWorld()
  // Allocations and strategies need what only controllers know; the rest is as the fixture has it.
  for (const plural of ['sites', 'links', 'nodes', 'trainingjobs', 'models', 'modelversions', 'datasets', 'datasetversions', 'inferenceservices'])
    for (const item of world[plural]) {
      if (plural === 'trainingjobs') item.spec.command = ['true']
      await put(plural, item)
    }
})
after(async () => {
  program.kill('SIGTERM')
  await new Promise((resolve) => (program.exitCode === null ? program.on('exit', resolve) : resolve()))
  rmSync(directory, { recursive: true, force: true })
})

test('everything the console shows equals what the API says', async () => {
  const code = await loginUrl()
  const { failed, output } = await new Promise((resolve) =>
    execFile(process.execPath, [new URL('live.mjs', import.meta.url).pathname, url, code, join(directory, 'ca.pem')], (error, stdout, stderr) => resolve({ failed: error !== null, output: stdout + stderr })))
  assert.equal(failed, false, output)
  assert.match(output, /ok job surface-train: the explanation, site by site/)
})

test('a change reaches the open page by watch', async () => {
  const browser = await openBrowser({ ignoreHTTPSErrors: true })
  try {
    const { page, faults } = await openPage(browser.context)
    await page.goto(await loginUrl())
    await page.goto(url + '/console/work/research/defect-large')
    await fact(page, 'job', { phase: 'Pending' }).waitFor(patience)
    const path = collectionPath('trainingjobs', 'research') + '/defect-large'
    const job = await call('GET', path)
    await call('PUT', path + '/status', { ...job, status: { ...job.status, phase: 'Running', message: 'it runs' } })
    await fact(page, 'job', { phase: 'Running' }).waitFor(patience)
    assert.deepEqual(faults, [])
  } finally {
    await browser.close()
  }
})

test('the session can read, cannot write without its token, and ends by signing out', async () => {
  const browser = await openBrowser({ ignoreHTTPSErrors: true })
  try {
    const { page } = await openPage(browser.context, { expects: [/status of 40[13]/] })
    await page.goto(await loginUrl())
    await page.locator('[data-connection="live"]').waitFor(patience)
    const cookie = (await browser.context.cookies())[0]
    assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], [true, true, 'Strict', '/'])
    const statuses = await page.evaluate(async () => {
      const { csrf } = await (await fetch('/console/session')).json()
      const remove = (headers) => fetch('/apis/neap.dev/v1/namespaces/quality/datasets/no-such', { method: 'DELETE', headers })
      return [(await remove({})).status, (await remove({ 'X-Neap-CSRF': 'wrong' })).status, (await remove({ 'X-Neap-CSRF': csrf })).status]
    })
    assert.ok([401, 403].includes(statuses[0]) && [401, 403].includes(statuses[1]), String(statuses))
    assert.equal(statuses[2], 404, 'with the token it is the administrator who asks')
    await page.locator('[data-control="signout"]').click()
    await page.getByText('neap console').waitFor(patience)
    assert.ok([401, 403].includes(await page.evaluate(async () => (await fetch('/apis/neap.dev/v1/sites')).status)))
  } finally {
    await browser.close()
  }
})

test('without a token nobody gets a login link', async () => {
  await call('POST', '/neap/v1/console-codes', {}, { token: 'wrong', wants: 401 })
})
