// An informer of @kubernetes/client-node on the ConfigMaps of one namespace.
//   node informer.js KUBECONFIG NAMESPACE
// Each line on standard input is answered with the cache: {name: resourceVersion}.
import * as k8s from '@kubernetes/client-node';
import readline from 'node:readline';

const [kubeconfig, namespace] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
  core.listNamespacedConfigMap({ namespace }),
);
// The informer stops at an error; starting it again is its user's part.
informer.on('error', () => setTimeout(() => informer.start(), 200));
await informer.start();
console.log('synced');
for await (const _ of readline.createInterface({ input: process.stdin })) {
  const cache = {};
  for (const object of informer.list(namespace)) cache[object.metadata.name] = object.metadata.resourceVersion;
  console.log(JSON.stringify(cache));
}
process.exit(0);
