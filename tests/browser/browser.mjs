// A fresh Chromium, and pages that fail the test when they log an error or break the content policy.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

export async function openBrowser(options = {}, moreArguments = []) {
  const folder = mkdtempSync(join(tmpdir(), 'neap-browser-'))
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.NEAP_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...moreArguments],
    locale: 'en-GB',
    timezoneId: 'UTC',
    viewport: { width: 1280, height: 900 },
    ...options,
  })
  return {
    context,
    async close() {
      await context.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

// Refused and broken requests are logged as errors by the browser itself; a test that makes some says which.
export async function openPage(context, { expects = [] } = {}) {
  const page = await context.newPage()
  const faults = []
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))
  })
  page.on('console', (message) => {
    if (message.type() === 'error' && !expects.some((pattern) => pattern.test(message.text()))) faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  const outside = []
  page.on('request', (request) => outside.push(new URL(request.url()).origin))
  return { page, faults, origins: () => [...new Set(outside)] }
}
export const fact = (page, name, attributes = {}) =>
  page.locator(`[data-fact="${name}"]` + Object.entries(attributes).map(([key, value]) => `[data-${key}="${value}"]`).join(''))
