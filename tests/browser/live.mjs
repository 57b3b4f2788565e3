// node live.mjs URL CODE_URL [CA.pem] [SCREENSHOTS]: the console of a running server shows what its API says.
//
// URL: where the server listens (https://127.0.0.1:8443). CODE_URL: a fresh one-time login link (`neap console`).
// CA.pem: the server's certificate is verified against it before the browser may trust that one key.
// Prints a line a check; exits 1 at the first that does not hold. Facts that move are compared until both
// sides agree, for at most a minute.
import { createHash, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { fact, openBrowser, openPage } from './browser.mjs'

const [url, codeUrl, caFile, shotsFolder] = process.argv.slice(2)
if (!url || !codeUrl) {
  console.error('usage: node live.mjs URL CODE_URL [CA.pem] [SCREENSHOTS]')
  process.exit(2)
}
const sitesOfTierMax = 12 // as many the drawing shows
const patience = { timeout: 30_000 }

// SHA-256 of the public key of the certificate that the server shows, once it has verified.
function verifiedKeyHash(target, ca) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: target.hostname, port: Number(target.port || 443), ca }, () => {
      const der = new X509Certificate(socket.getPeerCertificate(true).raw).publicKey.export({ type: 'spki', format: 'der' })
      socket.destroy()
      resolve(createHash('sha256').update(der).digest('base64'))
    })
    socket.on('error', (error) => reject(new Error(`the server's certificate does not verify against ${caFile}: ${error.message}`)))
  })
}

const target = new URL(url)
const trust = target.protocol === 'https:' ? [`--ignore-certificate-errors-spki-list=${await verifiedKeyHash(target, readFileSync(caFile))}`] : []
const browser = await openBrowser({}, trust)
const { page, faults, origins } = await openPage(browser.context)
let checks = 0

// In the page: with its session, and with a parser that keeps integers exact.
const api = (path) =>
  page.evaluate(async (at) => {
    const response = await fetch(at, { headers: { Accept: 'application/json' } })
    if (!response.ok) throw new Error(`${at}: ${response.status} ${await response.text()}`)
    return JSON.parse(await response.text(), (key, value, context) =>
      typeof value === 'number' && /micros$/.test(key) ? String(context.source) : value)
  }, path)
const list = async (plural) => (await api(`/apis/neap.dev/v1/${plural}`)).items
const attributes = (locator, ...names) =>
  locator.evaluateAll((all, wanted) => all.map((element) => Object.fromEntries(wanted.map((name) => [name, element.getAttribute('data-' + name)]))), names)
async function agree(what, shown, told) {
  const end = Date.now() + Number(process.env.NEAP_LIVE_PATIENCE_MS ?? 60_000)
  let a, b
  do {
    a = await shown()
    b = await told()
    if (isDeepStrictEqual(a, b)) {
      checks++
      console.log(`ok ${what}`)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 250))
  } while (Date.now() < end)
  throw new Error(`${what}: the page shows ${JSON.stringify(a)}, the API says ${JSON.stringify(b)}`)
}
const go = async (path) => {
  await page.goto(new URL('/console/' + path, url).href)
  await page.locator('[data-connection="live"]').waitFor(patience)
}
const shoot = async (name) => {
  if (!shotsFolder) return
  mkdirSync(shotsFolder, { recursive: true })
  await page.screenshot({ path: join(shotsFolder, name + '.png'), fullPage: true })
}
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
const squash = (text) => text.replace(/\s+/g, ' ').trim()

async function checkOverview() {
  await go('')
  await agree('sites and their nodes',
    async () => (await attributes(fact(page, 'site'), 'name', 'tier', 'nodes', 'ready')).sort(byName),
    async () => {
      const [sites, nodes] = [await list('sites'), await list('nodes')]
      const ready = (node) => node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')
      return ['public', 'private', 'edge'].flatMap((tier) => sites.filter((site) => site.spec.tier === tier).sort((a, b) => byName(a.metadata, b.metadata)).slice(0, sitesOfTierMax))
        .map((site) => {
          const own = nodes.filter((node) => node.spec.site === site.metadata.name)
          return {
            name: site.metadata.name, tier: site.spec.tier,
            nodes: String(own.length || site.status?.nodes || 0),
            ready: String(own.length ? own.filter(ready).length : (site.status?.nodesReady ?? 0)),
          }
        }).sort(byName)
    })
  await shoot('overview')
}

async function checkJob(job) {
  const { name, namespace } = job.metadata
  await go(`work/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`)
  const path = `/apis/neap.dev/v1/namespaces/${namespace}/trainingjobs/${name}`
  const number = (value) => new Intl.NumberFormat('en-GB').format(value ?? 0)
  await agree(`job ${name}: phase, interruptions, repeated steps, runs`,
    async () => ({
      phase: (await attributes(fact(page, 'job'), 'phase'))[0]?.phase,
      interruptions: await fact(page, 'job-interruptions').locator('.tile-value').innerText(),
      repeated: await fact(page, 'job-repeated').locator('.tile-value').innerText(),
      runs: (await attributes(fact(page, 'run-row'), 'epoch', 'site')).reverse(),
    }),
    async () => {
      const { status = {} } = await api(path)
      return {
        phase: status.phase, interruptions: number(status.interruptions), repeated: number(status.stepsRepeated),
        runs: (status.runs ?? []).map((run) => ({ epoch: String(run.epoch), site: run.site ?? '' })),
      }
    })
  await shoot(`job-${name}`)
  if (!job.status?.explanation) return
  await go(`why/TrainingJob/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`)
  const shownCandidates = async () => {
    const all = await attributes(fact(page, 'candidate'), 'name', 'state', 'code')
    const texts = await fact(page, 'candidate').evaluateAll((list) => list.map((item) => item.querySelector('.candidate-reason')?.textContent ?? ''))
    return all.map((candidate, i) => ({ ...candidate, message: squash(texts[i]) })).sort(byName)
  }
  await agree(`job ${name}: the explanation, site by site`, shownCandidates, async () =>
    ((await api(path + '/explain')).sites ?? []).map((site) => ({
      name: site.site,
      state: site.chosen ? 'chosen' : site.refusal ? 'refused' : 'possible',
      code: site.refusal?.code ?? null,
      message: squash(site.refusal?.message ?? ''),
    })).sort(byName))
  await shoot(`why-${name}`)
}

