// The built console in a real Chromium against a fixture of the API. Run: node --test console.test.mjs
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, beforeEach, test } from 'node:test'
import { fact, openBrowser, openPage } from './browser.mjs'
import { FixtureServer } from './fixture_server.mjs'
import { at, digest, plainCostText } from './world.mjs'

let browser
let server
const patience = { timeout: 15_000 }

before(async () => {
  browser = await openBrowser()
})
after(async () => {
  await browser.close()
})
beforeEach(async () => {
  server = await new FixtureServer().start()
})

// Opens a path, runs the checks, and wants a clean console afterwards.
async function visit(path, checks, { expects = [], viewport, context = browser.context } = {}) {
  const { page, faults, origins } = await openPage(context, { expects })
  try {
    if (viewport) await page.setViewportSize(viewport)
    await page.clock.install({ time: new Date(at(820)) })
    await page.goto(server.url + '/console/' + path)
    await checks(page)
    assert.deepEqual(faults, [])
    assert.deepEqual(origins(), [server.url], 'the console asks nobody but its own server')
  } finally {
    await page.close()
    await server.stop()
  }
}
// SVG elements have no innerText.
const text = async (locator) =>
  (await locator.first().evaluate((element) => element.innerText ?? element.textContent, undefined, patience)).replace(/\s+/g, ' ')
