// A small company as the API would tell it: four sites, one strategy under way, one bill.

let version = 1000
export const nextVersion = () => String(++version)
const uid = (name) => `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').padEnd(12, '0').slice(0, 12)}`
const start = Date.UTC(2026, 10, 22, 9, 0, 0)
export const at = (seconds) => new Date(start + seconds * 1000).toISOString().replace('.000Z', 'Z')
export const digest = (seed) => 'sha256:' + Buffer.from(seed.padEnd(32, '.')).toString('hex').slice(0, 64)

function object(kind, name, spec, status, namespace, labels) {
  return {
    apiVersion: 'neap.dev/v1',
    kind,
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      uid: uid(kind + namespace + name),
      resourceVersion: nextVersion(),
      creationTimestamp: at(0),
      ...(labels ? { labels } : {}),
    },
    spec,
    ...(status ? { status } : {}),
  }
}

const site = (name, tier, jurisdiction, nodes, ready, provider = 'agent') =>
  object('Site', name, { tier, provider, jurisdiction, currency: 'USD' }, { nodes, nodesReady: ready })
const link = (from, to, bandwidthMbps, rttMs, egressPerGB = 0, measured = 0) =>
  object('Link', `${from}-${to}`, { from, to, bandwidthMbps, rttMs, lossPercent: 0.01, egressPerGB },
    measured ? { measuredMbps: measured, measuredRttMs: rttMs * 1.04, measuredAt: at(60) } : undefined)
const node = (name, where, capacityType, cpu, memory, accelerators, conditions = {}) =>
  object('Node', name, { site: where, capacityType }, {
    capacity: { cpu, memory, accelerators },
    allocatable: { cpu, memory, accelerators },
    conditions: Object.entries({ Ready: 'True', ...conditions }).map(([type, status]) => ({ type, status })),
    agentVersion: '0.1.0', limits: 'cgroup-v2',
  })
const allocation = (name, where, onNode, owner, resources, status, extra = {}) =>
  object('Allocation', name, { node: onNode, site: where, ownerKind: owner[0], ownerName: owner[1], resources, ...extra }, status, 'quality')

export const explanation = {
  request: 'surface-train', placed: true, currency: 'USD', score: 81.4, costPerHour: '0.918000', egressCost: '0.042000',
  placements: [
    { replica: 0, node: 'cloud-1', site: 'cloud', capacityType: 'spot' },
    { replica: 1, node: 'cloud-2', site: 'cloud', capacityType: 'spot' },
  ],
  sites: [
    { site: 'hq', tier: 'private', chosen: false, nodesAdmitted: 0, nodesRefused: { 'fit.cores': 2 },
      refusal: { code: 'fit.cores', message: 'each replica asks for 4 cores; the freest node, hq-1, has 1.5 free of 8' } },
    { site: 'cloud', tier: 'public', chosen: true, nodesAdmitted: 3, nodesRefused: { 'node.reclaimed': 1 },
      score: { total: 81.4, cost: 92.1, latency: 40, gravity: 71.5, fragmentation: 66, utilisation: 58.25, spread: 50, preference: 10,
        costPerHour: '0.918000', egressCost: '0.042000', transferSeconds: 38.4, rttMs: 24.5 } },
    { site: 'cloud-b', tier: 'public', chosen: false, nodesAdmitted: 2,
      score: { total: 64.9, cost: 61, latency: 35, gravity: 48, fragmentation: 70, utilisation: 40, spread: 50, preference: 0,
        costPerHour: '1.244000', egressCost: '0.090000', transferSeconds: 96, rttMs: 61 } },
    { site: 'edge-sz', tier: 'edge', chosen: false, nodesAdmitted: 0, nodesRefused: { 'accelerator.kind': 1 },
      refusal: { code: 'accelerator.kind', message: 'edge-sz has no NVIDIA_A100; its only accelerator is NVIDIA_T4' } },
    { site: 'edge-sh', tier: 'edge', chosen: false, nodesAdmitted: 0, nodesRefused: { 'data.level': 1 },
      refusal: { code: 'data.level', message: 'dataset line-images-3 is L2; rule keep-business-inland forbids training on it at edge-sh' } },
  ],
}
export const waitingExplanation = {
  request: 'defect-large', placed: false, currency: 'USD',
  pending: { code: 'gang.no_room', message: '8 replicas are asked for at once and at most 3 fit today' },
  sites: [
    { site: 'hq', tier: 'private', chosen: false, nodesAdmitted: 1, nodesRefused: { 'fit.accelerators': 1 }, score: { total: 70, cost: 99, latency: 90, gravity: 90, fragmentation: 20, utilisation: 60, spread: 40, preference: 0, costPerHour: '0.320000' } },
    { site: 'cloud', tier: 'public', chosen: false, nodesAdmitted: 0, refusal: { code: 'data.jurisdiction', message: 'line-images-3 must stay in CN; cloud stands in US' } },
  ],
  wouldFit: [{ kind: 'add-nodes', message: 'five more nodes like hq-2 at hq' }, { kind: 'drop-rule', message: 'without rule keep-business-inland it fits at cloud for 2.10 USD/h' }],
}

