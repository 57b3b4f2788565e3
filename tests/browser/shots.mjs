// node shots.mjs FOLDER: pictures of every page over the fixture, for people to look at.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openBrowser, openPage } from './browser.mjs'
import { FixtureServer } from './fixture_server.mjs'
import { at, plainCostText } from './world.mjs'

const folder = process.argv[2] ?? 'shots'
mkdirSync(folder, { recursive: true })
const server = await new FixtureServer().start()
server.costText = plainCostText
const browser = await openBrowser()
const { page, faults } = await openPage(browser.context)
const shoot = async (path, name, wait = 600) => {
  await page.clock.setFixedTime(new Date(at(820)))
  await page.goto(server.url + '/console/' + path)
  await page.waitForTimeout(wait)
  await page.screenshot({ path: join(folder, name + '.png'), fullPage: true })
}
await shoot('', 'overview', 4500)
await shoot('work', 'work')
await shoot('work/quality/surface-train', 'job')
await shoot('services', 'services')
await shoot('models', 'models')
await shoot('data', 'data')
await shoot('cost', 'cost')
await shoot('why', 'why')
await shoot('why/TrainingJob/research/defect-large', 'why-waiting')
await page.evaluate(() => localStorage.setItem('neap.theme', 'dark'))
await shoot('', 'overview-dark', 4500)
await shoot('work', 'work-dark')
await page.evaluate(() => localStorage.setItem('neap.language', 'zh'))
await shoot('why', 'why-zh-dark')
await page.evaluate(() => localStorage.setItem('neap.theme', 'light'))
await shoot('', 'overview-zh')
await page.setViewportSize({ width: 390, height: 844 })
await shoot('', 'phone-overview')
await shoot('work', 'phone-work')
await shoot('why', 'phone-why')
server.isSignedIn = false
await shoot('?login=refused', 'signin')
console.log(faults)
await browser.close()
await server.stop()