async function has(locator, ...parts) {
  await locator.first().waitFor(patience)
  let shown = ''
  const end = Date.now() + 8000
  do {
    shown = await text(locator)
    if (parts.every((part) => shown.includes(part))) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  } while (Date.now() < end)
  for (const part of parts) assert.ok(shown.includes(part), `"${part}" is not in "${shown}"`)
}
async function eventually(claim, what) {
  const end = Date.now() + 15_000
  while (!(await claim())) {
    if (Date.now() > end) assert.fail(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('the overview shows every site with its nodes, and what nodes hold', () =>
  visit('', async (page) => {
    await fact(page, 'node', { name: 'hq-1' }).waitFor(patience)
    for (const site of server.world.sites) {
      const card = fact(page, 'site', { name: site.metadata.name })
      assert.equal(await card.getAttribute('data-tier'), site.spec.tier)
      await has(card, site.metadata.name, site.spec.jurisdiction)
    }
    await has(fact(page, 'site', { name: 'cloud' }), '3/4')
    await has(fact(page, 'node', { name: 'hq-1' }), '81%', '88%', '75%')
    await has(fact(page, 'node', { name: 'cloud-3' }), 'Being reclaimed')
    await has(fact(page, 'node', { name: 'cloud-4' }), 'Not ready')
    await has(fact(page, 'tile-nodes'), '9 of 10')
    assert.equal(await text(fact(page, 'tile-cores')), 'Cores in use 18% 17.5 of 96')
  }))

test('choosing a site, by keyboard too, shows the bandwidth, round trip and price of its links', () =>
  visit('', async (page) => {
    await fact(page, 'site', { name: 'edge-sh' }).focus()
    await page.keyboard.press('Enter')
    const labels = page.locator('.link-label')
    await eventually(async () => (await labels.count()) === 1, 'one label')
    assert.equal(await text(labels), '100 Mbit/s · 6.2 ms')
    await page.keyboard.press('Space')
    await eventually(async () => (await labels.count()) === 5, 'all labels')
    await has(page.locator('.topology'), '1 Gbit/s · 25 ms · $0.09/GB')
  }))

test('a strategy shows its stages and a job its runs, interruptions and steps', () =>
  visit('work', async (page) => {
    await has(fact(page, 'stage', { name: 'collect', phase: 'Done' }), 'Collect', '1 min 26 s', '9,120 records')
    await has(fact(page, 'stage', { name: 'train', phase: 'Running' }), '12 min 0 s', 'step 1480 of 3000')
    await has(fact(page, 'job-row', { name: 'surface-train' }), 'Running · step 1480 of 3000')
    const runs = fact(page, 'job-row', { name: 'surface-train' }).locator('[data-fact="run"]')
    assert.deepEqual(await runs.evaluateAll((all) => all.map((run) => run.dataset.site)), ['cloud-b', 'cloud'])
    assert.match(await runs.first().getAttribute('title'), /interrupted/)
    await fact(page, 'job-row', { name: 'surface-train' }).getByRole('link').click()
    await has(fact(page, 'job-interruptions'), '1')
    await has(fact(page, 'job-repeated'), '14')
    await has(fact(page, 'run-row', { epoch: '1' }), 'cloud-b', 'spot', '0–914', '6 min 20 s', 'interrupted')
    assert.ok(page.url().endsWith('/console/work/quality/surface-train'))
  }))

test('a service shows replicas, versions, the rollout phase and the canary counters', () =>
  visit('services', async (page) => {
    await has(fact(page, 'service', { name: 'inspect' }), 'Canary', '2 of 2 ready', 'surface-2', 'surface-3', '20ms')
    await has(fact(page, 'replica', { name: 'inspect-edge-sh-0' }), 'edge-sh-1', 'active', '10.1.0.4:8600')
    await has(fact(page, 'canary'), '41 of 50', '97.6%', 'at least 95%', '19 of 20')
  }))

test('a model version shows its digest, key, lineage and metrics', () =>
  visit('models', async (page) => {
    await has(page.locator('[data-panel="version"]'), 'surface-3', 'neap-platform-1', 'quality/surface')
    await page.locator(`[data-digest="${digest('manifest-three')}"]`).first().waitFor(patience)
    await has(page.locator('[data-panel="lineage"]'), 'surface-train')
    await has(page.locator('[data-panel="metrics"]'), 'accuracy_int8', '0.9688')
    await fact(page, 'model-version', { name: 'surface-1' }).getByRole('link').click()
    await page.locator(`[data-panel="version"] [data-digest="${digest('manifest-one')}"]`).waitFor(patience)
  }))

test('data shows what left, what stayed, and every crossing and refusal with its reason', () =>
  visit('data', async (page) => {
    await has(fact(page, 'dataset-version', { name: 'line-images-3' }), 'mask-identifiers-v1', 'Stored at hq')
    await has(fact(page, 'part', { name: 'edge-sh' }), '6,020', '412', '37', '655', '318 MiB', '121 MiB', '62% less')
    await has(page.locator('[data-panel="audit"]'), 'Log verified')
    await has(fact(page, 'audit', { type: 'refusal' }), 'edge-sh → cloud', 'L1', 'L1 data never leaves its domain', 'core-stays')
    assert.equal(await fact(page, 'audit').count(), 3)
    await page.getByRole('button', { name: 'Refusals' }).click()
    await eventually(async () => (await fact(page, 'audit').count()) === 1, 'one refusal alone')
  }))

test('a log that does not verify is said loudly', () => {
  server.audit = { log_verified: false, entries: [] }
  return visit('data', (page) => has(page.locator('[data-panel="audit"]'), 'Log does not verify', 'hash chain'))
})

test('cost is exact to a millionth, also where doubles are not', () =>
  visit('cost', async (page) => {
    assert.equal(await fact(page, 'cost-total').getAttribute('data-micros'), '9007199254763434')
    await has(fact(page, 'cost-total'), '$9,007,199,254.763434', '9.1% less than all public')
    await has(fact(page, 'cost-line', { micros: '9007199254740993' }), '$9,007,199,254.740993')
    await has(fact(page, 'cost-public'), '$9,907,199,254.740993')
    assert.equal(await page.getByRole('alert').count(), 0)
    await page.getByRole('button', { name: 'Kind' }).click()
    await has(fact(page, 'cost-group', { name: 'transfer' }), '$0.021440')
  }))

test('a bill whose lines do not add up is pointed out', () => {
  server.costText = plainCostText.replace('18734512', '18734513')
  return visit('cost', (page) => has(page.getByRole('alert'), '$18.734512 against $18.734513'))
})

test('why shows the chosen site, each refused one with its reason, and the numbers', () =>
  visit('why', async (page) => {
    await has(fact(page, 'decision'), 'cloud was chosen', '81.4', '$0.918')
    await has(fact(page, 'candidate', { name: 'cloud', state: 'chosen' }), '38 s', '24.5 ms', '+10')
    await has(fact(page, 'candidate', { name: 'cloud-b', state: 'possible' }), '64.9', '$1.244')
    await has(fact(page, 'candidate', { name: 'edge-sh', state: 'refused', code: 'data.level' }),
      'Data may not go there', 'dataset line-images-3 is L2; rule keep-business-inland forbids training on it at edge-sh')
    await has(fact(page, 'candidate', { name: 'hq', state: 'refused', code: 'fit.cores' }), 'has 1.5 free of 8', '2 × Too few free cores')
    await fact(page, 'subject', { name: 'defect-large' }).getByRole('link').click()
    await has(fact(page, 'decision', { placed: 'false' }), 'This waits', 'at most 3 fit today')
    await has(page.locator('.would-fit'), 'five more nodes like hq-2 at hq')
  }))

test('changes arrive by watch: modified, added and deleted', () =>
  visit('work', async (page) => {
    await fact(page, 'job-row', { name: 'surface-train' }).waitFor(patience)
    await eventually(() => server.watchers('trainingjobs') === 1, 'a watch on jobs')
    const listed = server.lists.get('trainingjobs')
    server.update('trainingjobs', 'surface-train', (job) => (job.status.step = 2222))
    await eventually(async () => (await text(fact(page, 'job-row', { name: 'surface-train' }))).includes('step 2222'), 'the new step')
    server.add('trainingjobs', { ...structuredClone(server.find('trainingjobs', 'etl')), metadata: { name: 'etl-two', namespace: 'quality', uid: 'u2', resourceVersion: '1' } })
    await fact(page, 'job-row', { name: 'etl-two' }).waitFor(patience)
    server.remove('trainingjobs', 'etl-two')
    await fact(page, 'job-row', { name: 'etl-two' }).waitFor({ ...patience, state: 'detached' })
    assert.equal(server.lists.get('trainingjobs'), listed, 'no list was needed')
  }))

test('a compacted watch lists again', () =>
  visit('work', async (page) => {
    await eventually(() => server.watchers('trainingjobs') === 1, 'a watch on jobs')
    server.find('trainingjobs', 'surface-train').status.step = 2950
    server.compact('trainingjobs')
    await eventually(async () => (await text(fact(page, 'job-row', { name: 'surface-train' }))).includes('2950'), 'the missed change')
    assert.equal(server.lists.get('trainingjobs'), 2)
  }))

test('an outage is said, the last known facts stay, and the console comes back by itself', () =>
  visit('work', async (page) => {
    await eventually(() => server.watchers('trainingjobs') === 1, 'a watch on jobs')
    server.isDown = true
    server.cutWatches()
    await page.clock.runFor(3000)
    await page.locator('[data-connection="reconnecting"]').waitFor(patience)
    await has(page.getByRole('alert'), 'The server does not answer')
    await has(fact(page, 'job-row', { name: 'surface-train' }), 'step 1480')
    server.isDown = false
    server.update('trainingjobs', 'surface-train', (job) => (job.status.step = 2001))
    server.compact('trainingjobs')
    await eventually(async () => {
      await page.clock.runFor(2000)
      return (await page.locator('[data-connection="live"]').count()) === 1
    }, 'live again')
    await eventually(async () => (await page.getByRole('alert').count()) === 0, 'no alert is left')
  }, { expects: [/Failed to load resource/, /net::ERR/] }))

test('a page holds few enough watches for six connections a browser, in two tabs', () =>
  visit('', async () => {
    await eventually(() => server.watchers('nodes') === 1 && server.watchers('allocations') === 1, 'watches')
    const open = Object.keys(server.world).reduce((sum, name) => sum + server.watchers(name), 0)
    assert.ok(open <= 3, `${open} watches are open`)
  }))

test('errors are shown in words', () => {
  server.refused.set('deploymentstrategies', 403)
  server.refused.set('trainingjobs', 503)
  return visit('work', async (page) => {
    await page.getByText('You may not see “Strategies”.').waitFor(patience)
    await page.getByText('The server could not answer for “Jobs”: the store is being compacted').waitFor(patience)
  }, { expects: [/Failed to load resource/] })
})

test('Chinese is one click away, complete, and remembered', () =>
  visit('why', async (page) => {
    await fact(page, 'decision').waitFor(patience)
    await page.getByRole('button', { name: '中文' }).click()
    await has(fact(page, 'decision'), '已选择 cloud')
    await has(fact(page, 'candidate', { name: 'edge-sh' }), '数据不得前往该处')
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN')
    await page.reload()
    await has(page.locator('nav'), '总览', '费用', '决策原因')
    for (const name of ['overview', 'work', 'services', 'models', 'data', 'cost']) {
      await page.locator(`nav [data-page="${name}"]`).click()
      await page.locator('main .panel').first().waitFor(patience)
      // What remains in Latin letters are names and the server's own sentences.
      const heads = await page.locator('main h2, main th, main dt, main [role=columnheader], .tile-label').allInnerTexts()
      const names = /^(CPU|surface.*|line-.*|inspect|accuracy_\w+|bytes_\w+|[\d:\s]*)$/
      assert.deepEqual(heads.filter((head) => !/[\u4e00-\u9fff]/.test(head) && !names.test(head.trim())), [], name)
    }
    await page.getByRole('button', { name: 'English' }).click()
  }))

test('dark, light and the project are remembered', () =>
  visit('work', async (page) => {
    await fact(page, 'job-row', { name: 'etl' }).waitFor(patience)
    await page.locator('[data-control="theme"]').selectOption('dark')
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark')
    await page.locator('[data-control="project"]').selectOption('research')
    await fact(page, 'job-row', { name: 'etl' }).waitFor({ ...patience, state: 'detached' })
    await page.reload()
    await fact(page, 'job-row', { name: 'defect-large' }).waitFor(patience)
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark')
    assert.equal(await fact(page, 'job-row', { name: 'etl' }).count(), 0)
    await page.locator('[data-control="theme"]').selectOption('auto')
    await page.locator('[data-control="project"]').selectOption('')
  }))

test('ten thousand nodes are rows on demand', () => {
  const like = server.world.nodes[0]
  server.world.nodes = Array.from({ length: 10_000 }, (_, i) => ({
    ...like, metadata: { ...like.metadata, name: `n${String(i).padStart(5, '0')}`, uid: `n${i}` },
  }))
  return visit('', async (page) => {
    await fact(page, 'node', { name: 'n00000' }).waitFor(patience)
    await has(fact(page, 'tile-nodes'), '10,000 of 10,000')
    assert.ok((await fact(page, 'node').count()) < 60)
    const scroller = page.locator('[data-panel="heat"] .virtual-scroll')
    await scroller.evaluate((element) => (element.scrollTop = element.scrollHeight))
    await fact(page, 'node', { name: 'n09999' }).waitFor(patience)
    assert.ok((await fact(page, 'node').count()) < 60)
  })
})

test('names that look like markup are text', () => {
  server.world.sites[0].metadata.name = '<img src=x onerror=alert(1)>'
  server.find('trainingjobs', 'surface-train').status.explanation.sites[0].refusal.message = '<script>alert(1)</script><b>x</b>'
  return visit('why', async (page) => {
    await has(fact(page, 'candidate', { name: 'hq' }), '<script>alert(1)</script><b>x</b>')
    await page.locator('nav [data-page="overview"]').click()
    await fact(page, 'site', { name: '<img src=x onerror=alert(1)>' }).waitFor(patience)
  })
})

test('objects that say almost nothing are drawn, not crashed on', () => {
  for (const collection of Object.values(server.world)) for (const item of collection) {
    delete item.status
    if (item.metadata.namespace) item.spec = {}
  }
  server.costText = '{"currency":"XXINVALID","total_micros":5,"lines":[{"micros":5}]}'
  server.audit = { entries: [{ time: 'not a time', type: 'unheard-of' }] }
  return visit('', async (page) => {
    await fact(page, 'site', { name: 'hq' }).waitFor(patience)
    for (const name of ['work', 'services', 'models', 'data', 'cost', 'why', 'overview']) {
      await page.locator(`nav [data-page="${name}"]`).click()
      await page.locator('main .panel').first().waitFor(patience)
      assert.equal(await page.getByText('could not be drawn').count(), 0, name)
    }
  })
})

test('without a session the page says how to sign in, and signing out ends it', async () => {
  await visit('cost', async (page) => {
    await fact(page, 'cost-total').waitFor(patience)
    await page.locator('[data-control="signout"]').click()
    await page.getByText('neap console').waitFor(patience)
    assert.equal(server.isSignedIn, false)
    await page.goto(server.url + '/console/?login=refused')
    await page.getByText('This link was used before').waitFor(patience)
  }, { expects: [/401/] })
})

test('a session that ends while the page is open says so', () =>
  visit('cost', async (page) => {
    await fact(page, 'cost-total').waitFor(patience)
    server.isSignedIn = false
    await page.clock.runFor(6000)
    await page.getByText('Your session has ended').waitFor(patience)
  }, { expects: [/401/] }))

test('everything is reached by keyboard, and a new page is announced', () =>
  visit('', async (page) => {
    await fact(page, 'site', { name: 'hq' }).waitFor(patience)
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate(() => document.activeElement.id), 'content')
    await page.locator('nav [data-page="cost"]').focus()
    await page.keyboard.press('Enter')
    await fact(page, 'cost-total').waitFor(patience)
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1')
    assert.equal(await page.title(), 'Cost · Neap')
    await page.goBack()
    await fact(page, 'site', { name: 'hq' }).waitFor(patience)
  }))

for (const [what, viewport] of [['a phone', { width: 390, height: 844 }], ['1280 px', { width: 1280, height: 800 }]])
  test(`on ${what} no page is wider than the screen`, () =>
    visit('', async (page) => {
      for (const name of ['overview', 'work', 'services', 'models', 'data', 'cost', 'why']) {
        await page.locator(`nav [data-page="${name}"]`).click()
        await page.locator('main .panel').first().waitFor(patience)
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
        assert.ok(over <= 0, `${name} is ${over} px too wide`)
      }
    }, { viewport }))

// What the end-to-end story runs against a real server must itself be able to pass and to fail.
function runLive() {
  server.codes.add('once')
  server.isSignedIn = false
  const script = new URL('live.mjs', import.meta.url).pathname
  return new Promise((resolve) => {
    execFile(process.execPath, [script, server.url, server.url + '/console/login?code=once'], { env: { ...process.env, NEAP_LIVE_PATIENCE_MS: '8000' } }, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, output: stdout + stderr }))
  }).finally(() => server.stop())
}
test('the live check passes when the page shows what the API says', async () => {
  const { code, output } = await runLive()
  assert.equal(code, 0, output)
  assert.match(output, /ok job surface-train: the explanation, site by site/)
  assert.match(output, /ok the bill, to a millionth/)
})
test('the live check fails when the bill does not add up', async () => {
  server.costText = plainCostText.replace('18734512', '18734513')
  server.world.trainingjobs = []
  const { code, output } = await runLive()
  assert.equal(code, 1, output)
  assert.match(output, /FAILED .*the bill/)
})