const teacher = digest('teacher')
const manifest2 = digest('manifest-two')
const manifest3 = digest('manifest-three')

export function makeWorld() {
  const half = { cpu: '4', memory: '8Gi', accelerators: { NVIDIA_A100: '1' } }
  return {
    sites: [
      site('hq', 'private', 'CN-SH', 2, 2, 'kubernetes'), site('cloud', 'public', 'US', 4, 3, 'ec2'), site('cloud-b', 'public', 'DE', 2, 2, 'ec2'),
      site('edge-sh', 'edge', 'CN-SH', 1, 1), site('edge-sz', 'edge', 'CN-GD', 1, 1),
    ],
    links: [
      link('hq', 'cloud', 1000, 24, 0, 934), link('cloud', 'hq', 1000, 24, 90000, 921), link('hq', 'cloud-b', 500, 140),
      link('cloud-b', 'hq', 500, 140, 85000), link('edge-sh', 'hq', 100, 6, 0, 96.5), link('hq', 'edge-sh', 100, 6),
      link('edge-sz', 'hq', 50, 28), link('hq', 'edge-sz', 50, 28), link('edge-sz', 'cloud', 200, 18),
    ],
    nodes: [
      node('hq-1', 'hq', 'owned', '8', '32Gi', { NVIDIA_A100: '2' }), node('hq-2', 'hq', 'owned', '16', '64Gi', { NVIDIA_A100: '4' }),
      node('cloud-1', 'cloud', 'spot', '8', '32Gi', { NVIDIA_A100: '1' }), node('cloud-2', 'cloud', 'spot', '8', '32Gi', { NVIDIA_A100: '1' }),
      node('cloud-3', 'cloud', 'spot', '8', '32Gi', { NVIDIA_A100: '1' }, { Interrupting: 'True' }),
      node('cloud-4', 'cloud', 'on-demand', '8', '32Gi', { NVIDIA_A100: '1' }, { Ready: 'Unknown' }),
      node('cloud-b-1', 'cloud-b', 'on-demand', '16', '64Gi', {}), node('cloud-b-2', 'cloud-b', 'reserved', '16', '64Gi', {}),
      node('edge-sh-1', 'edge-sh', 'owned', '4', '8Gi', {}), node('edge-sz-1', 'edge-sz', 'owned', '4', '8Gi', { NVIDIA_T4: '1' }),
    ],
    allocations: [
      allocation('surface-train-2-0', 'cloud', 'cloud-1', ['TrainingJob', 'surface-train'], half, { phase: 'Running', step: 1480 }),
      allocation('surface-train-2-1', 'cloud', 'cloud-2', ['TrainingJob', 'surface-train'], half, { phase: 'Running', step: 1480 }),
      allocation('etl-0', 'hq', 'hq-1', ['TrainingJob', 'etl'], { cpu: '6500m', memory: '28Gi', accelerators: { NVIDIA_A100: '1500m' } }, { phase: 'Running' }),
      allocation('old-0', 'hq', 'hq-2', ['TrainingJob', 'old'], { cpu: '16', memory: '64Gi' }, { phase: 'Succeeded' }),
      allocation('inspect-edge-sh-0', 'edge-sh', 'edge-sh-1', ['InferenceService', 'inspect'], { cpu: '1', memory: '1Gi' },
        { phase: 'Running', servingVersion: 'surface-3', digestVerified: manifest3, signatureKeyId: 'neap-platform-1' }),
      allocation('inspect-hq-0', 'hq', 'hq-2', ['InferenceService', 'inspect'], { cpu: '2', memory: '2Gi' },
        { phase: 'Running', servingVersion: 'surface-2', digestVerified: manifest2, signatureKeyId: 'neap-platform-1' }),
    ],
    deploymentstrategies: [
      object('DeploymentStrategy', 'surface', { team: 'vision', model: 'surface' }, {
        phase: 'Running', message: 'training, run 2 on cloud',
        stages: [
          { name: 'collect', phase: 'Done', object: 'DatasetVersion/line-images-3', message: '2 sites, 9,120 records', startedAt: at(10), finishedAt: at(96) },
          { name: 'train', phase: 'Running', object: 'TrainingJob/surface-train', message: 'step 1480 of 3000', startedAt: at(100) },
          { name: 'compress', phase: 'Waiting' }, { name: 'register', phase: 'Waiting' }, { name: 'distribute', phase: 'Waiting' }, { name: 'serve', phase: 'Waiting' },
        ],
      }, 'quality'),
    ],
    trainingjobs: [
      object('TrainingJob', 'surface-train', { type: 'training', replicas: 2, resources: half, parameters: { steps: '3000' }, costStrategy: 'SpotPreemptible',
        gates: [{ metric: 'accuracy_int8', baseline: 'accuracy_teacher', maxDropPoints: 1 }] }, {
        phase: 'Running', message: 'run 1 was interrupted; going on from checkpoint step 900', site: 'cloud', capacityType: 'spot', epoch: 2, committedEpoch: 2,
        interruptions: 1, step: 1480, stepsRepeated: 14, checkpoint: { step: 1400, digest: digest('ckpt'), phase: 'Durable', size: '48Mi' },
        runs: [
          { epoch: 1, site: 'cloud-b', capacityType: 'spot', nodes: ['cloud-b-1', 'cloud-b-2'], firstStep: 0, lastStep: 914, startedAt: at(100), endedAt: at(480), reason: 'Interrupted' },
          { epoch: 2, site: 'cloud', capacityType: 'spot', nodes: ['cloud-1', 'cloud-2'], firstStep: 901, lastStep: 1480, startedAt: at(520) },
        ],
        metrics: { accuracy_teacher: 0.9731, accuracy_int8: 0.9688 }, outputs: [{ name: 'teacher', digest: teacher, size: '48Mi' }],
        startedAt: at(100), explanation: structuredClone(explanation),
      }, 'quality', { team: 'vision', model: 'surface' }),
      object('TrainingJob', 'etl', { type: 'training', replicas: 1 }, {
        phase: 'Succeeded', step: 200, runs: [{ epoch: 1, site: 'hq', capacityType: 'owned', nodes: ['hq-1'], firstStep: 0, lastStep: 200, startedAt: at(20), endedAt: at(400), reason: 'Completed' }],
        startedAt: at(20), finishedAt: at(400),
      }, 'quality'),
      object('TrainingJob', 'defect-large', { type: 'training', replicas: 8 }, { phase: 'Pending', message: '8 replicas are asked for at once and at most 3 fit today', explanation: structuredClone(waitingExplanation) }, 'research'),
    ],
    inferenceservices: [
      object('InferenceService', 'inspect', { model: 'surface', modelVersion: 'surface-3', places: [{ site: 'edge-sh', replicas: 1, role: 'active' }, { site: 'hq', replicas: 1, role: 'standby' }],
        canary: { minRequests: 50, minAgreement: 0.95, minAccuracy: 0.9 }, latencyTarget: '20ms', defaultLevel: 'L2' }, {
        phase: 'Canary', message: 'surface-3 answers copies of live requests at edge-sh', activeVersion: 'surface-2', previousVersion: 'surface-1', readyReplicas: 2, phaseSince: at(700),
        replicas: [
          { site: 'edge-sh', node: 'edge-sh-1', role: 'active', allocation: 'inspect-edge-sh-0', phase: 'Running', servingVersion: 'surface-2', endpoint: '10.1.0.4:8600' },
          { site: 'hq', node: 'hq-2', role: 'standby', allocation: 'inspect-hq-0', phase: 'Running', servingVersion: 'surface-2', endpoint: '10.0.0.8:8600' },
        ],
        canary: { requests: 41, agreed: 40, errors: 0, labelled: 20, correct: 19 },
        explanation: { 'edge-sh': { ...structuredClone(explanation), request: 'inspect', costPerHour: '0.011000' } },
      }, 'quality'),
    ],
    models: [object('Model', 'surface', { description: 'Surface inspection' }, { latestVersion: 'surface-3' }, 'quality')],
    modelversions: ['surface-1', 'surface-2', 'surface-3'].map((name, i) => {
      const made = object('ModelVersion', name, {
        model: 'surface', repository: 'quality/surface', manifestDigest: [digest('manifest-one'), manifest2, manifest3][i], file: 'student.int8.onnx', level: 'L3',
        files: [{ name: 'student.onnx', digest: digest('student' + i), size: '12Mi' }, { name: 'student.int8.onnx', digest: digest('int8' + i), size: '3300Ki' }],
        signatureKeyId: 'neap-platform-1',
        lineage: { datasetDigests: [digest('dataset' + i)], job: 'surface-train', codeDigest: digest('code'), teacherDigest: teacher },
        metrics: { accuracy_teacher: 0.9731, accuracy_student: 0.9702, accuracy_int8: 0.9688, bytes_int8: 3379200 },
      }, undefined, 'quality')
      made.metadata.creationTimestamp = at(i * 300)
      return made
    }),
    datasets: [object('Dataset', 'line-images', { level: 'L2', jurisdiction: 'CN', home: 'CN-SH', sovereignty: 'Strict', format: 'records+images', sources: [{ site: 'edge-sh', path: 'line-7' }, { site: 'edge-sz', path: 'line-2' }] }, { latestVersion: 'line-images-3' }, 'quality')],
    datasetversions: [object('DatasetVersion', 'line-images-3', {
      dataset: 'line-images', level: 'L3', declassification: 'mask-identifiers-v1', digest: digest('dataset2'), storedAt: ['hq'],
      parts: [
        { site: 'edge-sh', records: 6020, recordsMasked: 412, recordsKeptHome: 37, identifiersMasked: 655, bytesRaw: '318Mi', bytesSent: '121Mi' },
        { site: 'edge-sz', records: 3100, recordsMasked: 120, recordsKeptHome: 4, identifiersMasked: 131, bytesRaw: '160Mi', bytesSent: '70Mi' },
      ],
    }, undefined, 'quality')],
  }
}

