"""What is refused, and how that is said."""

from .case import check, collector, contains
from .documents import JOB

ROWS, row = collector()


@row("validation", "`--validate=true` (Strict) names the unknown field")
def strict(k):
    refused = k.refused("apply", "-f", k.write(JOB.format(name="x", replicas=1) + "  replicaz: 2\n"))
    contains(refused, "unknown field", "replicaz")


@row("validation", "`--validate=warn` and `ignore`", since=25)
def warn(k):
    text = JOB.format(name="x", replicas=1) + "  replicaz: 2\n"
    warned = k.run("apply", "--validate=warn", "-f", k.write(text))
    check(warned.code == 0, warned.err)
    contains(warned.err, 'Warning: unknown field "spec.replicaz"')
    silent = k.run("create", "--validate=ignore", "-f", k.write(text.replace("name: x", "name: z")))
    check(silent.code == 0 and "Warning" not in silent.err, silent.err)


@row("validation", "bad values are refused with the field's path")
def invalid(k):
    good = JOB.format(name="x", replicas=1)
    for text, expected in [
        (good.replace("replicas: 1", "replicas: 0"), "spec.replicas"),
        (good.replace("name: x", "name: Bad_Name"), "metadata.name"),
        (good.replace("cpu: 500m", "cpu: lots"), "spec.resources.cpu"),
        (good.replace("kind: TrainingJob", "kind: Nonsense"), "Nonsense"),
        (good.replace("apiVersion: neap.dev/v1", "apiVersion: neap.dev/v7"), "v7"),
    ]:
        contains(k.refused("create", "--validate=false", "-f", k.write(text)), expected)
