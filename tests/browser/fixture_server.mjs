// The API's list, watch and documents over a world held in memory, and the built console beside it with
// the headers that the real server sends. Steered by the test that started it.
import { createServer } from 'node:http'
import { readFileSync, existsSync } from 'node:fs'
import { extname, join, normalize } from 'node:path'
import { audit, costText, makeWorld, nextVersion } from './world.mjs'

const root = new URL('../../', import.meta.url).pathname
const dist = join(root, 'ui/dist')
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' }
// The one the server sends, from its source: a test against another would prove nothing.
const policy = [.../kContentSecurityPolicy =\s*((?:"[^"]*"\s*)+);/.exec(readFileSync(join(root, 'app/console.cc'), 'utf8'))[1].matchAll(/"([^"]*)"/g)]
  .map((match) => match[1]).join('')

export class FixtureServer {
  world = makeWorld()
  costText = costText
  audit = audit
  isSignedIn = true
  codes = new Set()
  isDown = false
  refused = new Map() // collection -> status
  lists = new Map() // collection -> how often it was listed
  requests = []
  #watches = new Map()
  #server = createServer((request, response) => this.#serve(request, response))

  async start() {
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${this.#server.address().port}`
    return this
  }
  async stop() {
    this.cutWatches()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
  find(collection, name) {
    return this.world[collection].find((item) => item.metadata.name === name)
  }
  // Changes an object and tells the watchers.
  update(collection, name, change) {
    const item = this.find(collection, name)
    change(item)
    item.metadata.resourceVersion = nextVersion()
    this.#tell(collection, 'MODIFIED', item)
  }
  add(collection, item) {
    item.metadata.resourceVersion = nextVersion()
    this.world[collection].push(item)
    this.#tell(collection, 'ADDED', item)
  }
  remove(collection, name) {
    const item = this.find(collection, name)
    this.world[collection] = this.world[collection].filter((other) => other !== item)
    item.metadata.resourceVersion = nextVersion()
    this.#tell(collection, 'DELETED', item)
  }
  // Ends the watches of a collection the way compaction does.
  compact(collection) {
    for (const stream of this.#streams(collection)) {
      stream.write(JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' } }) + '\n')
      stream.end()
    }
    this.#watches.delete(collection)
  }
  cutWatches() {
    for (const streams of this.#watches.values()) for (const stream of streams) stream.destroy()
    this.#watches.clear()
  }
  watchers(collection) {
    return this.#streams(collection).length
  }

  #streams(collection) {
    return this.#watches.get(collection) ?? []
  }
  #tell(collection, type, object) {
    for (const stream of this.#streams(collection)) stream.write(JSON.stringify({ type, object }) + '\n')
  }
  #serve(request, response) {
    const url = new URL(request.url, 'http://fixture')
    this.requests.push(`${request.method} ${request.url}`)
    if (this.isDown && !url.pathname.startsWith('/console/assets')) return void request.socket.destroy()
    if (url.pathname === '/console/session') return this.#session(response)
    if (url.pathname === '/console/login') {
      this.isSignedIn = this.codes.delete(url.searchParams.get('code'))
      response.writeHead(303, { Location: this.isSignedIn ? '/console/' : '/console/?login=refused' }).end()
      return
    }
    if (url.pathname === '/console/logout') {
      if (request.headers['x-neap-csrf'] !== 'token') return this.#json(response, 403, { error: 'no token', reason: 'console.csrf' })
      this.isSignedIn = false
      response.writeHead(204).end()
      return
    }
    if (url.pathname.startsWith('/console')) return this.#asset(url.pathname, response)
    if (!this.isSignedIn) return this.#json(response, 401, { message: 'who are you', reason: 'Unauthorized' })
    if (url.pathname === '/neap/v1/cost') return void response.writeHead(200, { 'Content-Type': 'application/json' }).end(this.costText)
    if (url.pathname === '/neap/v1/audit') return this.#json(response, 200, this.audit)
    const one = /^\/apis\/neap\.dev\/v1\/namespaces\/([^/]+)\/([a-z]+)\/([^/]+)(\/explain)?$/.exec(url.pathname)
    if (one) {
      const item = this.find(one[2], one[3])
      return this.#json(response, item ? 200 : 404, item ? (one[4] ? item.status.explanation : item) : { message: 'not found' })
    }
    const collection = /^\/apis\/neap\.dev\/v1\/([a-z]+)$/.exec(url.pathname)?.[1]
    if (!collection || !this.world[collection]) return this.#json(response, 404, { message: 'the server could not find the requested resource' })
    const status = this.refused.get(collection)
    if (status) return this.#json(response, status, { kind: 'Status', message: 'the store is being compacted', reason: 'Test' })
    if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200, { 'Content-Type': 'application/json' })
      response.flushHeaders()
      const streams = this.#streams(collection)
      streams.push(response)
      this.#watches.set(collection, streams)
      response.on('close', () => this.#watches.set(collection, this.#streams(collection).filter((other) => other !== response)))
      return
    }
    this.lists.set(collection, (this.lists.get(collection) ?? 0) + 1)
    const from = Number(url.searchParams.get('continue') ?? 0)
    const limit = Number(url.searchParams.get('limit') ?? 500)
    const all = this.world[collection]
    const next = from + limit < all.length ? { continue: String(from + limit) } : {}
    this.#json(response, 200, { kind: 'List', metadata: { resourceVersion: nextVersion(), ...next }, items: all.slice(from, from + limit) })
  }
  #session(response) {
    if (!this.isSignedIn) return this.#json(response, 401, { error: 'nobody is signed in here', reason: 'console.session.none' })
    this.#json(response, 200, { user: 'admin', csrf: 'token', expiresAt: '2026-11-23T09:00:00Z' })
  }
  #asset(path, response) {
    const name = normalize(path.replace(/^\/console\/?/, '')) || 'index.html'
    const file = existsSync(join(dist, name)) && extname(name) ? join(dist, name) : join(dist, 'index.html')
    response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': policy, 'X-Content-Type-Options': 'nosniff' })
    response.end(readFileSync(file))
  }
  #json(response, status, body) {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
  }
}
