// The published API's types as the console reads them. The server leaves out what says nothing, so
// all but the head of an object is optional here.

export interface Meta {
  name: string
  namespace?: string
  uid: string
  resourceVersion: string
  creationTimestamp?: string
  labels?: Record<string, string>
}
export interface Condition {
  type: string
  status: string
  reason?: string
  message?: string
}
export interface Resource<Spec = object, Status = object> {
  metadata: Meta
  spec: Spec
  status?: Status
}
export interface Resources {
  cpu?: string
  memory?: string
  accelerators?: Record<string, string>
}
export type Tier = 'private' | 'public' | 'edge'
export type CapacityType = 'owned' | 'reserved' | 'on-demand' | 'spot'

export type Site = Resource<
  {
    tier: Tier
    provider?: string
    jurisdiction?: string
    currency?: string
    aliases?: string[]
    prices?: { capacityType: CapacityType; perCoreHour?: number; perGiBHour?: number; perAcceleratorHour?: Record<string, number> }[]
  },
  { nodes?: number; nodesReady?: number; capacity?: Resources; free?: Resources }
>
export type Link = Resource<
  { from: string; to: string; bandwidthMbps: number; rttMs?: number; lossPercent?: number; egressPerGB?: number },
  { measuredRttMs?: number; measuredMbps?: number; measuredAt?: string }
>
export type Node = Resource<
  { site: string; capacityType?: CapacityType; unschedulable?: boolean },
  { capacity?: Resources; allocatable?: Resources; conditions?: Condition[]; agentVersion?: string; limits?: string }
>

export interface ArtifactRef {
  name: string
  digest: string
  size?: string
  mediaType?: string
}
export interface ShadowStatus {
  requests?: number
  agreed?: number
  errors?: number
  labelled?: number
  correct?: number
}
export interface DatasetPart {
  site: string
  files?: ArtifactRef[]
  records?: number
  recordsMasked?: number
  recordsKeptHome?: number
  identifiersMasked?: number
  bytesRaw?: string
  bytesSent?: string
}
export type Allocation = Resource<
  {
    node: string
    site: string
    ownerKind?: string
    ownerName?: string
    replica?: number
    epoch?: number
    resources?: Resources
    level?: string
    serve?: { service: string; model: string; modelVersion: string; shadowModelVersion?: string }
  },
  { phase?: string; message?: string; servingVersion?: string; digestVerified?: string; signatureKeyId?: string; shadow?: ShadowStatus; runSeconds?: number }
>

export interface RunRecord {
  epoch: number
  site?: string
  capacityType?: CapacityType
  nodes?: string[]
  firstStep?: number
  lastStep?: number
  startedAt?: string
  endedAt?: string
  reason?: string
}
export interface Gate {
  metric: string
  baseline?: string
  maxDropPoints?: number
  minimum?: number
}
export type TrainingJob = Resource<
  {
    type?: string
    replicas?: number
    resources?: Resources
    parameters?: Record<string, string>
    costStrategy?: string
    allowedSites?: string[]
    gates?: Gate[]
    inputs?: { name: string; datasetVersion?: string; fromJob?: string; output?: string }[]
  },
  {
    phase?: string
    message?: string
    site?: string
    capacityType?: CapacityType
    epoch?: number
    committedEpoch?: number
    interruptions?: number
    failures?: number
    step?: number
    stepsRepeated?: number
    checkpoint?: { step?: number; digest?: string; phase?: string; size?: string }
    runs?: RunRecord[]
    outputs?: ArtifactRef[]
    metrics?: Record<string, unknown>
    startedAt?: string
    finishedAt?: string
    explanation?: unknown
  }
>
export interface StageStatus {
  name: string
  phase?: string
  object?: string
  message?: string
  startedAt?: string
  finishedAt?: string
}
export type Strategy = Resource<
  { team?: string; model?: string },
  { phase?: string; message?: string; stages?: StageStatus[] }
>
export type Service = Resource<
  {
    model: string
    modelVersion?: string
    places?: { site: string; replicas?: number; role?: string }[]
    canary?: { site?: string; minRequests?: number; minAgreement?: number; minAccuracy?: number }
    latencyTarget?: string
    defaultLevel?: string
  },
  {
    phase?: string
    message?: string
    activeVersion?: string
    previousVersion?: string
    rolledBackVersion?: string
    readyReplicas?: number
    phaseSince?: string
    replicas?: {
      site?: string
      node?: string
      allocation: string
      phase?: string
      servingVersion?: string
      endpoint?: string
      role?: string
    }[]
    canary?: ShadowStatus
    explanation?: unknown
  }
>
export type Model = Resource<{ description?: string }, { latestVersion?: string }>
export type ModelVersion = Resource<{
  model: string
  repository?: string
  manifestDigest?: string
  file?: string
  level?: string
  files?: ArtifactRef[]
  signatureKeyId?: string
  lineage?: { datasetDigests?: string[]; job?: string; codeDigest?: string; teacherDigest?: string }
  metrics?: Record<string, unknown>
}>
export type Dataset = Resource<
  { level?: string; home?: string; jurisdiction?: string; sovereignty?: string; retentionDays?: number; sources?: { site: string; path: string }[] },
  { latestVersion?: string; conditions?: Condition[] }
>
export type DatasetVersion = Resource<{
  dataset: string
  level?: string
  declassification?: string
  digest?: string
  parts?: DatasetPart[]
  storedAt?: string[]
}>

// What the decision engine wrote.
export interface Refusal {
  code: string
  message?: string
}
export interface Score {
  total: number
  cost?: number
  latency?: number
  gravity?: number
  fragmentation?: number
  utilisation?: number
  spread?: number
  preference?: number
  costPerHour?: string
  egressCost?: string
  transferSeconds?: number
  rttMs?: number
}
export interface SiteReason {
  site: string
  tier?: Tier
  chosen?: boolean
  refusal?: Refusal
  nodesAdmitted?: number
  nodesRefused?: Record<string, number>
  score?: Score
}
export interface Decision {
  request?: string
  placed?: boolean
  currency?: string
  score?: number
  costPerHour?: string
  egressCost?: string
  placements?: { replica: number; node: string; site: string; capacityType?: CapacityType }[]
  pending?: Refusal
  sites?: SiteReason[]
  wouldFit?: { kind: string; message: string }[]
}

export interface CostLine {
  project?: string
  team?: string
  model?: string
  kind?: string
  micros: bigint
}
export interface Cost {
  currency: string
  total_micros: bigint
  all_public_micros?: bigint
  all_private_micros?: bigint
  lines: CostLine[]
}
export interface AuditEntry {
  time: string
  type: string
  from?: string
  to?: string
  level?: string
  bytes?: number
  purpose?: string
  rule?: string
  reason?: string
  node?: string
  owner?: string
}
export interface Audit {
  log_verified?: boolean
  entries: AuditEntry[]
}
