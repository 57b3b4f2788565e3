// Writes NAME.gz beside each file of dist that shrinks, so that the server never compresses, and fails
// the build when all of it passes the budget.
import { readdirSync, readFileSync, writeFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const budgetBytes = 400_000
const dist = new URL('../dist', import.meta.url).pathname

function filesBelow(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}

let total = 0
for (const path of filesBelow(dist)) {
  if (path.endsWith('.gz')) continue
  const raw = readFileSync(path)
  const small = gzipSync(raw, { level: 9 })
  const isWorthIt = small.length < raw.length * 0.95
  if (isWorthIt) writeFileSync(path + '.gz', small)
  total += isWorthIt ? small.length : raw.length
}
console.log(`dist: ${total} bytes compressed of ${budgetBytes} allowed`)
if (total > budgetBytes) process.exit(1)