// Beyond 2^53 on purpose: the sums must still be exact.
export const costText = `{"currency":"USD","total_micros":9007199254763434,"lines":[
 {"project":"quality","team":"vision","model":"surface","kind":"compute","micros":9007199254740993},
 {"project":"quality","team":"vision","model":"surface","kind":"transfer","micros":21440},
 {"project":"research","team":"","model":"defect","kind":"compute","micros":1001}],
 "all_public_micros":9907199254740993,"all_private_micros":4007199254740993,"usage":[]}`
export const plainCostText = JSON.stringify({
  currency: 'USD', total_micros: 18734512,
  lines: [
    { project: 'quality', team: 'vision', model: 'surface', kind: 'compute', micros: 14210331 },
    { project: 'quality', team: 'vision', model: 'surface', kind: 'transfer', micros: 214409 },
    { project: 'research', team: 'science', model: 'defect', kind: 'compute', micros: 4309772 },
  ],
  all_public_micros: 31220110, all_private_micros: 12031400, usage: [],
})
export const audit = {
  log_verified: true,
  entries: [
    { time: at(96), type: 'crossing', from: 'edge-sh', to: 'hq', level: 'L3', bytes: 126877696, purpose: 'train', rule: 'masked-may-leave', reason: 'masked by mask-identifiers-v1', node: 'edge-sh-1', owner: 'Dataset/line-images' },
    { time: at(98), type: 'crossing', from: 'edge-sz', to: 'hq', level: 'L3', bytes: 73400320, purpose: 'train', rule: 'masked-may-leave', reason: 'masked by mask-identifiers-v1', node: 'edge-sz-1', owner: 'Dataset/line-images' },
    { time: at(130), type: 'refusal', from: 'edge-sh', to: 'cloud', level: 'L1', bytes: 4096, purpose: 'infer', rule: 'core-stays', reason: 'L1 data never leaves its domain', node: 'edge-sh-1', owner: 'InferenceService/inspect' },
  ],
}
