// Shared informers and a work queue of client-go, as every controller on Kubernetes uses them.
//
//	informers KUBECONFIG NAMESPACE
//
// Commands on standard input, one answer line each: "dump" prints {"configmaps": {name: resourceVersion},
// "trainingjobs": {...}, "processed": keys the work queue handed out}; "slow MILLISECONDS" delays every event
// handler; "lead NAME" prints once this process leads the Lease of that name.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
)

var delay atomic.Int64

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func versions(store cache.Store) map[string]string {
	out := map[string]string{}
	for _, item := range store.List() {
		switch object := item.(type) {
		case *corev1.ConfigMap:
			out[object.Name] = object.ResourceVersion
		case *unstructured.Unstructured:
			out[object.GetName()] = object.GetResourceVersion()
		}
	}
	return out
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	config.QPS, config.Burst = 200, 400
	namespace := os.Args[2]
	typed, err := kubernetes.NewForConfig(config)
	must(err)
	untyped, err := dynamic.NewForConfig(config)
	must(err)

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	enqueue := func(object any) {
		time.Sleep(time.Duration(delay.Load()) * time.Millisecond)
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	}
	factory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(namespace))
	maps := factory.Core().V1().ConfigMaps().Informer()
	dynamicFactory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(untyped, 0, namespace, nil)
	jobs := dynamicFactory.ForResource(schema.GroupVersionResource{Group: "neap.dev", Version: "v1", Resource: "trainingjobs"}).Informer()
	for _, informer := range []cache.SharedIndexInformer{maps, jobs} {
		_, err := informer.AddEventHandler(handler)
		must(err)
	}
	ctx := context.Background()
	factory.Start(ctx.Done())
	dynamicFactory.Start(ctx.Done())
	var processed atomic.Int64
	go func() {
		for {
			key, shutdown := queue.Get()
			if shutdown {
				return
			}
			processed.Add(1)
			queue.Forget(key)
			queue.Done(key)
		}
	}()
	if !cache.WaitForCacheSync(ctx.Done(), maps.HasSynced, jobs.HasSynced) {
		os.Exit(1)
	}
	fmt.Println("synced")

	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		switch {
		case len(words) == 1 && words[0] == "dump":
			text, err := json.Marshal(map[string]any{
				"configmaps": versions(maps.GetStore()), "trainingjobs": versions(jobs.GetStore()), "processed": processed.Load(),
			})
			must(err)
			fmt.Println(string(text))
		case len(words) == 2 && words[0] == "slow":
			value, err := strconv.Atoi(words[1])
			must(err)
			delay.Store(int64(value))
			fmt.Println("ok")
		case len(words) == 2 && words[0] == "lead":
			lead(ctx, typed, namespace, words[1])
		}
	}
}

func lead(ctx context.Context, client kubernetes.Interface, namespace, name string) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: fmt.Sprintf("informers-%d", os.Getpid())},
	}
	leading, stop := context.WithCancel(ctx)
	leaderelection.RunOrDie(leading, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 4 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: time.Second, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {
				fmt.Println("leading")
				stop()
			},
			OnStoppedLeading: func() {},
		},
	})
}