async function checkServices() {
  await go('services')
  await agree('services: phases and replicas',
    async () => ({
      services: (await attributes(fact(page, 'service'), 'name', 'phase')).sort(byName),
      replicas: (await attributes(fact(page, 'replica'), 'name')).sort(byName),
      canaries: (await attributes(fact(page, 'canary'), 'requests', 'agreed', 'errors')),
    }),
    async () => {
      const services = (await list('inferenceservices')).sort((a, b) => (`${a.metadata.namespace}/${a.metadata.name}` < `${b.metadata.namespace}/${b.metadata.name}` ? -1 : 1))
      return {
        services: services.map((s) => ({ name: s.metadata.name, phase: s.status?.phase ?? null })).sort(byName),
        replicas: services.flatMap((s) => s.status?.replicas ?? []).map((r) => ({ name: r.allocation })).sort(byName),
        canaries: services.map(({ status }) => ({ requests: String(status?.canary?.requests ?? 0), agreed: String(status?.canary?.agreed ?? 0), errors: String(status?.canary?.errors ?? 0) })),
      }
    })
  await shoot('services')
}

async function checkModels() {
  await go('models')
  const versions = await list('modelversions')
  if (versions.length === 0) return
  await agree('model versions',
    async () => (await attributes(fact(page, 'model-version'), 'name')).length > 0,
    async () => true)
  for (const version of versions.slice(0, 5)) {
    await go(`models/${encodeURIComponent(version.metadata.namespace)}/${encodeURIComponent(version.metadata.name)}`)
    await page.locator(`[data-panel="version"] [data-digest="${version.spec.manifestDigest}"]`).waitFor(patience)
    console.log(`ok model version ${version.metadata.name}: its digest`)
    checks++
  }
  await shoot('models')
}

async function checkData() {
  await go('data')
  await agree('crossings and refusals',
    async () => [await fact(page, 'tile-crossings').locator('.tile-value').innerText(), await fact(page, 'tile-refusals').locator('.tile-value').innerText()],
    async () => {
      const { entries = [] } = await api('/neap/v1/audit')
      const count = (type) => new Intl.NumberFormat('en-GB').format(entries.filter((entry) => entry.type === type).length)
      return [count('crossing'), count('refusal')]
    })
  await agree('dataset versions',
    async () => (await attributes(fact(page, 'dataset-version'), 'name')).length,
    async () => Math.min(12, (await list('datasetversions')).length))
  await shoot('data')
}

async function checkCost() {
  await go('cost')
  await agree('the bill, to a millionth',
    async () => ({
      total: (await attributes(fact(page, 'cost-total'), 'micros'))[0]?.micros ?? '0',
      public: (await attributes(fact(page, 'cost-public'), 'micros'))[0]?.micros,
      private: (await attributes(fact(page, 'cost-private'), 'micros'))[0]?.micros,
      groups: (await attributes(fact(page, 'cost-group'), 'name', 'micros')).sort(byName),
      doubts: await page.getByRole('alert').count(),
    }),
    async () => {
      const bill = await api('/neap/v1/cost')
      const groups = new Map()
      for (const line of bill.lines ?? []) groups.set(line.project ?? '', (groups.get(line.project ?? '') ?? 0n) + BigInt(line.micros))
      const isEmpty = (bill.lines ?? []).length === 0 && bill.total_micros === '0'
      return {
        total: bill.total_micros,
        public: isEmpty ? undefined : bill.all_public_micros, private: isEmpty ? undefined : bill.all_private_micros,
        groups: [...groups].map(([name, micros]) => ({ name, micros: String(micros) })).sort(byName), doubts: 0,
      }
    })
  await shoot('cost')
}

async function checkCodeIsSpent() {
  await browser.context.clearCookies()
  await page.goto(codeUrl)
  await page.getByText('This link was used before').waitFor(patience)
  console.log('ok the login link works once')
  checks++
}

let failure = null
try {
  await page.goto(codeUrl)
  await go('')
  console.log('ok signed in by the one-time link')
  await checkOverview()
  await go('work')
  const jobs = await list('trainingjobs')
  await agree('jobs', async () => (await attributes(fact(page, 'job-row'), 'name')).length > 0 || jobs.length === 0, async () => true)
  await shoot('work')
  for (const job of jobs.slice(0, 10)) await checkJob(job)
  await checkServices()
  await checkModels()
  await checkData()
  await checkCost()
  if (faults.length > 0) throw new Error(`the browser's console has errors: ${faults.join('; ')}`)
  if (!isDeepStrictEqual(origins(), [target.origin])) throw new Error(`the console asked other servers: ${origins()}`)
  await checkCodeIsSpent()
} catch (error) {
  failure = error
  await shoot('failure').catch(() => {})
}
await browser.close()
if (failure) {
  console.error(`FAILED after ${checks} checks: ${failure.message}`)
  process.exit(1)
}
console.log(`passed: ${checks} checks`)
