"""Documents that many rows begin with."""

JOB = """\
apiVersion: neap.dev/v1
kind: TrainingJob
metadata:
  name: {name}
  labels: {{team: vision}}
spec:
  command: [train, --epochs, "2"]
  replicas: {replicas}
  resources: {{cpu: 500m, memory: 1Gi}}
  suspend: true
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: registry.invalid/main:1
        env:
        - {name: A, value: "1"}
        - {name: B, value: "2"}
        ports: [{containerPort: 80}]
      - {name: side, image: "registry.invalid/side:1"}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {app: x}}\ndata: {a: '1', b: '2'}\n"


def job(k, name="mnist", replicas=1):
    return k.write(JOB.format(name=name, replicas=replicas), name + ".yaml")


def apply_job(k, name="mnist", replicas=1):
    k.ok("apply", "-f", job(k, name, replicas))

